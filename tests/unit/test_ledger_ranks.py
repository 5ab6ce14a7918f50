"""Ranks come, share, go silent, come back; exporters too. Nothing is lost or counted twice."""

import pytest

from fakes.gpus import WALL, Node, started, steps
from joulestat.domain.errors import InvalidPush, PushOverload, SupersededPush
from joulestat.domain.run import (
    Cell,
    Phase,
    UnattributedReason,
)
from joulestat.domain.units import NS_PER_SECOND, UJ_PER_JOULE
from joulestat.runs.budgets import Budgets
from joulestat.runs.ledger import LedgerPolicy
from joulestat.runs.memory import changed_documents, restored_ledger


def test_two_ranks_on_one_gpu_share_it_and_lose_nothing() -> None:
    node = Node({"GPU-a": 200.0})
    node.run_to(10)
    node.push("one", at=10, seq=1)
    node.push("two", at=10, seq=1, rank=3)
    for seq, second in enumerate((15, 20), start=2):
        node.run_to(second)
        node.push("one", at=second, seq=seq, train=steps(second))
        node.push("two", at=second - 0.7, seq=seq, rank=3, train=steps(second))
    node.run_to(20.1)

    assert node.ledger.runs["one"].device_energy_uj["GPU-a"] == 1_000 * UJ_PER_JOULE
    assert node.ledger.runs["two"].device_energy_uj["GPU-a"] == 930 * UJ_PER_JOULE


def test_a_nodes_joules_and_steps_cover_the_same_time_however_its_ranks_push() -> None:
    node = Node({"GPU-a": 200.0, "GPU-b": 300.0})
    node.run_to(10)
    node.push("r", at=10, seq=1)
    node.push("r", at=10, seq=1, rank=1, gpus=("GPU-b",))
    for seq in range(2, 12):
        second = 10.0 + seq
        node.run_to(second)
        node.push("r", at=second, seq=seq, train=steps(10 * (seq - 1), 320 * (seq - 1)))
        node.push("r", at=second - 0.6, seq=seq, rank=1, gpus=("GPU-b",), train=steps(7, 32 * seq))
    node.run_to(21.1)

    cell = node.cell("r", Phase.TRAIN, "250")
    assert cell.counts.steps * 50 * UJ_PER_JOULE == cell.energy_uj
    assert cell.duration_ns * 10 == cell.counts.steps * NS_PER_SECOND


def test_the_next_rank_leads_when_the_lead_is_done() -> None:
    node = Node({"GPU-a": 200.0, "GPU-b": 200.0})
    node.run_to(10)
    node.push("r", at=10, seq=1)
    node.push("r", at=10, seq=1, rank=1, gpus=("GPU-b",))
    node.run_to(15)
    node.push("r", at=15, seq=2, final=True, train=steps(50))
    node.push("r", at=15, seq=2, rank=1, gpus=("GPU-b",), train=steps(50))
    for seq, second in enumerate((16, 20), start=3):
        node.run_to(second)
        node.push("r", at=second, seq=seq, rank=1, gpus=("GPU-b",), train=steps(10 * second - 100))
    node.run_to(20.1)

    assert node.ledger.runs["r"].lead == 1
    assert node.cell("r", Phase.TRAIN, "250").counts.steps == 40
    assert node.cell("r", Phase.TRAIN, "250").energy_uj == 800 * UJ_PER_JOULE


@pytest.mark.parametrize(("last", "expected"), [(14.9, 50), (15.0, 50), (15.5, 55)])
def test_no_step_counts_twice_when_ranks_end_one_after_the_other(
    last: float, expected: int
) -> None:
    node = Node({"GPU-a": 200.0, "GPU-b": 200.0})
    node.run_to(10)
    node.push("r", at=10, seq=1)
    node.push("r", at=10, seq=1, rank=1, gpus=("GPU-b",))
    node.run_to(16)
    node.push("r", at=14.5, seq=2, rank=1, gpus=("GPU-b",), train=steps(45, 450))
    node.push("r", at=15, seq=2, final=True, train=steps(50, 500))
    own = round(10 * last) - 100
    node.push("r", at=last, seq=3, rank=1, gpus=("GPU-b",), final=True, train=steps(own, 10 * own))
    node.run_to(20.1)

    counted = [cell.counts for cell in node.ledger.runs["r"].cells.values()]
    assert expected == sum(counts.steps for counts in counted)
    assert 500 + 10 * own == sum(counts.samples for counts in counted)


def test_a_silent_rank_loses_its_claim_and_its_energy_is_stale() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    node.run_to(15)
    node.push("r", at=15, seq=2, train=steps(50))
    node.run_to(76)

    run = node.ledger.runs["r"]
    assert run.end_seconds == WALL + 15
    assert list(run.open_claims()) == []
    stale_uj = node.ledger.unattributed_uj("GPU-a")[UnattributedReason.STALE]
    assert stale_uj == pytest.approx(60 * 200 * UJ_PER_JOULE, rel=1e-3)


def test_a_restart_from_a_checkpoint_goes_on_counting() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    node.run_to(15)
    node.push("r", at=15, seq=2, train=steps(50), final=True)
    node.run_to(30)
    node.push("r", at=30, seq=1, incarnation="second")
    node.run_to(35)
    node.push("r", at=35, seq=2, incarnation="second", train=steps(50))
    node.run_to(35.1)

    assert node.cell("r", Phase.TRAIN, "250").counts.steps == 100
    assert node.cell("r", Phase.TRAIN, "250").energy_uj == 2_000 * UJ_PER_JOULE


def test_a_push_of_a_replaced_process_is_refused() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    node.push("r", at=10, seq=1, incarnation="second")

    with pytest.raises(SupersededPush, match="newer process"):
        node.push("r", at=10, seq=2)


def test_totals_that_fall_are_refused_and_change_nothing() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    node.run_to(15)
    node.push("r", at=15, seq=2, train=steps(50))
    with pytest.raises(InvalidPush, match="cumulative"):
        node.push("r", at=15, seq=3, train=steps(40))
    node.run_to(20)
    node.push("r", at=20, seq=3, train=steps(100))
    node.run_to(20.1)

    assert node.cell("r", Phase.TRAIN, "250").counts.steps == 100


def test_a_gpu_that_is_not_here_is_refused_with_those_that_are() -> None:
    node = Node({"GPU-a": 200.0})

    with pytest.raises(InvalidPush, match=r"GPU-x.*GPU-a"):
        node.push("r", at=0, seq=1, gpus=("GPU-x",))
    assert node.ledger.runs == {}


def test_one_run_too_many_is_refused() -> None:
    node = Node({"GPU-a": 200.0})
    for number in range(64):
        node.push(f"run-{number}", at=0, seq=1)

    with pytest.raises(PushOverload, match="64"):
        node.push("run-64", at=0, seq=1)


def test_counters_stand_at_zero_as_soon_as_a_limit_is_in_force() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    node.run_to(10.2)

    assert node.ledger.runs["r"].cells == {(Phase.TRAIN, "250"): Cell()}


def test_the_answer_carries_the_energy_up_to_the_last_reading() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    node.run_to(15)
    answer = node.push("r", at=15, seq=2, train=steps(50))

    assert answer.energy_joules == {"GPU-a": pytest.approx(1_000.0)}
    assert answer.power_limit_watts == {"GPU-a": 250.0}


def test_the_answer_leaves_out_what_a_killed_process_can_no_longer_claim() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    node.run_to(15)
    node.push("r", at=15, seq=2, train=steps(50))
    node.run_to(35)
    first = node.push("r", at=35, seq=1, incarnation="second")
    node.run_to(40)
    later = node.push("r", at=40, seq=2, incarnation="second", train=steps(50))

    assert first.energy_joules == {"GPU-a": pytest.approx(1_000.0)}
    assert later.energy_joules == {"GPU-a": pytest.approx(2_000.0)}


def test_the_answer_to_a_last_push_ends_where_the_run_does() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    node.run_to(15)
    answer = node.push("r", at=14.85, seq=2, train=steps(50), final=True)
    node.run_to(15.1)

    assert answer.energy_joules == {"GPU-a": pytest.approx(970.0)}
    assert node.ledger.runs["r"].device_energy_uj["GPU-a"] == 970 * UJ_PER_JOULE


def test_the_answer_leaves_out_what_a_silent_neighbour_drew_since_its_last_push() -> None:
    node = Node({"GPU-a": 200.0, "GPU-b": 100.0})
    started(node)
    node.push("r", at=10, seq=1, rank=1, gpus=("GPU-b",))
    for seq, second in enumerate(range(11, 21), start=2):
        node.run_to(second)
        answer = node.push("r", at=second, seq=seq, train=steps(seq))

    assert answer.energy_joules["GPU-a"] == pytest.approx(2_000.0)
    assert answer.energy_joules["GPU-b"] <= 500.0


def test_energy_of_a_team_is_charged_to_its_budget() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    node.run_to(15)
    node.push("r", at=15, seq=2, train=steps(50))
    node.run_to(15.1)

    assert node.ledger.budget_states()[0].consumed_uj == 1_000 * UJ_PER_JOULE


def test_an_ended_run_is_shown_for_a_while_and_then_only_remembered() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    node.push("r", at=10, seq=2, final=True)
    node.run_to(10.2)

    assert len(node.ledger.run_states(WALL + 900)) == 1
    assert node.ledger.run_states(WALL + 911) == ()
    assert "r" in node.ledger.runs


def test_a_killed_exporter_credits_the_interval_across_its_restart_whole() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    node.run_to(15)
    node.push("r", at=15, seq=2, train=steps(50))
    node.run_to(15.1)
    documents = {key: text for key, text in changed_documents(node.ledger).items() if text}
    # Eight seconds without an exporter; the GPU and the training go on.
    node.second, node.joules["GPU-a"] = 23.0, 23 * 200.0
    node.ledger = restored_ledger(
        documents,
        policy=LedgerPolicy(),
        budgets=Budgets(),
        instance="memory-1",
        now_ns=node.now_ns,
        same_boot=True,
    )
    node.run_to(24)
    node.push("r", at=24, seq=3, train=steps(140))
    node.run_to(24.1)

    cell = node.cell("r", Phase.TRAIN, "250")
    assert cell.counts.steps == 140
    assert cell.energy_uj == 14 * 200 * UJ_PER_JOULE
    assert cell.duration_ns == 14 * NS_PER_SECOND
