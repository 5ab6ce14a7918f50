"""What a run's speed is worth at each power limit: its concave envelope on a grid of limits."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from joulestat.domain.plan import FittedPoint
from joulestat.optimizer.fleet.fitted import curve_at

GRID_WATTS = 5
"""Limits are chosen in steps of this; finer ones are not told apart by any measurement."""

ASSUMED_SPEED_AT_HALF = 0.6
"""Taken where nothing was measured, and a straight line from there to the reference limit.
Measured runs lose less as a rule, so a run that is not known yet is given rather too much."""

STOPPED_RATIO = 0.05
"""Of the speed at the lowest known limit: what a run is taken to keep at the lowest limit of all.
Cards fall off a cliff there (a quarter of the speed for a tenth of the power was measured), and
where it lies is not known; so no run goes there unless the budget cannot be held otherwise."""


@dataclass(frozen=True, slots=True)
class SpeedCurve:
    """Speed over the limits that a run may get, lowest limit first.

    Attributes:
        limits_watts: Per GPU, whole W.
        speeds: Steps per second as a share of those at the reference limit.
        worths: The least concave curve that is nowhere below ``speeds`` and never falls: what a
            division is computed with.
        known_from: Index of the lowest limit at which the speed is known.
        measured: Whether that was measured, and not assumed for want of anything better.
    """

    limits_watts: tuple[int, ...]
    speeds: tuple[float, ...]
    worths: tuple[float, ...]
    known_from: int
    measured: bool

    def index_at_least(self, speed: float) -> int:
        """Return the index from which on no limit is slower; the last one where all are."""
        index = len(self.speeds) - 1
        while index > self.known_from and self.speeds[index - 1] >= speed:
            index -= 1
        return index


def speed_curve(
    fitted: Sequence[FittedPoint],
    min_watts: float,
    reference_watts: int,
    max_watts: float = math.inf,
) -> SpeedCurve:
    """Return a run's speed from the lowest limit that its GPUs accept to its reference limit.

    Args:
        fitted: The fit through the run's measured points; fewer than two at or below the
            reference limit count as none.
        min_watts: Lowest limit that a lease may hold on all the run's GPUs.
        reference_watts: The limit in force before any lease, per GPU.
        max_watts: Highest limit that a lease may hold; above it there is only the reference.
    """
    limits = _grid(min_watts, reference_watts, max_watts)
    inside = sorted(
        (point for point in fitted if point.power_limit_watts <= reference_watts),
        key=lambda point: point.power_limit_watts,
    )
    measured = len(inside) >= 2
    known: Callable[[int], float]
    if measured:
        lowest_watts, known = inside[0].power_limit_watts, partial(_measured, inside)
    else:
        lowest_watts, known = math.ceil(reference_watts / 2), partial(_assumed, reference_watts)
    stopped = STOPPED_RATIO * known(max(lowest_watts, limits[0]))
    speeds = tuple(
        known(watts)
        if watts >= lowest_watts
        else stopped
        + (known(lowest_watts) - stopped) * (watts - limits[0]) / (lowest_watts - limits[0])
        for watts in limits
    )
    known_from = next(i for i, watts in enumerate(limits) if watts >= lowest_watts)
    return SpeedCurve(limits, speeds, _envelope(limits, speeds), known_from, measured)


def _assumed(reference_watts: int, watts: int) -> float:
    return 1.0 - 2.0 * (1.0 - ASSUMED_SPEED_AT_HALF) * (1.0 - watts / reference_watts)


def _measured(fitted: Sequence[FittedPoint], watts: int) -> float:
    at = curve_at(fitted, watts)
    # Above the highest fitted limit, which is the reference as a rule, nothing is gained.
    return 1.0 if at is None else fitted[-1].seconds_per_step / at.seconds_per_step


def _grid(min_watts: float, reference_watts: int, max_watts: float) -> tuple[int, ...]:
    """Return whole watts: the lowest limit, multiples of the grid, and the reference limit."""
    lowest = min(math.ceil(min_watts), reference_watts)
    first = (lowest // GRID_WATTS + 1) * GRID_WATTS
    between = (watts for watts in range(first, reference_watts, GRID_WATTS) if watts <= max_watts)
    return tuple(sorted({lowest, *between, reference_watts}))


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
