"""Steps, seconds and joules are credited together, to the right run, phase and limit."""

import pytest

from joulestat.domain.errors import InvalidPush, PushOverload, SupersededPush
from joulestat.domain.run import (
    MIXED,
    TRANSITION,
    Cell,
    Counts,
    Phase,
    Push,
    PushAnswer,
    PushResult,
    RunLabels,
    UnattributedReason,
)
from joulestat.domain.units import NS_PER_SECOND, UJ_PER_JOULE
from joulestat.runs.budgets import Budgets, BudgetTerms
from joulestat.runs.ledger import Ledger, LedgerPolicy
from joulestat.runs.memory import changed_documents, restored_ledger

WALL = 1_795_000_000.0


class Node:
    """GPUs that draw a constant power, read ten times a second."""

    def __init__(self, watts: dict[str, float], *, limit: float = 250.0) -> None:
        self.watts = watts
        self.limits = dict.fromkeys(watts, limit)
        self.second = 0.0
        self.joules = dict.fromkeys(watts, 0.0)
        self.ledger = Ledger(
            LedgerPolicy(), "memory-1", Budgets([BudgetTerms("q4", "nlp", 1e6, 0.0, 2e9)])
        )
        self.run_to(0.0)

    def run_to(self, second: float) -> None:
        """Let time pass up to a second, ticking every 100 ms."""
        while True:
            for gpu, joules in self.joules.items():
                self.ledger.observe(
                    gpu, self.now_ns, round(joules * UJ_PER_JOULE), self.limits[gpu]
                )
            self.ledger.advance(self.now_ns, WALL + self.second, beat=True)
            if self.second >= second - 1e-9:
                return
            self.second = round(self.second + 0.1, 6)
            for gpu, watts in self.watts.items():
                self.joules[gpu] += watts * 0.1

    @property
    def now_ns(self) -> int:
        return ns(self.second)

    def push(
        self,
        run: str,
        *,
        at: float,
        seq: int,
        phase: Phase = Phase.TRAIN,
        rank: int = 0,
        gpus: tuple[str, ...] = ("GPU-a",),
        incarnation: str = "first",
        final: bool = False,
        **totals: Counts,
    ) -> PushAnswer:
        push = Push(
            run=run,
            rank=rank,
            incarnation=incarnation,
            seq=seq,
            at_ns=ns(at),
            gpus=gpus,
            phase=phase,
            totals={Phase(name): counts for name, counts in totals.items()},
            labels=RunLabels(team="nlp"),
            final=final,
        )
        return self.ledger.push(push, self.now_ns, WALL + self.second)

    def cell(self, run: str, phase: Phase, label: str) -> Cell:
        return self.ledger.runs[run].cells.get((phase, label), Cell())


def ns(second: float) -> int:
    return 1_000 * NS_PER_SECOND + round(second * NS_PER_SECOND)


def steps(count: int, samples: int = 0, tokens: int = 0) -> Counts:
    return Counts(count, samples, tokens)


def started(node: Node, run: str = "r", at: float = 10.0, **more: object) -> None:
    """Begin a run whose first push says that it trains."""
    node.run_to(at)
    node.push(run, at=at, seq=1, **more)  # type: ignore[arg-type]


def test_a_push_closes_an_interval_with_its_steps_seconds_and_joules() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    node.run_to(15.1)
    node.push("r", at=15.05, seq=2, train=steps(50, 1600))
    node.run_to(15.2)

    cell = node.cell("r", Phase.TRAIN, "250")
    assert cell.counts == steps(50, 1600)
    assert cell.duration_ns == ns(15.05) - ns(10)
    assert cell.energy_uj == pytest.approx(5.05 * 200 * UJ_PER_JOULE, abs=2)


def test_the_energy_is_that_of_the_instant_of_the_step_not_of_the_arrival() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    node.run_to(18)
    node.push("r", at=13.37, seq=2, train=steps(10))
    node.run_to(18.1)

    assert node.cell("r", Phase.TRAIN, "250").energy_uj == pytest.approx(674_000_000, abs=2)


def test_a_phase_change_is_credited_to_the_phase_that_ended() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    node.run_to(20)
    node.push("r", at=20, seq=2, phase=Phase.EVAL, train=steps(100))
    node.run_to(23)
    node.push("r", at=23, seq=3, phase=Phase.TRAIN, train=steps(100), eval=steps(4))
    node.run_to(23.1)

    assert node.cell("r", Phase.TRAIN, "250").energy_uj == 2_000 * UJ_PER_JOULE
    assert node.cell("r", Phase.EVAL, "250").energy_uj == 600 * UJ_PER_JOULE
    assert node.cell("r", Phase.EVAL, "250").counts.steps == 4


def test_steps_of_a_phase_whose_beginning_was_lost_spoil_no_operating_point() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    node.run_to(20)
    node.push("r", at=20, seq=2, train=steps(70), eval=steps(3))
    node.run_to(20.1)

    assert node.cell("r", Phase.TRAIN, "250") == Cell()
    assert node.cell("r", Phase.TRAIN, TRANSITION).counts.steps == 70
    assert node.cell("r", Phase.EVAL, TRANSITION).counts.steps == 3


def test_an_interval_with_a_limit_change_is_a_transition_and_so_is_the_settle_time() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    node.run_to(14)
    node.push("r", at=14, seq=2, train=steps(40))
    node.run_to(14.5)
    node.limits["GPU-a"] = 200.0
    for seq, second in enumerate((15, 16, 17, 18), start=3):
        node.run_to(second)
        node.push("r", at=second, seq=seq, train=steps(10 * second - 100))
    node.run_to(18.1)

    assert node.cell("r", Phase.TRAIN, "250").counts.steps == 40
    # Seen at 14.6, settled at 16.6: the intervals up to 17 are tainted.
    assert node.cell("r", Phase.TRAIN, TRANSITION).counts.steps == 30
    assert node.cell("r", Phase.TRAIN, "200").counts.steps == 10


def test_a_limit_that_went_away_and_came_back_between_two_readings_is_a_transition() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    node.run_to(12)
    node.ledger.mark_limit_write("GPU-a", ns(12.05))
    node.run_to(13)
    node.push("r", at=13, seq=2, train=steps(30))
    node.run_to(13.1)

    assert node.cell("r", Phase.TRAIN, TRANSITION).counts.steps == 30


def test_devices_at_different_limits_are_mixed() -> None:
    node = Node({"GPU-a": 200.0, "GPU-b": 100.0})
    node.limits["GPU-b"] = 150.0
    started(node, gpus=("GPU-a", "GPU-b"))
    node.run_to(15)
    node.push("r", at=15, seq=2, gpus=("GPU-a", "GPU-b"), train=steps(50))
    node.run_to(15.1)

    assert node.cell("r", Phase.TRAIN, MIXED).energy_uj == 1_500 * UJ_PER_JOULE


def test_an_unknown_limit_is_a_transition() -> None:
    node = Node({"GPU-a": 200.0})
    node.limits["GPU-a"] = None  # type: ignore[assignment]
    started(node)
    node.run_to(15)
    node.push("r", at=15, seq=2, train=steps(50))
    node.run_to(15.1)

    assert node.cell("r", Phase.TRAIN, TRANSITION).counts.steps == 50


def test_a_repeated_or_reordered_push_changes_nothing() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    node.run_to(15)
    node.push("r", at=15, seq=3, train=steps(50))
    answer = node.push("r", at=15, seq=3, train=steps(50))
    late = node.push("r", at=12, seq=2, train=steps(20))
    node.run_to(16)

    assert (answer.accepted, late.accepted) == (False, False)
    assert node.cell("r", Phase.TRAIN, "250").counts.steps == 50
    assert node.ledger.pushes[PushResult.DUPLICATE] == 2


def test_a_lost_push_loses_nothing() -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    node.run_to(20)
    node.push("r", at=20, seq=9, train=steps(100))
    node.run_to(20.1)

    assert node.cell("r", Phase.TRAIN, "250").counts.steps == 100
    assert node.cell("r", Phase.TRAIN, "250").energy_uj == 2_000 * UJ_PER_JOULE


@pytest.mark.parametrize("at", [-500.0, 5_000.0])
def test_a_push_on_another_clock_counts_at_its_arrival(at: float) -> None:
    node = Node({"GPU-a": 200.0})
    started(node)
    node.run_to(15)
    node.push("r", at=at, seq=2, train=steps(50))
    node.run_to(15.1)

    assert node.cell("r", Phase.TRAIN, "250").energy_uj == 1_000 * UJ_PER_JOULE
    assert node.ledger.adjusted == 1


def test_a_process_that_was_cut_off_is_credited_only_what_was_measured() -> None:
    node = Node({"GPU-a": 200.0})
    node.run_to(60)
    # The client started at 20 s and reached us at 60 s; it resends what it kept.
    node.push("r", at=20, seq=1, phase=Phase.OTHER)
    node.push("r", at=30, seq=2, phase=Phase.TRAIN)
    node.push("r", at=59.9, seq=3, train=steps(300))
    node.run_to(70)
    node.push("r", at=70, seq=4, train=steps(400))
    node.run_to(70.1)

    # Idle energy is booked with 2 s of delay, so the claim reaches back to 58 s.
    cells = node.ledger.runs["r"].cells
    assert sum(cell.energy_uj for cell in cells.values()) == 12 * 200 * UJ_PER_JOULE
    assert node.ledger.adjusted == 0


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
