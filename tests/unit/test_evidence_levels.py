"""Levels of time and power with the errors of their differences."""

import math
import random

import numpy as np
import pytest

from fakes.evidence import blocks_of
from joulestat.optimizer.evidence.levels import USUAL_STEP_SCATTER, Levels, measure

MEASURED = {300: (200.0, 1.0), 200: (160.0, 1.2), 150: (150.0, 1.5)}
SWITCHING = [(300, 4), (200, 4)] * 6


def difference_error(levels: Levels, one: int, other: int) -> float:
    a, b = levels.index(one), levels.index(other)
    assert a is not None
    assert b is not None
    cov = levels.cov_seconds
    return math.sqrt(cov[a, a] + cov[b, b] - 2 * cov[a, b])


def wandering(count: int, step: float, seed: int) -> list[float]:
    """A random walk around 1, of ``step`` per block."""
    rng, at, factors = random.Random(seed), 0.0, []
    for _ in range(count):
        at += rng.gauss(0.0, step)
        factors.append(math.exp(at))
    return factors


def scattered(count: int, ratio: float, seed: int) -> list[float]:
    rng = random.Random(seed)
    return [math.exp(rng.gauss(0.0, ratio)) for _ in range(count)]


def test_what_does_not_scatter_is_found_exactly() -> None:
    levels = measure(blocks_of([(300, 8), (200, 8), (150, 8)], MEASURED))

    assert (150, 200, 300) == levels.limits_watts
    assert np.log([1.5, 1.2, 1.0]) == pytest.approx(levels.log_seconds)
    assert np.log([100.0, 160 / 1.2, 200.0]) == pytest.approx(levels.log_watts)
    assert [160.0] * 3 == pytest.approx(levels.steps)
    assert difference_error(levels, 300, 150) < 1e-5


def test_a_limit_is_found_by_its_place_and_others_are_none() -> None:
    levels = measure(blocks_of([(300, 8), (200, 8)], MEASURED))

    assert (0, 1, None) == (levels.index(200), levels.index(300), levels.index(250))


def test_the_order_of_visits_does_not_change_what_there_is_without_scatter() -> None:
    once = measure(blocks_of([(300, 24), (200, 24)], MEASURED))
    often = measure(blocks_of(SWITCHING, MEASURED))

    assert once.log_seconds == pytest.approx(often.log_seconds)


def test_one_block_has_the_usual_scatter_for_its_error() -> None:
    levels = measure(blocks_of([(300, 1)], MEASURED))
    expected = USUAL_STEP_SCATTER / math.sqrt(20.0)

    assert expected == pytest.approx(math.sqrt(levels.cov_seconds[0, 0]), rel=0.5)
    assert math.sqrt(levels.cov_seconds[0, 0]) >= expected


def test_the_scatter_of_a_step_is_what_it_was() -> None:
    """Blocks of 20 steps that scatter by 1 % are steps that scatter by 4.5 %."""
    found = [
        measure(blocks_of([(300, 48)], MEASURED, factors=scattered(48, 0.01, seed)))
        for seed in range(20)
    ]
    mean = sum(levels.step_scatter_seconds for levels in found) / len(found)

    assert 0.01 * math.sqrt(20) == pytest.approx(mean, rel=0.1)


def test_more_steps_make_the_error_smaller() -> None:
    few = measure(blocks_of([(300, 12), (200, 12)], MEASURED, factors=scattered(24, 0.01, 1)))
    many = measure(blocks_of([(300, 40), (200, 40)], MEASURED, factors=scattered(80, 0.01, 1)))

    assert difference_error(many, 300, 200) < difference_error(few, 300, 200)


def test_drift_is_told_from_scatter() -> None:
    white = measure(blocks_of(SWITCHING, MEASURED, factors=scattered(48, 0.01, 3)))
    drifting = measure(blocks_of(SWITCHING, MEASURED, factors=wandering(48, 0.01, 3)))

    assert drifting.drift_seconds > 3 * white.drift_seconds
    assert drifting.step_scatter_seconds < white.step_scatter_seconds


def test_drift_that_two_limits_share_is_no_error_of_their_difference() -> None:
    levels = measure(blocks_of(SWITCHING, MEASURED, factors=wandering(48, 0.01, 3)))
    apart = math.sqrt(levels.cov_seconds[0, 0] + levels.cov_seconds[1, 1])

    assert difference_error(levels, 300, 200) < apart / 3


def test_switching_back_and_forth_takes_drift_out_of_the_difference() -> None:
    factors = wandering(48, 0.01, 5)
    often = measure(blocks_of(SWITCHING, MEASURED, factors=factors))
    once = measure(blocks_of([(300, 24), (200, 24)], MEASURED, factors=factors))

    assert 2 * difference_error(often, 300, 200) < difference_error(once, 300, 200)


def test_time_and_power_have_errors_of_their_own() -> None:
    """Energy and time stretch alike here, so power does not scatter at all."""
    levels = measure(blocks_of(SWITCHING, MEASURED, factors=scattered(48, 0.02, 4)))

    assert levels.step_scatter_watts < 1e-3 < levels.step_scatter_seconds
