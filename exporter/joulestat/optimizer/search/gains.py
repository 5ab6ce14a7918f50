"""How much another look is expected to gain, at a measured limit, a new one or the reference.

A look tells of other limits, too: one at the reference of every slowdown, one between two
measured limits of the curve around it. So what is worth looking at is what would change the
decision, and not what is least known.
"""

from functools import cache

import numpy as np

from joulestat.optimizer.evidence.levels import Levels, Vector
from joulestat.optimizer.evidence.posterior import evenly_spread_normals
from joulestat.optimizer.search.outlook import CONFIDENCE_ERRORS, OUTSIDE_COST_FACTOR, Outlook

N_OUTCOMES = 16
"""Outcomes of a look that are thought through, and as many mirrored ones."""


def gains(outlook: Outlook, levels: Levels, window_steps: Vector) -> Vector:
    """Return what a look at each limit is expected to gain per step, in the objective's unit.

    The gain is that of deciding anew afterwards, over what would be held now. A look that is too
    short to tell, or that can change nothing, gains nothing; so when nothing gains more than its
    own error lets it, the search is over.

    Args:
        outlook: What is known.
        levels: The noise of steps.
        window_steps: How many steps the look at each limit has, shape (g,).

    Source:
        Knowledge gradient for correlated beliefs: P. I. Frazier, W. B. Powell and S. Dayanik,
        INFORMS Journal on Computing 21 (2009).
    """
    log_seconds = np.log(outlook.posterior.seconds)
    log_watts = np.log(outlook.posterior.joules) - log_seconds
    looks = [
        _look(log_seconds, levels.step_scatter_seconds, window_steps),
        _look(log_watts, levels.step_scatter_watts, window_steps),
    ]
    outcomes = _outcomes()
    values, _ = _moved(outlook.values, looks, outcomes)
    excess, left = _moved(outlook.excess, looks, outcomes)
    # A limit may be held afterwards if it may be now, or if it was looked at.
    may_hold = outlook.may_hold[None, :] | np.eye(len(outlook.may_hold), dtype=bool)
    allowed = (excess + CONFIDENCE_ERRORS * left <= 0.0) & may_hold
    best = np.where(allowed, values, np.inf).min(axis=2)
    base = _with_penalty(values, excess, outlook.reference)
    best = np.where(np.isfinite(best), best, base)
    held = _with_penalty(values, excess, outlook.best)
    return np.asarray(np.maximum(held - best, 0.0).mean(axis=0))


def _with_penalty(values: Vector, excess: Vector, position: int) -> Vector:
    """Return what holding a limit costs, what it is outside the bounds included."""
    outside = np.maximum(excess[:, :, position], 0.0)
    return np.asarray(values[:, :, position] * np.exp(OUTSIDE_COST_FACTOR * outside))


def _look(logs: Vector, step_scatter: float, window_steps: Vector) -> Vector:
    """Return by how much each sample moves the outcome of a look at each limit, shape (s, g).

    In standard deviations of that outcome, its noise included, so that the covariance with
    whatever is sought is what the look tells of it.
    """
    away = logs - logs.mean(axis=0)
    deviation = np.sqrt(away.var(axis=0) + step_scatter**2 / window_steps + 1e-300)
    return np.asarray(away / deviation)


def _moved(sought: Vector, looks: list[Vector], outcomes: Vector) -> tuple[Vector, Vector]:
    """Return what is sought after each outcome of each look, and how uncertain it is then.

    Returns:
        Means, shape (outcomes, looks, g), and standard deviations, shape (looks, g).
    """
    mean = sought.mean(axis=0)
    away = (sought - mean) / len(sought)
    shifts = [look.T @ away for look in looks]
    means = mean + sum(
        outcomes[:, number, None, None] * shift for number, shift in enumerate(shifts)
    )
    left = sought.var(axis=0) - sum(shift**2 for shift in shifts)
    return np.asarray(means), np.sqrt(np.maximum(left, 0.0))


@cache
def _outcomes() -> Vector:
    """Return outcomes of time and power in standard deviations; their mean is exactly 0."""
    normals = evenly_spread_normals(2, N_OUTCOMES)
    return np.concatenate([normals, -normals])
