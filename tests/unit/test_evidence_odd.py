"""Looks in which a counter must have been wrong are no evidence; long steps are."""

from dataclasses import replace

import pytest

from fakes.evidence import slices_of
from joulestat.optimizer.evidence.odd import without_odd
from joulestat.optimizer.evidence.profile import Minimum, build_profile
from joulestat.optimizer.history.facts import Slice

MEASURED = {300: (200.0, 1.0), 200: (160.0, 1.2)}
LOOKS = slices_of([(300, 20), (200, 10)], MEASURED)


def with_look(position: int, **changes: float) -> list[Slice]:
    return [
        replace(item, **changes) if index == position else item  # type: ignore[arg-type]
        for index, item in enumerate(LOOKS)
    ]


def test_looks_that_agree_are_all_kept() -> None:
    assert (LOOKS, 0) == without_odd(LOOKS)


@pytest.mark.parametrize(
    "changes",
    [{"joules": 0.0}, {"joules": 4000.0}, {"joules": 1e9}, {"step_seconds": 50.0}],
    ids=["stood still", "twice", "wild", "too long"],
)
@pytest.mark.parametrize("position", [0, 7, 25])
def test_a_look_whose_power_cannot_be_is_left_out(position: int, changes: dict[str, float]) -> None:
    kept, odd_looks = without_odd(with_look(position, **changes))

    assert LOOKS[:position] + LOOKS[position + 1 :] == kept
    assert 1 == odd_looks


def test_a_counter_that_stood_still_and_caught_up_leaves_two_looks_out() -> None:
    items = with_look(7, joules=0.0)
    items[8] = replace(items[8], joules=2 * items[8].joules)

    assert (LOOKS[:7] + LOOKS[9:], 2) == without_odd(items)


def test_long_steps_are_evidence() -> None:
    slow = with_look(7, joules=6000.0, step_seconds=30.0)

    assert (slow, 0) == without_odd(slow)


def test_a_run_whose_power_wanders_is_how_it_is() -> None:
    """Every third look draws half: that is the run, and no counter."""
    items = [
        replace(item, joules=item.joules / (2 if index % 3 == 0 else 1))
        for index, item in enumerate(LOOKS)
    ]

    assert (items, 0) == without_odd(items)


def test_of_a_few_looks_none_is_called_odd() -> None:
    few = with_look(1, joules=4000.0)[:4]

    assert (few, 0) == without_odd(few)


def test_looks_without_time_or_energy_at_all_are_left_as_they_are() -> None:
    idle = [replace(item, steps=0.0, joules=0.0, step_seconds=0.0) for item in LOOKS]

    assert (idle, 0) == without_odd(idle)


def test_a_profile_is_not_bent_by_a_wrong_counter_and_says_so() -> None:
    profile = build_profile(with_look(25, joules=1e9), Minimum(steps=30, seconds=60.0))
    point = profile.at(200)

    assert point is not None
    assert 160.0 == pytest.approx(point.joules_per_step)
    assert 1 == profile.odd_looks
