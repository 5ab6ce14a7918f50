"""Which limit is best, as far as is known."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulestat.optimizer.evidence.levels import Vector
from joulestat.optimizer.evidence.posterior import Posterior
from joulestat.optimizer.search.objective import Objective, Reference

CONFIDENCE_ERRORS = 1.0
"""A bound is kept if it is kept even one standard error worse: four cases in five, and most of
the others by less than one per cent."""
TIE_RATIO = 0.003
"""Limits are equal within their error, but never if they are further apart than this: a wide
error is a reason to look again, not to give energy away."""
OUTSIDE_COST_FACTOR = 3.0
"""What being outside the bounds costs: so many times the excess. Whoever set a bound minds."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """All limits under one objective, as far as is known; shapes (g,) as the posterior's limits.

    Attributes:
        posterior: What may be true.
        values: Samples of the objective's value, shape (samples, g).
        excess: ln of how far a limit is above the bounds, 0 or less where it keeps them;
            samples of shape (samples, g).
        reference: Position of the reference limit.
        best: Position of the best limit that may be held now: the reference, whether it keeps
            the bounds or not, if none does.
        allowed: Whether a limit keeps the bounds with the confidence wanted.
        may_hold: Whether there is evidence enough to hold it.
    """

    posterior: Posterior
    values: Vector
    excess: Vector
    reference: int
    best: int
    allowed: NDArray[np.bool_]
    may_hold: NDArray[np.bool_]

    def watts(self, position: int) -> int:
        """Return a limit by position."""
        return self.posterior.limits_watts[position]


def look(
    posterior: Posterior, objective: Objective, reference: Reference, may_hold: set[int]
) -> Outlook:
    """Rank all limits.

    Args:
        posterior: What may be true, the reference limit included.
        objective: What is sought.
        reference: The run before any lease.
        may_hold: Limits with evidence enough to be held.
    """
    base = posterior.index(reference.power_limit_watts)
    values = np.asarray(objective.value(posterior.joules, posterior.seconds, reference))
    excess = _excess(posterior, objective, reference, base)
    allowed = excess.mean(axis=0) + CONFIDENCE_ERRORS * excess.std(axis=0) <= 0.0
    held = np.array([watts in may_hold for watts in posterior.limits_watts])
    held[base] = True
    # Whoever set the reference limit had a reason: it stays where nothing keeps the bounds.
    best = _best(values, allowed & held) if np.any(allowed & held) else base
    return Outlook(posterior, values, excess, base, best, allowed, held)


def _excess(posterior: Posterior, objective: Objective, reference: Reference, base: int) -> Vector:
    """Return ln of time, or energy, over what is allowed, sample by sample.

    A slowdown is relative to the reference of the same sample: what the two share cancels out.
    """
    excess = np.full(posterior.seconds.shape, -np.inf)
    most_seconds = objective.most_seconds(reference)
    if most_seconds is not None:
        ratio = most_seconds / reference.seconds_per_step
        excess = np.log(posterior.seconds / posterior.seconds[:, base : base + 1] / ratio)
    most_joules = objective.most_joules(reference)
    if most_joules is not None:
        ratio = most_joules / reference.joules_per_step
        over = np.log(posterior.joules / posterior.joules[:, base : base + 1] / max(ratio, 1e-9))
        excess = np.maximum(excess, over)
    return np.where(np.isfinite(excess), excess, -1.0)


def _best(values: Vector, candidates: NDArray[np.bool_]) -> int:
    """Return the best candidate; of those equal within their error the highest.

    The higher limit is the faster one, and what cannot be told apart is not worth a lower clock.
    """
    means = np.where(candidates, values.mean(axis=0), np.inf)
    lowest = int(np.argmin(means))
    differences = values - values[:, lowest : lowest + 1]
    errors = np.minimum(differences.std(axis=0), TIE_RATIO * means[lowest])
    ties = np.flatnonzero(candidates & (differences.mean(axis=0) <= errors))
    return int(max(ties, default=lowest))
