import logging
from collections.abc import Iterator

import pytest

from fakes.client_desk import Desk, a_desk
from joulestat.client.outbox import LAST_BACKOFF_NS
from joulestat.domain.run import Phase
from joulestat.domain.units import NS_PER_SECOND


@pytest.fixture
def desk() -> Iterator[Desk]:
    with a_desk() as desk:
        yield desk


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


def test_dropped_phase_changes_are_said_once(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.outbox.turn()
    for _ in range(100):
        desk.tally.change_phase(Phase.TRAIN)
        desk.tally.change_phase(Phase.EVAL)
    desk.wait_and_turn(1)
    desk.wait_and_turn(1)

    assert 1 == caplog.text.count("too many phase changes")
