"""Processes that overlap, come and go at once, and GPUs that are read no more."""

import pytest

from fakes.gpus import WALL, Node, started, steps
from joulestat.domain.run import TRANSITION, Cell, Phase, UnattributedReason
from joulestat.domain.units import NS_PER_SECOND, UJ_PER_JOULE
from joulestat.runs.budgets import Budgets
from joulestat.runs.ledger import LedgerPolicy
from joulestat.runs.memory import changed_documents, restored_ledger


def counted_steps(node: Node) -> int:
    return sum(cell.counts.steps for cell in node.ledger.runs["r"].cells.values())


def restarted(node: Node, *, second: float) -> None:
    """Kill the exporter now and start it again at a second; the GPU and the training go on."""
    documents = {key: text for key, text in changed_documents(node.ledger).items() if text}
    node.second, node.joules["GPU-a"] = second, second * 200.0
    node.ledger = restored_ledger(
        documents,
        policy=LedgerPolicy(),
        budgets=Budgets(),
        instance="memory-1",
        now_ns=node.now_ns,
        same_boot=True,
    )


def test_a_process_that_began_before_the_last_pushes_of_another_counts_no_step_twice() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    node.run_to(15)
    node.push("r", at=15, seq=2, train=steps(50))
    node.second = 15.1  # not read yet: what follows has to wait
    node.push("r", at=15.05, seq=3, train=steps(60))
    node.push("r", at=14, seq=1, incarnation="second")
    node.run_to(20)
    node.push("r", at=20, seq=2, incarnation="second", train=steps(10))
    node.run_to(20.1)

    assert counted_steps(node) == 70


def test_a_process_may_begin_while_the_end_of_another_still_waits() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    node.run_to(15)
    node.second, node.joules["GPU-a"] = 15.1, 15.1 * 200.0
    node.push("r", at=15.05, seq=2, train=steps(50), final=True)
    node.push("r", at=15.08, seq=1, incarnation="second")
    node.run_to(20)
    node.push("r", at=20, seq=2, incarnation="second", train=steps(49))
    node.run_to(20.1)
    run = node.ledger.runs["r"]

    assert run.end_seconds is None
    assert counted_steps(node) == 99
    assert run.device_energy_uj["GPU-a"] == pytest.approx(9.97 * 200 * UJ_PER_JOULE, abs=2)


def test_a_push_that_is_a_process_first_and_last_leaves_no_claim() -> None:
    node = Node({"GPU-a": 200.0})
    started(node, final=True)
    node.run_to(11)
    run = node.ledger.runs["r"]

    assert list(run.open_claims()) == []
    assert run.end_seconds == WALL + 10


def test_what_a_replaced_process_drew_after_its_last_push_is_stale() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    node.run_to(15)
    node.push("r", at=15, seq=2, train=steps(50))
    node.run_to(40)
    node.push("r", at=40, seq=1, incarnation="second")
    node.run_to(45)

    stale_uj = node.ledger.unattributed_uj("GPU-a")[UnattributedReason.STALE]
    assert stale_uj == 25 * 200 * UJ_PER_JOULE


def test_steps_on_a_gpu_that_is_read_no_more_are_no_evidence() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    node.run_to(20)
    node.push("r", at=20, seq=2, train=steps(100))
    node.run_to(20.1)
    for second in range(21, 121):
        node.second, node.joules["GPU-a"] = float(second), second * 200.0
        node.push("r", at=second, seq=second, train=steps(10 * (second - 10)))
        node.ledger.advance(node.now_ns, WALL + second, beat=True)
    before = node.cell("r", Phase.TRAIN, "250")
    for second in range(121, 131):
        node.run_to(second)
        node.push("r", at=second, seq=second, train=steps(10 * (second - 10)))
    node.run_to(130.1)
    after = node.cell("r", Phase.TRAIN, "250")

    # Neither without the energy of the time unread, nor with all of it at once.
    for cell in (before, after):
        assert cell.energy_uj == pytest.approx(cell.counts.steps * 20 * UJ_PER_JOULE, rel=0.03)
    assert counted_steps(node) == 1_200
    assert node.ledger.runs["r"].device_energy_uj["GPU-a"] == 120 * 200 * UJ_PER_JOULE


def test_a_push_that_waited_long_for_one_gpu_finds_the_energy_of_its_instant_on_the_other() -> None:
    node = Node({"GPU-a": 200.0, "GPU-b": 0.0})
    node.ledger.policy = LedgerPolicy(ttl_ns=600 * NS_PER_SECOND)
    both = ("GPU-a", "GPU-b")
    started(node, gpus=both)
    for second in range(11, 401):  # GPU-b hangs
        node.second, node.joules["GPU-a"] = float(second), second * 200.0
        node.ledger.observe("GPU-a", node.now_ns, second * 200 * UJ_PER_JOULE, 250.0)
        phase = Phase.TRAIN if second % 20 < 10 else Phase.EVAL
        node.push("r", at=second, seq=second, gpus=both, phase=phase, train=steps(second))
        node.ledger.advance(node.now_ns, WALL + second, beat=True)
    node.run_to(401)

    for cell in node.ledger.runs["r"].cells.values():
        assert cell.energy_uj * NS_PER_SECOND == cell.duration_ns * 200 * UJ_PER_JOULE


def test_a_run_of_ever_new_ranks_does_not_grow_for_ever() -> None:
    node = Node({"GPU-a": 200.0})
    node.ledger.policy = LedgerPolicy(max_ranks=4)
    started(node, rank=999)
    for rank in range(20):
        node.push("r", at=node.second, seq=1, rank=rank)
        node.run_to(node.second + 0.1)
        node.push("r", at=node.second, seq=2, rank=rank, final=True)
        node.run_to(node.second + 0.1)

    assert sorted(node.ledger.runs["r"].ranks) == [17, 18, 19, 999]


def test_a_limit_change_right_before_a_crash_still_makes_a_transition() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    node.run_to(15)
    node.push("r", at=15, seq=2, train=steps(50))
    node.run_to(18)
    node.limits["GPU-a"] = 200.0
    node.run_to(18.2)
    restarted(node, second=19.0)
    node.run_to(22)
    node.push("r", at=22, seq=3, train=steps(120))
    node.run_to(22.1)

    assert node.cell("r", Phase.TRAIN, "200") == Cell()
    assert node.cell("r", Phase.TRAIN, TRANSITION).counts == steps(70)
    assert node.cell("r", Phase.TRAIN, TRANSITION).duration_ns == 7 * NS_PER_SECOND


def test_two_pushes_of_one_instant_that_another_rank_has_booked_already_are_nothing_new() -> None:
    """The next rank's turn to lead: its last two pushes name one instant, before the booked one."""
    node = Node({"GPU-a": 200.0})
    started(node)
    node.run_to(11)
    node.push("r", at=11, seq=1, rank=1, incarnation="other")
    node.run_to(15)
    node.push("r", at=15, seq=2, train=steps(50), final=True)
    node.run_to(15.1)
    node.push("r", at=11, seq=2, rank=1, incarnation="other", train=steps(50))
    node.run_to(16)

    assert counted_steps(node) == 50


def test_ended_ranks_of_ever_new_runs_do_not_grow_for_ever() -> None:
    node = Node({"GPU-a": 200.0})
    policy = node.ledger.policy = LedgerPolicy(max_ranks=8, max_ended_ranks=32)
    for second in range(1, 12):
        node.run_to(second)
        for rank in range(policy.max_ranks):
            node.push(f"run-{second}", at=second, seq=1, rank=rank, gpus=(), final=True)
    node.run_to(14)

    assert policy.max_ended_ranks == sum(len(run.ranks) for run in node.ledger.runs.values())


def test_of_ended_runs_the_page_has_the_latest_ones() -> None:
    node = Node({"GPU-a": 200.0})
    n_runs = node.ledger.policy.max_runs
    for second in range(1, n_runs + 12):
        node.run_to(second)
        node.push(f"run-{second:03}", at=second, seq=1, gpus=(), final=True)
    node.run_to(n_runs + 14)
    shown = [run.name for run in node.ledger.run_states(WALL + node.second)]

    assert [f"run-{second:03}" for second in range(12, n_runs + 12)] == shown
