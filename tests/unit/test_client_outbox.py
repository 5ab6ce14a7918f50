from collections.abc import Iterator

import pytest

from fakes.client_desk import Desk, a_desk
from joulestat.domain.run import Phase
from joulestat.domain.units import NS_PER_SECOND


@pytest.fixture
def desk() -> Iterator[Desk]:
    with a_desk() as desk:
        yield desk


def test_the_first_push_goes_out_at_once_with_nothing_counted(desk: Desk) -> None:
    desk.outbox.turn()

    expected = {
        "run": "r",
        "rank": 1,
        "incarnation": "i",
        "seq": 1,
        "at_ns": desk.clock.monotonic_ns(),
        "gpus": ["GPU-1", 3],
        "phase": "other",
        "totals": {},
        "final": False,
    }
    assert expected == desk.pushes[0]


def test_counts_are_pushed_once_a_second_cumulatively(desk: Desk) -> None:
    desk.outbox.turn()
    desk.tally.change_phase(Phase.TRAIN)
    for _ in range(40):
        desk.tally.step(8, 100)
        desk.wait_and_turn(0.1)

    steps = [push["totals"]["train"]["steps"] for push in desk.pushes if push["totals"]]
    assert [11, 21, 31] == steps


def test_nothing_is_sent_before_its_time_and_the_thread_is_told_how_long_to_sleep(
    desk: Desk,
) -> None:
    desk.outbox.turn()
    sent = len(desk.pushes)

    assert NS_PER_SECOND * 6 // 10 == desk.wait_and_turn(0.4)
    assert sent == len(desk.pushes)


def test_a_phase_change_is_pushed_when_it_happens(desk: Desk) -> None:
    desk.outbox.turn()
    desk.wait_and_turn(0.3)
    desk.tally.change_phase(Phase.TRAIN)
    desk.outbox.turn()

    assert "train" == desk.phases()[-1]
    assert desk.clock.monotonic_ns() == desk.pushes[-1]["at_ns"]


def test_a_phase_change_in_the_middle_of_a_turn_is_not_overtaken(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.outbox.turn()
    looks = []

    def now_ns() -> int:
        looks.append(desk.tally.waiting())
        if len(looks) == 2:  # the turn has seen that no change of phase waits
            desk.tally.change_phase(Phase.EVAL)
            desk.tally.step(1, 0)
        return desk.clock.monotonic_ns()

    monkeypatch.setattr(desk.outbox, "_now_ns", now_ns)
    desk.wait_and_turn(1)
    desk.wait_and_turn(1)

    assert [None, None] == looks[:2]
    assert [{}, {"eval": 1}] == [
        {phase: counts["steps"] for phase, counts in push["totals"].items()}
        for push in desk.pushes[1:]
    ]


def test_many_phase_changes_leave_in_bursts_a_tenth_of_a_second_apart(desk: Desk) -> None:
    desk.outbox.turn()
    requests = len(desk.pushes)
    for _ in range(10):
        desk.tally.change_phase(Phase.TRAIN)
        desk.outbox.turn()
        desk.tally.change_phase(Phase.EVAL)
        desk.outbox.turn()
    assert requests == len(desk.pushes)

    desk.wait_and_turn(0.1)
    assert 20 == len(desk.pushes) - requests


def test_whoever_asks_gets_a_push_at_once_even_during_a_back_off(desk: Desk) -> None:
    desk.exporter.statuses = [500]
    desk.outbox.turn()
    waiter = desk.outbox.ask()
    desk.outbox.turn()

    assert waiter.wait(0)
    assert 1 <= len(desk.pushes)


def test_whoever_asks_hears_of_failure(desk: Desk) -> None:
    desk.exporter.statuses = [500]
    waiter = desk.outbox.ask()
    desk.outbox.turn()

    assert not waiter.wait(0)


def test_the_end_pushes_what_waits_then_the_final_push_then_nothing(desk: Desk) -> None:
    desk.outbox.turn()
    desk.tally.change_phase(Phase.TRAIN)
    desk.tally.step(4, 0)
    desk.clock.advance(0.5)
    waiter = desk.outbox.ask_last()

    assert desk.outbox.turn() is None
    assert waiter is not None
    assert waiter.wait(0)
    assert [False, False, True] == [push["final"] for push in desk.pushes]
    assert {"train": {"steps": 1, "samples": 4, "tokens": 0}} == desk.pushes[-1]["totals"]
    assert desk.clock.monotonic_ns() == desk.pushes[-1]["at_ns"]
    assert desk.outbox.ask_last() is None


def test_the_end_is_tried_once(desk: Desk) -> None:
    desk.exporter.statuses = [500] * 5
    waiter = desk.outbox.ask_last()

    assert desk.outbox.turn() is None
    assert waiter is not None
    assert not waiter.wait(0)
    assert 4 == len(desk.exporter.statuses)


def test_the_answer_becomes_joules_and_limits(desk: Desk) -> None:
    desk.exporter.energy_joules = {"GPU-1": 12.5}
    desk.outbox.turn()

    assert {"GPU-1": 12.5} == desk.joules.spent()
    assert {"GPU-1": 250.0} == desk.joules.power_limit_watts


def test_one_connection_serves_all_pushes(desk: Desk) -> None:
    for _ in range(5):
        desk.wait_and_turn(1)

    assert 5 == len(desk.pushes)
    assert 1 == desk.server.connections


def test_steps_without_a_gpu_to_count_energy_on_are_said_once(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.tally.gpus = None
    for _ in range(4):
        desk.wait_and_turn(4)
    assert "" == caplog.text  # nobody has made a step yet

    desk.tally.step(1, 0)
    for _ in range(3):
        desk.wait_and_turn(4)
    assert 1 == caplog.text.count("name them: init(gpus=...) or JOULESTAT_GPUS")


def test_energy_tells_that_the_exporter_found_the_gpus_itself(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.tally.gpus = None
    desk.exporter.energy_joules = {"GPU-1": 5.0}
    desk.tally.step(1, 0)
    for _ in range(5):
        desk.wait_and_turn(4)

    assert "" == caplog.text
