"""What a run's speed is worth at each power limit: its concave envelope on a grid of limits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from joulestat.domain.plan import FittedPoint
from joulestat.optimizer.fleet.fitted import curve_at

GRID_WATTS = 5
"""Limits are chosen in steps of this; finer ones are not told apart by any measurement."""

UNMEASURED_SLOPE = 0.8
"""Speed lost per share of the reference limit taken away, where nothing was measured: 0.6 of the
speed is left at half of the limit. Measured runs lose less as a rule, so a run that is not known
yet is given rather too much than too little."""

LEAST_SPEED_RATIO = 0.05
"""Of the lowest measured speed: no limit that a driver accepts stops a card altogether."""


@dataclass(frozen=True, slots=True)
class SpeedCurve:
    """Speed over the limits that a run may get, lowest limit first.

    Attributes:
        limits_watts: Per GPU, whole W.
        speeds: Steps per second as a share of those at the reference limit, as measured or,
            where nothing was, as assumed.
        worths: The least concave curve that is nowhere below ``speeds`` and never falls: what a
            division is computed with.
        measured: Whether the run's speed was measured at all.
    """

    limits_watts: tuple[int, ...]
    speeds: tuple[float, ...]
    worths: tuple[float, ...]
    measured: bool

    def index_at_least(self, speed: float) -> int:
        """Return the index from which on no limit is slower; the last one where all are."""
        index = len(self.speeds) - 1
        while index > 0 and self.speeds[index - 1] >= speed:
            index -= 1
        return index


def speed_curve(
    fitted: Sequence[FittedPoint], min_watts: float, reference_watts: int
) -> SpeedCurve:
    """Return a run's speed from the lowest limit that its GPUs accept to its reference limit.

    Below the lowest measured limit it
    falls at least as fast as it does for a run that was never measured, and as it does just
    above: nobody knows how fast, and a curve that was drawn on has been off by a factor of two.

    Args:
        fitted: The fit through the run's measured points; fewer than two at or below the
            reference limit count as none.
        min_watts: Lowest limit that all the run's GPUs accept.
        reference_watts: The limit in force before any lease, per GPU.
    """
    limits = _grid(min_watts, reference_watts)
    inside = sorted(
        (point for point in fitted if point.power_limit_watts <= reference_watts),
        key=lambda point: point.power_limit_watts,
    )
    if len(inside) < 2:
        speeds = tuple(_assumed(watts / reference_watts) for watts in limits)
        return SpeedCurve(limits, speeds, _envelope(limits, speeds), measured=False)
    speeds = _measured(inside, limits, reference_watts)
    return SpeedCurve(limits, speeds, _envelope(limits, speeds), measured=True)


def _grid(min_watts: float, reference_watts: int) -> tuple[int, ...]:
    """Return whole watts: the lowest limit, multiples of the grid, and the reference limit."""
    lowest = min(math.ceil(min_watts), reference_watts)
    first = (lowest // GRID_WATTS + 1) * GRID_WATTS
    return tuple(sorted({lowest, *range(first, reference_watts, GRID_WATTS), reference_watts}))


def _assumed(share: float) -> float:
    return 1.0 - UNMEASURED_SLOPE * (1.0 - share)


def _measured(
    fitted: Sequence[FittedPoint], limits: Sequence[int], reference_watts: int
) -> tuple[float, ...]:
    reference_seconds = fitted[-1].seconds_per_step
    lowest, just_above = fitted[0], fitted[1]
    lowest_speed = reference_seconds / lowest.seconds_per_step
    slope = max(
        UNMEASURED_SLOPE / reference_watts,
        (reference_seconds / just_above.seconds_per_step - lowest_speed)
        / (just_above.power_limit_watts - lowest.power_limit_watts),
    )

    def speed(watts: int) -> float:
        if watts < lowest.power_limit_watts:
            drawn_on = lowest_speed - slope * (lowest.power_limit_watts - watts)
            return max(drawn_on, LEAST_SPEED_RATIO * lowest_speed)
        at = curve_at(fitted, watts)
        # Above the highest fitted limit, which is the reference as a rule, nothing is gained.
        return 1.0 if at is None else reference_seconds / at.seconds_per_step

    return tuple(speed(watts) for watts in limits)


def _envelope(limits: Sequence[int], speeds: Sequence[float]) -> tuple[float, ...]:
    """Return the upper concave envelope, and nothing falling after its highest point.

    More power never slows a card: where a higher limit was measured slower, that is noise.
    """
    hull: list[tuple[int, float]] = []
    best = -math.inf
    for watts, speed in zip(limits, speeds, strict=True):
        best = max(best, speed)
        while len(hull) > 1 and _bends_up(hull[-2], hull[-1], (watts, best)):
            hull.pop()
        hull.append((watts, best))
    worths = [hull[0][1]]
    for (low, low_worth), (high, high_worth) in pairwise(hull):
        inside = [watts for watts in limits if low < watts <= high]
        worths += [
            low_worth + (high_worth - low_worth) * (watts - low) / (high - low) for watts in inside
        ]
    return tuple(worths)


def _bends_up(left: tuple[int, float], middle: tuple[int, float], right: tuple[int, float]) -> bool:
    return (middle[1] - left[1]) * (right[0] - left[0]) <= (right[1] - left[1]) * (
        middle[0] - left[0]
    )
