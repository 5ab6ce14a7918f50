"""Steps, seconds and joules are credited together, to the right run, phase and limit."""

import pytest

from fakes.gpus import Node, ns, started, steps
from joulestat.domain.run import (
    MIXED,
    TRANSITION,
    Cell,
    Phase,
    PushResult,
)
from joulestat.domain.units import UJ_PER_JOULE


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
    # Steps from before the claim are no evidence; those after it are.
    assert node.cell("r", Phase.TRAIN, TRANSITION).counts == steps(300)
    assert node.cell("r", Phase.TRAIN, "250").counts == steps(100)
