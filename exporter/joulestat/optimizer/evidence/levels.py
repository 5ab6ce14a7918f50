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
class _Model:
    log_weight: float
    levels: Vector
    cov: Vector
    variance: float
    drift: float


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
        at_seconds: Its middle.

    Source:
        Restricted likelihood: H. D. Patterson and R. Thompson, Biometrika 58 (1971).
    """
    n_blocks, n_limits = design.shape
    freedom = n_blocks - n_limits
    usual = max(0, TRUSTED_FREEDOM - freedom)
    apart = np.abs(at_seconds[:, None] - at_seconds[None, :])
    span = max(float(apart.max()), 1.0)
    root = np.sqrt(steps)
    found: list[list[_Model]] = [[] for _ in range(logs.shape[1])]
    for memory in (share * span for share in DRIFT_SPANS):
        # In units of the noise the covariance is 1 + r * K: one decomposition of K serves all r.
        shape, basis = np.linalg.eigh(np.exp(-apart / memory) * root[:, None] * root[None, :])
        turned_design = basis.T @ (design * root[:, None])
        turned_logs = basis.T @ (logs * root[:, None])
        for ratio in (0.0, *(DRIFT_RATIOS if freedom >= TRUSTED_FREEDOM else ())):
            drift = ratio / float(np.median(steps))
            spread = 1.0 + drift * np.maximum(shape, 0.0)
            inverse = np.linalg.inv(turned_design.T @ (turned_design / spread[:, None]))
            levels = inverse @ (turned_design.T @ (turned_logs / spread[:, None]))
            residuals = np.sum(
                (turned_logs - turned_design @ levels) ** 2 / spread[:, None], axis=0
            )
            penalty = float(np.sum(np.log(spread))) - float(np.linalg.slogdet(inverse)[1])
            prior = NO_DRIFT_PRIOR if ratio == 0.0 else (1 - NO_DRIFT_PRIOR) / len(DRIFT_RATIOS)
            for models, column, residual in zip(found, levels.T, residuals, strict=True):
                variance = (float(residual) + usual * USUAL_STEP_SCATTER**2) / (freedom + usual)
                variance = max(variance, LEAST_SCATTER**2)
                log_weight = math.log(prior) - 0.5 * (
                    penalty + (freedom + usual) * math.log(variance)
                )
                models.append(_Model(log_weight, column, variance * inverse, variance, drift))
    return [_averaged(models, freedom + usual) for models in found]


def _averaged(models: Sequence[_Model], freedom: int) -> Fit:
    """Average levels over models; their disagreement is part of the error."""
    best = max(model.log_weight for model in models)
    weights = np.array([math.exp(model.log_weight - best) for model in models])
    weights /= weights.sum()
    each = np.array([model.levels for model in models])
    levels = weights @ each
    off = each - levels
    cov = np.tensordot(weights, np.array([model.cov for model in models]), axes=1)
    cov += (off * weights[:, None]).T @ off
    variances = np.array([model.variance for model in models])
    drifts = np.array([model.drift for model in models])
    # A variance that is itself estimated from few blocks: Student's t has wider shoulders.
    widened = freedom / (freedom - 2)
    return Fit(
        levels,
        cov * widened,
        math.sqrt(float(weights @ variances)),
        math.sqrt(float(weights @ (variances * drifts))),
    )
