"""What "best" means, and the curve between measured limits."""

import math

import pytest

from joulestat.domain.errors import ConfigError
from joulestat.domain.plan import OperatingPoint
from joulestat.optimizer.evidence.curve import UNKNOWN_STDERR_RATIO, Curve, Estimate, as_estimate
from joulestat.optimizer.search.objective import Cost, Reference, Slowdown, best


def at(
    watts: int, joules: float, seconds: float, *, stderr: float = 0.0, time_stderr: float = 0.0
) -> Estimate:
    return Estimate(watts, joules, seconds, stderr, time_stderr)


BASE = at(300, 100.0, 1.0)
REFERENCE = Reference(BASE, total_limit_watts=300.0)


def test_cost_weighs_energy_against_time_at_the_reference_power() -> None:
    assert 0.25 * 80 + 0.75 * 300 * 1.1 == pytest.approx(
        Cost(0.25).value(at(200, 80.0, 1.1), REFERENCE)
    )


def test_the_reference_power_is_that_of_all_devices() -> None:
    """Eight GPUs choose as one does: with one device's limit, eta 0.5 would act like 0.89."""
    points = [at(300, 250.0, 1.0), at(250, 225.0, 1.04), at(200, 205.0, 1.2)]
    eight = [at(p.power_limit_watts, 8 * p.joules_per_step, p.seconds_per_step) for p in points]

    one = best(points, Cost(0.5), Reference(points[0], 300.0))
    all_eight = best(eight, Cost(0.5), Reference(eight[0], 8 * 300.0))
    mistaken = best(eight, Cost(0.5), Reference(eight[0], 300.0))

    assert one is not None
    assert all_eight is not None
    assert mistaken is not None
    assert (250, 250, 200) == tuple(
        chosen.power_limit_watts for chosen in (one, all_eight, mistaken)
    )


def test_slowdown_takes_the_least_energy_and_not_the_lowest_limit() -> None:
    points = [BASE, at(200, 70.0, 1.03), at(150, 75.0, 1.04)]
    chosen = best(points, Slowdown(1.05), REFERENCE)

    assert points[1] is chosen


def test_slowdown_leaves_out_what_is_too_slow() -> None:
    points = [BASE, at(250, 90.0, 1.04), at(200, 70.0, 1.06)]

    assert points[1] is best(points, Slowdown(1.05), REFERENCE)
    assert points[2] is best(points, Slowdown(1.1), REFERENCE)


def test_slowdown_keeps_its_bound_one_standard_error_worse() -> None:
    points = [BASE, at(250, 90.0, 1.045, time_stderr=0.01)]

    assert BASE is best(points, Slowdown(1.05), REFERENCE)
    assert points[1] is best(points, Slowdown(1.06), REFERENCE)


def test_the_reference_is_allowed_however_badly_it_is_known() -> None:
    shaky = at(300, 100.0, 1.0, time_stderr=0.2)

    assert shaky is best([shaky], Slowdown(1.01), Reference(shaky, 300.0))


@pytest.mark.parametrize("bound", [1.0, 1.009, 0.5, -1.0, math.nan, math.inf])
def test_a_slowdown_tighter_than_can_be_measured_is_refused_with_the_reason(bound: float) -> None:
    with pytest.raises(ConfigError, match="not known better than about 1 %"):
        Slowdown(bound)


@pytest.mark.parametrize("eta", [-0.1, 1.1, math.nan])
def test_an_eta_outside_of_nought_to_one_is_refused(eta: float) -> None:
    with pytest.raises(ConfigError, match="from 0"):
        Cost(eta)


def test_of_limits_equal_within_their_error_the_higher_wins() -> None:
    points = [at(250, 80.5, 1.0, stderr=0.4), at(200, 80.0, 1.0, stderr=0.4)]

    assert points[0] is best(points, Cost(1.0), REFERENCE)


def test_of_limits_that_differ_by_more_the_better_wins() -> None:
    points = [at(250, 80.5, 1.0, stderr=0.3), at(200, 80.0, 1.0, stderr=0.3)]

    assert points[1] is best(points, Cost(1.0), REFERENCE)


def test_objectives_name_themselves_and_their_parameters() -> None:
    assert {"name": "cost", "eta": 0.25} == Cost(0.25).parameters()
    assert {"name": "slowdown", "max_slowdown": 1.1} == Slowdown(1.1).parameters()


def test_the_curve_goes_through_its_points_and_between_its_neighbours() -> None:
    points = [at(300, 100.0, 1.0), at(200, 80.0, 1.1), at(150, 78.0, 1.4)]
    curve = Curve(points)

    assert [curve.at(point.power_limit_watts) for point in points] == points
    between = curve.at(250)
    assert between is not None
    assert 80.0 < between.joules_per_step < 100.0
    assert 1.0 < between.seconds_per_step < 1.1


@pytest.mark.parametrize("watts", [149, 301, 100, 400])
def test_the_curve_says_nothing_outside_of_the_measured_limits(watts: int) -> None:
    assert Curve([at(300, 100.0, 1.0), at(150, 78.0, 1.4)]).at(watts) is None


def test_power_laws_are_straight_lines() -> None:
    curve = Curve([at(w, w**0.5, w**-0.25) for w in (100, 200, 400)])
    between = curve.at(250)

    assert between is not None
    assert 250**0.5 == pytest.approx(between.joules_per_step, rel=1e-6)
    assert 250**-0.25 == pytest.approx(between.seconds_per_step, rel=1e-6)


def test_between_points_the_error_is_the_nearest_ones() -> None:
    curve = Curve([at(300, 100.0, 1.0, stderr=5.0), at(150, 80.0, 1.4, stderr=0.8)])
    near_300, near_150 = curve.at(280), curve.at(160)

    assert near_300 is not None
    assert near_150 is not None
    assert 0.05 == pytest.approx(near_300.joules_stderr / near_300.joules_per_step)
    assert 0.01 == pytest.approx(near_150.joules_stderr / near_150.joules_per_step)


def test_an_unknown_error_is_taken_for_the_usual_scatter() -> None:
    estimate = as_estimate(OperatingPoint(250, 80.0, 1.1, 100, None, 0.002))

    assert (UNKNOWN_STDERR_RATIO * 80.0, 0.002) == (
        estimate.joules_stderr,
        estimate.seconds_stderr,
    )
