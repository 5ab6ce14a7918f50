import logging
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from fakes.clock import FakeClock
from fakes.scripted_server import Json, ScriptedExporter, ScriptedServer
from joulestat.client.joules import Joules
from joulestat.client.notices import Notices
from joulestat.client.outbox import LAST_BACKOFF_NS, Outbox
from joulestat.client.tally import Tally
from joulestat.client.target import parse_target
from joulestat.client.transport import Transport
from joulestat.domain.run import Phase
from joulestat.domain.units import NS_PER_SECOND


@dataclass
class Desk:
    """An outbox whose thread is the test, and the exporter that it talks to."""

    clock: FakeClock
    exporter: ScriptedExporter
    tally: Tally
    joules: Joules
    transport: Transport
    outbox: Outbox

    def wait_and_turn(self, seconds: float) -> int | None:
        self.clock.advance(seconds)
        return self.outbox.turn()

    @property
    def pushes(self) -> list[Json]:
        return self.exporter.pushes

    def phases(self) -> list[str]:
        return [push["phase"] for push in self.pushes]


@pytest.fixture
def exporter() -> ScriptedExporter:
    return ScriptedExporter()


@pytest.fixture
def desk(exporter: ScriptedExporter) -> Iterator[Desk]:
    with ScriptedServer(exporter) as server:
        clock = FakeClock()
        tally = Tally(clock.monotonic_ns, ("GPU-1", 3))
        joules = Joules()
        transport = Transport(parse_target(server.url), clock.monotonic_ns)
        outbox = Outbox(
            tally,
            joules,
            transport,
            Notices(),
            about={"run": "r", "rank": 1, "incarnation": "i"},
            now_ns=clock.monotonic_ns,
        )
        yield Desk(clock, exporter, tally, joules, transport, outbox)
        transport.close()


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


def test_phase_changes_of_an_outage_arrive_afterwards_in_order(desk: Desk) -> None:
    desk.outbox.turn()
    desk.exporter.statuses = [503] * 3
    for phase in (Phase.TRAIN, Phase.EVAL, Phase.TRAIN, Phase.CHECKPOINT):
        desk.tally.step(1, 0)
        desk.tally.change_phase(phase)
        desk.wait_and_turn(2)
    desk.wait_and_turn(30)

    instants = [push["at_ns"] for push in desk.pushes]
    assert ["other", "train", "eval", "train", "checkpoint"] == desk.phases()[:5]
    assert sorted(instants) == instants
    assert sorted({push["seq"] for push in desk.pushes}) == [push["seq"] for push in desk.pushes]


def test_a_push_that_was_taken_but_not_answered_is_repeated_with_its_number(desk: Desk) -> None:
    desk.outbox.turn()
    answer = desk.exporter.instance
    desk.exporter.instance = 7  # type: ignore[assignment] # an answer that makes no sense
    desk.wait_and_turn(1)
    desk.tally.change_phase(Phase.TRAIN)
    desk.wait_and_turn(2)
    desk.exporter.instance = answer
    desk.wait_and_turn(4)

    trains = [push["seq"] for push in desk.pushes if push["phase"] == "train"]
    assert 2 <= trains.count(trains[0])


def test_waiting_times_double_to_half_a_minute_and_start_again_after_success(desk: Desk) -> None:
    desk.exporter.statuses = [500] * 8
    waits = []
    wait_ns = desk.outbox.turn()
    while wait_ns is not None and desk.exporter.statuses:
        waits.append(wait_ns // NS_PER_SECOND)
        wait_ns = desk.wait_and_turn(wait_ns / NS_PER_SECOND)
    assert [1, 2, 4, 8, 16, 30, 30] == waits
    assert LAST_BACKOFF_NS == wait_ns

    assert desk.outbox.failing
    assert NS_PER_SECOND == desk.wait_and_turn(30)
    assert not desk.outbox.failing


def test_nobody_pushes_earlier_than_the_back_off_allows(desk: Desk) -> None:
    desk.outbox.turn()
    desk.exporter.statuses = [500, 500]
    desk.wait_and_turn(1)
    desk.tally.change_phase(Phase.TRAIN)
    desk.wait_and_turn(0.9)
    assert [500] == desk.exporter.statuses


def test_until_somebody_answers_only_what_a_claim_can_begin_with_is_kept(desk: Desk) -> None:
    desk.exporter.statuses = [500]
    desk.outbox.turn()
    desk.tally.change_phase(Phase.TRAIN)
    desk.tally.step(1, 0)
    desk.clock.advance(60)
    desk.tally.step(1, 0)
    desk.outbox.turn()

    # One push, which opens the claim here: an opening from a minute ago with no steps would
    # have the exporter book both steps into two seconds of energy.
    assert ["train"] == desk.phases()
    assert 2 == desk.pushes[0]["totals"]["train"]["steps"]


def test_a_push_that_is_refused_is_said_once_and_not_repeated(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.exporter.statuses = [422, 422]
    desk.outbox.turn()
    desk.wait_and_turn(1)
    desk.wait_and_turn(2)

    assert [3] == [push["seq"] for push in desk.pushes]
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert 1 == len(warnings)
    assert "scripted 422" in warnings[0]
    assert desk.outbox.alive


def test_a_refused_phase_change_does_not_hold_up_the_ones_behind_it(desk: Desk) -> None:
    desk.outbox.turn()
    desk.tally.change_phase(Phase.TRAIN)
    desk.tally.change_phase(Phase.EVAL)
    desk.exporter.statuses = [422]
    desk.wait_and_turn(0.2)

    assert ["other", "eval"] == [desk.phases()[0], desk.phases()[-1]]


def test_a_newer_process_ends_the_pushes_of_an_older_one(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.outbox.turn()
    desk.exporter.statuses = [409]

    assert desk.wait_and_turn(1) is None
    assert not desk.outbox.alive
    assert not desk.outbox.flush(1.0)
    assert "nothing more is pushed" in caplog.text


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_phase_change_survives_an_exporter_that_is_busy_or_broken(
    desk: Desk, status: int
) -> None:
    desk.outbox.turn()
    desk.tally.change_phase(Phase.TRAIN)
    desk.exporter.statuses = [status]
    desk.wait_and_turn(0.2)
    desk.wait_and_turn(1)

    assert "train" == desk.phases()[-1]


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


def test_dropped_phase_changes_are_said_once(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.outbox.turn()
    for _ in range(100):
        desk.tally.change_phase(Phase.TRAIN)
        desk.tally.change_phase(Phase.EVAL)
    desk.wait_and_turn(1)
    desk.wait_and_turn(1)

    assert 1 == caplog.text.count("too many phase changes")


def test_one_connection_serves_all_pushes(exporter: ScriptedExporter) -> None:
    with ScriptedServer(exporter) as server:
        clock = FakeClock()
        tally = Tally(clock.monotonic_ns)
        transport = Transport(parse_target(server.url), clock.monotonic_ns)
        outbox = Outbox(tally, Joules(), transport, Notices(), about={}, now_ns=clock.monotonic_ns)
        for _ in range(5):
            outbox.turn()
            clock.advance(1)
        transport.close()

        assert 5 <= len(exporter.pushes)
        assert 1 == server.connections
