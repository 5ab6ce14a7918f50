"""Time and power at each limit with the errors of their differences, drift taken into account.

Blocks of one run are not independent: temperature, data and neighbours make its pace wander.
Errors from scatter alone then promise far too much ("95 %" intervals held the truth in 28 % of
cases, with a drift of 2 % over ten minutes). Comparing a stay at one limit with its neighbours
before and after (A-B-A) takes the drift out. This is what generalised least squares does of its
own accord for any order of visits, once the drift is part of the model:

    ln y(t) = level of the limit + drift(t) + noise / sqrt(steps)

with drift an Ornstein-Uhlenbeck process. How strong and how slow it is follows from the blocks
themselves (restricted likelihood), averaged over what they leave open.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulestat.optimizer.evidence.blocks import Block

Vector = NDArray[np.float64]

DRIFT_RATIOS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Variance of the drift beside that of the noise of a middling block."""
DRIFT_SPANS = (0.02, 0.06, 0.2, 0.6)
"""How long the drift remembers, beside the whole time looked at."""
NO_DRIFT_PRIOR = 0.5

USUAL_STEP_SCATTER = 0.063
"""Relative scatter of one step where there are too few blocks to see it: 1 % per 40 steps."""
TRUSTED_FREEDOM = 6
"""Fewer degrees of freedom than this are filled up with the usual scatter."""
LEAST_SCATTER = 1e-6


@dataclass(frozen=True, slots=True)
class Levels:
    """What was measured: natural logarithms per limit, and how uncertain they are together.

    Attributes:
        limits_watts: The limits with at least one block, lowest first; shape (n,).
        log_seconds: ln of seconds per step, shape (n,).
        log_watts: ln of the run's mean power in W, shape (n,).
        cov_seconds: Covariance of ``log_seconds``, shape (n, n). The error of a difference is
            much smaller than those of its two sides where they share their drift.
        cov_watts: Covariance of ``log_watts``, shape (n, n).
        step_scatter_seconds: Standard deviation of ln seconds of one step, drift apart.
        step_scatter_watts: The same of ln W.
        drift_seconds: Standard deviation of the drift of ln seconds.
        steps: Steps behind each limit, shape (n,).
    """

    limits_watts: tuple[int, ...]
    log_seconds: Vector
    log_watts: Vector
    cov_seconds: Vector
    cov_watts: Vector
    step_scatter_seconds: float
    step_scatter_watts: float
    drift_seconds: float
    steps: Vector

    def index(self, power_limit_watts: int) -> int | None:
        """Return where a limit stands, None where it was not measured."""
        try:
            return self.limits_watts.index(power_limit_watts)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Fit:
    """One quantity fitted.

    Attributes:
        levels: Of each column of the design, ln.
        cov: Their covariance.
        scatter: Standard deviation of one step, drift apart.
        drift: Standard deviation of the drift.
    """

    levels: Vector
    cov: Vector
    scatter: float
    drift: float


def measure(blocks: Sequence[Block]) -> Levels:
    """Return levels of time and power for every limit that has a block.

    Args:
        blocks: In time order, at least one.
    """
    limits, design = columns(blocks)
    steps = np.array([block.steps for block in blocks])
    seconds = np.array([block.seconds_per_step for block in blocks])
    joules = np.array([block.joules_per_step for block in blocks])
    middle = np.array([(block.start_seconds + block.end_seconds) / 2 for block in blocks])
    time, power = fit(
        np.stack([np.log(seconds), np.log(joules / seconds)], axis=1), design, steps, middle
    )
    return Levels(
        limits_watts=limits,
        log_seconds=time.levels,
        log_watts=power.levels,
        cov_seconds=time.cov,
        cov_watts=power.cov,
        step_scatter_seconds=time.scatter,
        step_scatter_watts=power.scatter,
        drift_seconds=time.drift,
        steps=design.T @ steps,
    )


def columns(blocks: Sequence[Block]) -> tuple[tuple[int, ...], Vector]:
    """Return all limits, lowest first, and which block is at which, shape (blocks, limits)."""
    limits = tuple(sorted({block.power_limit_watts for block in blocks}))
    column = {limit: index for index, limit in enumerate(limits)}
    design = np.zeros((len(blocks), len(limits)))
    for row, block in enumerate(blocks):
        design[row, column[block.power_limit_watts]] = 1.0
    return limits, design


def fit(logs: Vector, design: Vector, steps: Vector, at_seconds: Vector) -> list[Fit]:
    """Average generalised least squares over all drifts that the blocks leave possible.

    Args:
        logs: Logarithms to explain, shape (blocks, quantities).
        design: Which block is at which limit, shape (blocks, limits).
        steps: Weight of each block.
        at_seconds: Its middle, in time order.

    Source:
        Restricted likelihood: H. D. Patterson and R. Thompson, Biometrika 58 (1971).
    """
    n_blocks, n_limits = design.shape
    freedom = n_blocks - n_limits
    usual = max(0, TRUSTED_FREEDOM - freedom)
    priors, drifts, memories = _drifts(steps, at_seconds, seen=freedom >= TRUSTED_FREEDOM)
    white, log_determinants = _whitened(
        np.concatenate([design, logs], axis=1), steps, at_seconds, drifts, memories
    )
    white_design, white_logs = white[:, :, :n_limits], white[:, :, n_limits:]
    turned = white_design.transpose(0, 2, 1)
    inverses = np.asarray(np.linalg.inv(turned @ white_design), dtype=np.float64)
    levels = inverses @ (turned @ white_logs)
    residuals = np.sum((white_logs - white_design @ levels) ** 2, axis=1)
    variances = np.maximum(
        (residuals + usual * USUAL_STEP_SCATTER**2) / (freedom + usual), LEAST_SCATTER**2
    )
    penalties = log_determinants - np.linalg.slogdet(inverses)[1]
    log_weights = np.log(priors)[:, None] - 0.5 * (
        penalties[:, None] + (freedom + usual) * np.log(variances)
    )
    return [
        _averaged(log_weights[:, q], levels[:, :, q], inverses, variances[:, q], drifts, freedom)
        for q in range(logs.shape[1])
    ]


def _drifts(steps: Vector, at_seconds: Vector, *, seen: bool) -> tuple[Vector, Vector, Vector]:
    """Return all drifts thought of: how likely, their variance in units of the noise, memory.

    Where there are too few blocks to have ``seen`` one, none is thought of.
    """
    none = (np.ones(1), np.zeros(1), np.ones(1))
    if not seen:
        return none
    span = max(float(at_seconds[-1] - at_seconds[0]), 1.0)
    ratios, shares = np.meshgrid(DRIFT_RATIOS, DRIFT_SPANS)
    each = np.full(ratios.size, (1 - NO_DRIFT_PRIOR) / ratios.size)
    return (
        np.concatenate([[NO_DRIFT_PRIOR], each]),
        np.concatenate([[0.0], ratios.ravel() / float(np.median(steps))]),
        np.concatenate([[span], shares.ravel() * span]),
    )


def _whitened(
    columns: Vector, steps: Vector, at_seconds: Vector, drifts: Vector, memories: Vector
) -> tuple[Vector, Vector]:
    """Return what each block says beyond the blocks before it, in units of what it may say.

    The drift remembers only where it last was, so a Kalman filter does in one pass what would
    take a decomposition of the whole covariance for every memory.

    Args:
        columns: Shape (blocks, columns).
        steps: The noise of a block has variance 1 / steps.
        at_seconds: Middle of each block, in time order.
        drifts: Variance of each drift, shape (drifts,).
        memories: How long each remembers, s.

    Returns:
        The columns, independent and of unit variance, shape (drifts, blocks, columns), and ln of
        the determinant of each covariance, shape (drifts,).

    Source:
        Innovations form: A. C. Harvey, Forecasting, Structural Time Series Models and the Kalman
        Filter (1989), section 3.4.
    """
    white = np.empty((len(drifts), *columns.shape))
    log_determinants = np.zeros(len(drifts))
    state = np.zeros((len(drifts), columns.shape[1]))
    unknown = drifts
    apart = np.maximum(np.diff(at_seconds, prepend=at_seconds[0]), 0.0)
    kept = np.exp(-apart[:, None] / memories)
    for block, (column, noise) in enumerate(zip(columns, 1.0 / steps, strict=True)):
        unknown = kept[block] ** 2 * (unknown - drifts) + drifts
        state *= kept[block][:, None]
        variance = unknown + noise
        news = column - state
        white[:, block] = news / np.sqrt(variance)[:, None]
        log_determinants += np.log(variance)
        gain = unknown / variance
        state += gain[:, None] * news
        unknown = unknown * (1.0 - gain)
    return white, log_determinants


def _averaged(
    log_weights: Vector,
    each: Vector,
    inverses: Vector,
    variances: Vector,
    drifts: Vector,
    freedom: int,
) -> Fit:
    """Average levels over drifts; their disagreement is part of the error."""
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    levels = weights @ each
    off = each - levels
    cov = np.tensordot(weights * variances, inverses, axes=1)
    cov += (off * weights[:, None]).T @ off
    # A variance that is itself estimated from few blocks: Student's t has wider shoulders.
    freedom = max(freedom, TRUSTED_FREEDOM)
    return Fit(
        levels,
        cov * freedom / (freedom - 2),
        math.sqrt(float(weights @ variances)),
        math.sqrt(float(weights @ (variances * drifts))),
    )
