"""Energy and time per step between measured limits: monotone cubics in log-log space.

On 217 measured training set-ups this beat every richer model tried, a Gaussian process and a
physical saturation curve among them. What did worst, by far, was looking below the lowest
measured limit, so this curve has no value there.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.interpolate import PchipInterpolator

from joulestat.domain.plan import OperatingPoint

UNKNOWN_STDERR_RATIO = 0.01
"""Relative error taken where a point rests on too few slices to tell its own: 1 %, the scatter
of 40-step windows."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Energy and time per step at one limit, measured or between measured ones.

    Attributes:
        power_limit_watts: Per-GPU limit, whole W.
        joules_per_step: Energy, all devices of the run.
        seconds_per_step: Wall time.
        joules_stderr: Standard error of the energy, J.
        seconds_stderr: Standard error of the time, s.
    """

    power_limit_watts: int
    joules_per_step: float
    seconds_per_step: float
    joules_stderr: float
    seconds_stderr: float


def as_estimate(point: OperatingPoint) -> Estimate:
    """Return a measured point with an error in any case."""
    joules_stderr = point.joules_per_step_stderr
    seconds_stderr = point.seconds_per_step_stderr
    return Estimate(
        point.power_limit_watts,
        point.joules_per_step,
        point.seconds_per_step,
        UNKNOWN_STDERR_RATIO * point.joules_per_step if joules_stderr is None else joules_stderr,
        UNKNOWN_STDERR_RATIO * point.seconds_per_step if seconds_stderr is None else seconds_stderr,
    )


class Curve:
    """A run's energy and time per step from its lowest to its highest measured limit."""

    def __init__(self, measured: Sequence[Estimate]) -> None:
        """Fit. Goes through every point.

        Args:
            measured: Two points or more, at different limits, in any order.

        Source:
            Monotone piecewise cubic: F. N. Fritsch and J. Butland, SIAM J. Sci. Comput. 5 (1984).
        """
        self._points = sorted(measured, key=lambda point: point.power_limit_watts)
        self._logs = [math.log(point.power_limit_watts) for point in self._points]
        self._energy = PchipInterpolator(
            self._logs, [math.log(point.joules_per_step) for point in self._points]
        )
        self._time = PchipInterpolator(
            self._logs, [math.log(point.seconds_per_step) for point in self._points]
        )

    def at(self, power_limit_watts: int) -> Estimate | None:
        """Return the estimate at a limit; None below the lowest and above the highest measured.

        Its errors are, in relation, those of the nearest measured point: what the cubic itself
        is off is not in them, because nothing is held that was not measured.
        """
        if not (
            self._points[0].power_limit_watts
            <= power_limit_watts
            <= self._points[-1].power_limit_watts
        ):
            return None
        log_limit = math.log(power_limit_watts)
        nearest = self._nearest(log_limit)
        if nearest.power_limit_watts == power_limit_watts:
            return nearest
        joules = math.exp(float(self._energy(log_limit)))
        seconds = math.exp(float(self._time(log_limit)))
        return Estimate(
            power_limit_watts,
            joules,
            seconds,
            joules * nearest.joules_stderr / nearest.joules_per_step,
            seconds * nearest.seconds_stderr / nearest.seconds_per_step,
        )

    def _nearest(self, log_limit: float) -> Estimate:
        right = bisect_left(self._logs, log_limit)
        around = range(max(0, right - 1), min(right + 1, len(self._logs)))
        return self._points[min(around, key=lambda index: abs(self._logs[index] - log_limit))]
