"""Reads a run's fitted curve between its points."""

import math
from bisect import bisect_left
from collections.abc import Sequence

from joulestat.domain.plan import FittedPoint


def curve_at(curve: Sequence[FittedPoint], power_limit_watts: int) -> FittedPoint | None:
    """Return a fitted curve at a limit, interpolated in log-log between its points.

    Args:
        curve: At different limits, lowest first.
        power_limit_watts: Per GPU.

    Returns:
        None below the lowest and above the highest point, and without any: a curve is never
        drawn on. Errors are those of the nearer point, in relation.
    """
    limits = [point.power_limit_watts for point in curve]
    right = bisect_left(limits, power_limit_watts)
    if right == len(limits) or (right == 0 and limits[0] != power_limit_watts):
        return None
    above = curve[right]
    if above.power_limit_watts == power_limit_watts:
        return above
    below = curve[right - 1]
    span = math.log(above.power_limit_watts / below.power_limit_watts)
    share = math.log(power_limit_watts / below.power_limit_watts) / span
    joules = below.joules_per_step * (above.joules_per_step / below.joules_per_step) ** share
    seconds = below.seconds_per_step * (above.seconds_per_step / below.seconds_per_step) ** share
    nearest = above if share > 0.5 else below
    return FittedPoint(
        power_limit_watts,
        joules,
        seconds,
        joules * nearest.joules_per_step_stderr / nearest.joules_per_step,
        seconds * nearest.seconds_per_step_stderr / nearest.seconds_per_step,
    )
