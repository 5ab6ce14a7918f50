"""A process that stands in for another one, as `joulestat run` does, until that one pushes."""

from typing import Any

import pytest

from fakes.gpus import WALL, Node, ns, started, steps
from joulestat.domain.errors import SupersededPush
from joulestat.domain.run import Phase, Push, UnattributedReason
from joulestat.domain.units import UJ_PER_JOULE


def take_over(node: Node, run: str, *, at: float, seq: int = 1, **more: Any) -> None:
    """Push as a process that was started under ``joulestat run``."""
    more = {"rank": 0, "gpus": ("GPU-a",), "phase": Phase.TRAIN, **more}
    push = Push(run=run, incarnation="own", seq=seq, at_ns=ns(at), instead_of="first", **more)
    node.ledger.push(push, node.now_ns, WALL + node.second)


def joules(node: Node, run: str) -> float:
    return sum(node.ledger.runs[run].device_energy_uj.values()) / UJ_PER_JOULE


@pytest.mark.parametrize(
    ("run", "rank", "expected"),
    [
        ("r", 0, {"r": 2_000.0}),
        ("r", 3, {"r": 2_000.0}),
        ("other", 0, {"r": 1_000.0, "other": 1_000.0}),
    ],
)
def test_the_claim_of_a_stand_in_ends_where_the_other_one_begins(
    run: str, rank: int, expected: dict[str, float]
) -> None:
    node = Node({"GPU-a": 200.0})
    started(node, phase=Phase.OTHER)
    node.run_to(13)
    node.push("r", at=13, seq=2, phase=Phase.OTHER)
    node.run_to(15.5)
    take_over(node, run, at=15, rank=rank)
    node.run_to(20)
    take_over(node, run, at=20, seq=2, rank=rank, totals={Phase.TRAIN: steps(5)}, final=True)
    node.run_to(20.2)

    assert expected == {name: joules(node, name) for name in node.ledger.runs}
    assert 0 == node.ledger.unattributed_uj("GPU-a")[UnattributedReason.STALE]
    assert all(book.end_seconds is not None for book in node.ledger.runs.values())


def test_a_stand_in_is_told_that_it_was_relieved() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    take_over(node, "other", at=10)
    with pytest.raises(SupersededPush):
        node.push("r", at=10, seq=3)


def test_a_stand_in_that_is_gone_already_is_no_matter() -> None:
    node = Node({"GPU-a": 200.0})
    node.run_to(10)
    take_over(node, "r", at=10)
    take_over(node, "r", at=10, seq=2)
    node.run_to(11)

    assert 1 == len(list(node.ledger.runs["r"].open_claims()))


def test_a_new_run_under_the_name_of_a_relieved_stand_in_is_another_one() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    take_over(node, "other", at=10)
    node.run_to(11)
    node.push("r", at=11, seq=1, incarnation="third")
    node.run_to(11.2)

    assert node.ledger.runs["r"].end_seconds is None
