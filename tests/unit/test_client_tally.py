import sys
from itertools import count, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.clock import FakeClock
from joulestat.client.arguments import MAX_COUNT
from joulestat.client.tally import WAITING_LIMIT, Boundary, Tally
from joulestat.domain.run import Counts, Phase


def drained(tally: Tally) -> list[Boundary]:
    boundaries = []
    while (boundary := tally.waiting()) is not None:
        boundaries.append(boundary)
        tally.settle(boundary.seq)
    return boundaries


def test_a_rank_begins_in_other_with_nothing_counted() -> None:
    clock = FakeClock()
    tally = Tally(clock.monotonic_ns, ("GPU-1",))

    expected = Boundary(1, clock.monotonic_ns(), Phase.OTHER, {}, ("GPU-1",))
    assert expected == tally.waiting()


def test_steps_count_under_the_phase_in_force() -> None:
    tally = Tally(FakeClock().monotonic_ns)
    tally.change_phase(Phase.TRAIN)
    tally.step(32, 1000)
    tally.step(32, 1000)
    tally.change_phase(Phase.EVAL)
    tally.step(8, 0)
    tally.add(4, 10)

    expected = {Phase.TRAIN: Counts(2, 64, 2000), Phase.EVAL: Counts(1, 12, 10)}
    assert expected == tally.latest().totals


def test_a_total_stays_within_what_the_exporter_takes() -> None:
    tally = Tally(FakeClock().monotonic_ns)
    tally.step(MAX_COUNT, MAX_COUNT)
    tally.step(MAX_COUNT, 1)

    assert {Phase.OTHER: Counts(2, MAX_COUNT, MAX_COUNT)} == tally.latest().totals


def test_a_phase_change_stands_at_its_own_instant_with_the_counts_of_then() -> None:
    clock = FakeClock()
    tally = Tally(clock.monotonic_ns)
    tally.change_phase(Phase.TRAIN)
    tally.step(1, 0)
    clock.advance(2)
    changed_ns = clock.monotonic_ns()
    tally.change_phase(Phase.EVAL)
    clock.advance(2)
    tally.step(1, 0)

    boundary = drained(tally)[-1]
    assert changed_ns == boundary.at_ns
    assert Phase.EVAL is boundary.phase
    assert {Phase.TRAIN: Counts(1, 1, 0)} == boundary.totals


def test_a_phase_that_is_in_force_already_changes_nothing() -> None:
    tally = Tally(FakeClock().monotonic_ns)

    assert not tally.change_phase(Phase.OTHER)
    assert 1 == len(drained(tally))


def test_a_push_within_a_phase_of_steps_stands_where_the_last_step_ended() -> None:
    clock = FakeClock()
    tally = Tally(clock.monotonic_ns)
    tally.change_phase(Phase.TRAIN)
    clock.advance(0.3)
    tally.step(1, 0)
    ended_ns = clock.monotonic_ns()
    clock.advance(0.5)

    assert ended_ns == tally.latest().at_ns


def test_a_heartbeat_without_a_new_step_repeats_the_instant() -> None:
    clock = FakeClock()
    tally = Tally(clock.monotonic_ns)
    tally.change_phase(Phase.TRAIN)
    tally.step(1, 0)
    first = tally.latest()
    clock.advance(30)
    second = tally.latest()

    assert first.at_ns == second.at_ns
    assert first.seq < second.seq


def test_a_push_in_a_phase_without_steps_stands_at_now() -> None:
    clock = FakeClock()
    tally = Tally(clock.monotonic_ns)
    tally.change_phase(Phase.TRAIN)
    tally.step(1, 0)
    tally.change_phase(Phase.CHECKPOINT)
    clock.advance(5)

    assert clock.monotonic_ns() == tally.latest().at_ns


def test_a_phase_begun_again_does_not_remember_its_steps_of_before() -> None:
    clock = FakeClock()
    tally = Tally(clock.monotonic_ns)
    tally.change_phase(Phase.TRAIN)
    tally.step(1, 0)
    tally.change_phase(Phase.EVAL)
    tally.change_phase(Phase.TRAIN)
    clock.advance(5)

    assert clock.monotonic_ns() == tally.latest().at_ns


def test_the_last_boundary_stands_at_now_and_comes_once() -> None:
    clock = FakeClock()
    tally = Tally(clock.monotonic_ns)
    tally.change_phase(Phase.TRAIN)
    tally.step(1, 0)
    clock.advance(5)

    assert tally.finish()
    assert not tally.finish()
    assert not tally.change_phase(Phase.EVAL)
    last = drained(tally)[-1]
    assert last.final
    assert clock.monotonic_ns() == last.at_ns


def test_too_many_waiting_phase_changes_cost_the_oldest() -> None:
    tally = Tally(FakeClock().monotonic_ns)
    for _ in range(WAITING_LIMIT):
        tally.change_phase(Phase.TRAIN)
        tally.change_phase(Phase.OTHER)

    waiting = drained(tally)
    assert WAITING_LIMIT == len(waiting)
    assert WAITING_LIMIT + 1 == tally.dropped
    assert 2 * WAITING_LIMIT + 1 == waiting[-1].seq


def test_phase_changes_of_long_ago_can_be_forgotten_but_not_the_end() -> None:
    clock = FakeClock()
    tally = Tally(clock.monotonic_ns)
    tally.change_phase(Phase.TRAIN)
    clock.advance(10)
    tally.change_phase(Phase.EVAL)
    tally.finish()
    clock.advance(10)

    tally.forget_before(clock.monotonic_ns() - 5_000_000_000)

    assert [True] == [boundary.final for boundary in drained(tally)]


def test_an_instant_never_lies_before_the_one_pushed_last() -> None:
    # A signal handler that changes the phase while a step is being entered does this.
    times = iter([100, 300, 200, 400])
    tally = Tally(lambda: next(times))
    tally.change_phase(Phase.TRAIN)
    tally.step(1, 0)

    assert 300 == tally.latest().at_ns


@pytest.mark.parametrize("nth", range(1, 25))
def test_a_signal_handler_may_change_the_phase_in_the_middle_of_a_change(nth: int) -> None:
    clock = FakeClock()
    tally = Tally(clock.monotonic_ns)
    tally.step(1, 0)
    clock.advance(1)
    calls = count(1)

    def interrupt(*_: object) -> None:
        """Python runs signal handlers at calls, so one is played at the nth call."""
        if next(calls) == nth:
            clock.advance(1)
            tally.step(1, 0)
            tally.change_phase(Phase.CHECKPOINT)

    before = sys.gettrace()
    sys.settrace(interrupt)
    tally.change_phase(Phase.TRAIN)
    sys.settrace(before)
    pushed = drained(tally)

    # The beginning, and both changes; past the last call nothing interrupts.
    assert (3 if next(calls) > nth else 2) == len(pushed)
    assert sorted({push.seq for push in pushed}) == [push.seq for push in pushed]
    assert sorted(push.at_ns for push in pushed) == [push.at_ns for push in pushed]


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("step"), st.integers(0, 9)),
        st.tuples(st.just("add"), st.integers(0, 9)),
        st.tuples(st.just("phase"), st.sampled_from(Phase)),
        st.tuples(st.just("wait"), st.floats(0, 5)),
        st.tuples(st.just("push"), st.none()),
        st.tuples(st.just("settle"), st.none()),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(operations=OPERATIONS)
def test_whatever_happens_pushes_rise_in_order_and_count_everything_once(
    operations: list[tuple[str, object]],
) -> None:
    clock = FakeClock()
    tally = Tally(clock.monotonic_ns)
    pushed: list[Boundary] = []
    steps = samples = 0
    for name, value in operations:
        match name, value:
            case "step", int(n):
                tally.step(n, 0)
                steps, samples = steps + 1, samples + n
            case "add", int(n):
                tally.add(n, 0)
                samples += n
            case "phase", Phase() as phase:
                tally.change_phase(phase)
            case "wait", float(seconds):
                clock.advance(seconds)
            case "push", _:
                pushed += [*drained(tally), tally.latest()]
            case _:
                pushed += drained(tally)
    tally.finish()
    pushed += drained(tally)

    assert sorted({push.seq for push in pushed}) == [push.seq for push in pushed]
    assert sorted(push.at_ns for push in pushed) == [push.at_ns for push in pushed]
    assert steps == sum(counts.steps for counts in pushed[-1].totals.values())
    assert samples == sum(counts.samples for counts in pushed[-1].totals.values())
    for earlier, later in pairwise(pushed):
        for phase, counts in earlier.totals.items():
            assert not (later.totals[phase] - counts).any_negative
