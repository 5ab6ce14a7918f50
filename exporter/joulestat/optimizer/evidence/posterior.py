"""What time and power may be at every limit, measured or not, given what was measured.

Between measured limits: monotone cubics in log-log space. On 217 measured training set-ups they
beat every richer model tried, a Gaussian process and a physical saturation curve among them. How
far such a cubic may be off is part of the error, so that a gap is worth a probe. Below the lowest
measured limit nothing is ever held: there the slope of the last two points only says whether a
look may pay.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.special import ndtri
from scipy.stats import qmc

from joulestat.optimizer.evidence.levels import Levels, Vector

N_SAMPLES = 128
MAX_SAMPLED_LIMITS = 24

GAP_SECONDS = 0.04
GAP_WATTS = 0.03
"""How far a cubic is off in the middle of a gap (standard deviation of ln, per ln of the gap's
width): measured by leaving out limits of 96 traced set-ups."""
BELOW_SECONDS = 0.15
BELOW_WATTS = 0.05
"""The same for a straight line going on below the lowest measured limit, per ln of distance."""
STEEPER_BELOW = 1.3
"""Time rises faster and faster towards low limits."""
BELIEVABLE = 1.5
"""Time that rises, or power that falls, with the limit is taken for noise up to so many errors."""


@dataclass(frozen=True, slots=True)
class Posterior:
    """Samples of what may be true, all limits of one sample belonging together.

    Attributes:
        limits_watts: Limits, lowest first; shape (g,).
        seconds: Seconds per step, shape (samples, g).
        joules: Joules per step, all devices of the run, shape (samples, g).
        measured: Whether a limit was measured, if only briefly; shape (g,).
        lowest_measured: Position of the lowest measured limit.
    """

    limits_watts: tuple[int, ...]
    seconds: Vector
    joules: Vector
    measured: NDArray[np.bool_]
    lowest_measured: int

    def index(self, power_limit_watts: int) -> int:
        """Return where a limit stands.

        Raises:
            ValueError: It is none of them.
        """
        return self.limits_watts.index(power_limit_watts)


def believe(levels: Levels, limits_watts: Sequence[int]) -> Posterior:
    """Return what may be true at the measured limits and at further ones.

    The same evidence gives the same samples: a decision can be repeated.

    Args:
        levels: What was measured, one limit at least.
        limits_watts: Further limits, none above the highest measured.

    Source:
        Monotone cubic: F. N. Fritsch and J. Butland, SIAM J. Sci. Comput. 5 (1984).
    """
    known = np.array(levels.limits_watts)
    grid = np.array(sorted({*levels.limits_watts, *limits_watts}))
    grid = grid[grid <= known[-1]]
    normal = evenly_spread_normals(2 * min(len(known), MAX_SAMPLED_LIMITS) + 4, N_SAMPLES)
    half = min(len(known), MAX_SAMPLED_LIMITS)
    log_seconds = _drawn(levels.log_seconds, levels.cov_seconds, normal[:, :half])
    log_watts = _drawn(levels.log_watts, levels.cov_watts, normal[:, half : 2 * half])
    log_seconds = -_monotone(-log_seconds, -levels.log_seconds, levels.cov_seconds)
    log_watts = _monotone(log_watts, levels.log_watts, levels.cov_watts)
    extra = normal[:, 2 * half :]
    seconds = _spread(known, log_seconds, grid, extra[:, :2], (GAP_SECONDS, BELOW_SECONDS))
    watts = _spread(known, log_watts, grid, extra[:, 2:], (GAP_WATTS, BELOW_WATTS))
    return Posterior(
        limits_watts=tuple(int(limit) for limit in grid),
        seconds=np.exp(seconds),
        joules=np.exp(seconds + watts),
        measured=np.isin(grid, known),
        lowest_measured=int(np.searchsorted(grid, known[0])),
    )


@cache
def evenly_spread_normals(dimensions: int, count: int) -> Vector:
    """Return standard normal samples, always the same; shape (count, dimensions).

    Args:
        dimensions: How many numbers each sample has.
        count: A power of two: Sobol points then cover the space evenly.
    """
    points = qmc.Sobol(dimensions, scramble=True, rng=20).random(count)
    samples = np.asarray(ndtri(np.clip(points, 1e-6, 1 - 1e-6)))
    samples.setflags(write=False)
    return samples


def _drawn(means: Vector, cov: Vector, normal: Vector) -> Vector:
    if len(means) > normal.shape[1]:
        normal = np.resize(normal, (normal.shape[0], len(means)))
    values, vectors = np.linalg.eigh(cov)
    drawn = means + normal @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
    return np.asarray(drawn)


def _monotone(samples: Vector, means: Vector, cov: Vector) -> Vector:
    """Make every sample rise with the limit, where noise explains that the means do not.

    A lower limit makes no card faster, and none draw more: of a sample that says so the closest
    one is taken that does not. Where the evidence against it is too strong, it is believed.
    """
    errors = np.sqrt(np.maximum(np.diag(cov), 0.0))
    weights = 1.0 / np.maximum(errors, 1e-9) ** 2
    if np.any(np.abs(_rising(means[None, :], weights)[0] - means) > BELIEVABLE * errors + 1e-12):
        return samples
    return _rising(samples, weights)


def _rising(values: Vector, weights: Vector) -> Vector:
    """Return the closest rows that never fall: the weighted isotonic regression, in closed form.

    Source:
        Max-min formula: T. Robertson, F. T. Wright and R. L. Dykstra, Order Restricted
        Statistical Inference (1988), section 1.4.
    """
    n = values.shape[1]
    total = np.concatenate([[0.0], np.cumsum(weights)])
    summed = np.concatenate(
        [np.zeros((len(values), 1)), np.cumsum(values * weights, axis=1)], axis=1
    )
    result = np.full_like(values, -np.inf)
    for first in range(n):
        means = (summed[:, first + 1 :] - summed[:, first : first + 1]) / (
            total[first + 1 :] - total[first]
        )
        least = np.minimum.accumulate(means[:, ::-1], axis=1)[:, ::-1]
        result[:, first:] = np.maximum(result[:, first:], least)
    return result


def _spread(
    known: NDArray[np.int_],
    logs: Vector,
    grid: NDArray[np.int_],
    normal: Vector,
    off: tuple[float, float],
) -> Vector:
    """Carry samples at measured limits to all limits, with what lies between unknown."""
    gap_off, below_off = off
    log_known, log_grid = np.log(known), np.log(grid)
    if len(known) == 1:
        return np.asarray(logs + below_off * np.abs(log_grid - log_known[0]) * normal[:, :1])
    inside = log_grid >= log_known[0]
    result = np.empty((len(logs), len(grid)))
    result[:, inside] = PchipInterpolator(log_known, logs, axis=1)(log_grid[inside])
    right = np.clip(np.searchsorted(log_known, log_grid[inside]), 1, len(log_known) - 1)
    width = log_known[right] - log_known[right - 1]
    place = (log_grid[inside] - log_known[right - 1]) / width
    # Neighbouring gaps may be off in different directions.
    signs = np.where(right % 2 == 0, 1.0, -1.0)
    result[:, inside] += gap_off * width * 4 * place * (1 - place) * signs * normal[:, :1]
    below = log_known[0] - log_grid[~inside]
    slope = (logs[:, :1] - logs[:, 1:2]) / (log_known[1] - log_known[0])
    steeper = STEEPER_BELOW if below_off == BELOW_SECONDS else 1.0
    result[:, ~inside] = logs[:, :1] + below * (steeper * slope + below_off * normal[:, 1:2])
    return np.asarray(result)
