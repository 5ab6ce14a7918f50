"""A run with a measured reference, and what is asked about it: what the search starts from."""

import math
from dataclasses import dataclass

import numpy as np

from joulestat.domain.plan import OperatingPoint
from joulestat.domain.units import same_limit
from joulestat.optimizer.evidence.levels import Levels
from joulestat.optimizer.evidence.profile import Minimum, Profile
from joulestat.optimizer.history.facts import RunHistory
from joulestat.optimizer.search.effect import Change, change_of
from joulestat.optimizer.search.explore import Site
from joulestat.optimizer.search.objective import Objective, Reference

LEAST_WINDOWS_LEFT = 50
"""A run that does not say how many steps it plans is expected to go on for so many looks, at
least: by default for 100 minutes."""


@dataclass(frozen=True, slots=True)
class Case:
    """A run with a measured reference, and what is asked about it.

    Attributes:
        history: What is remembered of the run.
        profile: The operating points in it.
        objective: What "best" means.
        minimum: The least evidence that counts as a measurement.
        reference: The run before any lease.
        levels: What was measured, up to the reference limit.
        explore: Whether limits may be tried only to measure them.
        hint_watts: Where earlier runs of the same job had their best; None where unknown.
    """

    history: RunHistory
    profile: Profile
    objective: Objective
    minimum: Minimum
    reference: Reference
    levels: Levels
    explore: bool
    hint_watts: int | None

    @property
    def change(self) -> Change | None:
        """Return what the lowest limit measured changes; None where none below was measured."""
        return change_of(self.levels, self.reference)

    @property
    def min_watts(self) -> float | None:
        """Return the lowest limit that a lease may hold; None where unknown."""
        return self.history.limits.min_watts

    @property
    def max_watts(self) -> float:
        """Return the highest limit that a lease may hold; infinity where unknown."""
        most_watts = self.history.limits.max_watts
        return math.inf if most_watts is None else most_watts

    def may_hold(self) -> set[int]:
        """Return what has evidence enough to be held, and may be."""
        enough = {point.power_limit_watts for point in self.profile.points}
        return {
            watts
            for watts in enough & set(self.levels.limits_watts)
            # The reference comes back without a lease.
            if watts == self.reference.power_limit_watts or self.may_ask_for(watts)
        }

    def may_ask_for(self, watts: int) -> bool:
        """Tell whether the host's policy lets a lease hold a limit."""
        limits = self.history.limits
        return not limits.cut_by_policy or (limits.min_watts or 0.0) <= watts <= self.max_watts


def reference_of(history: RunHistory, point: OperatingPoint) -> Reference:
    """Return the run as it was before any lease, measured as a point tells, and what is left."""
    steps_left = joules_left = None
    if history.planned_steps is not None and history.steps_done is not None:
        steps_left = max(0.0, history.planned_steps - history.steps_done)
    if history.energy_budget_joules is not None and history.joules_spent is not None:
        joules_left = history.energy_budget_joules - history.joules_spent
        if steps_left:
            joules_left -= steps_left * other_joules_per_step(history)
    n_gpus = len(history.gpu_uuids)
    return Reference(
        power_limit_watts=point.power_limit_watts,
        joules_per_step=point.joules_per_step,
        seconds_per_step=point.seconds_per_step,
        total_limit_watts=float((history.limits.reference_watts or 0) * n_gpus),
        n_gpus=n_gpus,
        now_seconds=history.window.end_seconds if history.window else 0.0,
        steps_left=steps_left,
        joules_left=joules_left,
        tariff=history.tariff,
    )


def other_joules_per_step(history: RunHistory) -> float:
    """Return what evaluations and checkpoints took so far, per training step."""
    if not history.steps_done or history.other_joules_spent is None:
        return 0.0
    return history.other_joules_spent / history.steps_done


def reference_point(profile: Profile, reference_watts: int) -> OperatingPoint | None:
    """Return the point measured at the reference limit or so; the best known, if several are."""
    near = [p for p in profile.points if same_limit(p.power_limit_watts, reference_watts)]
    return max(near, key=lambda point: point.steps, default=None)


def site_of(case: Case, min_watts: float) -> Site:
    """Return what the search has to know of the run beside what was measured."""
    limits, reference = case.history.limits, case.reference
    window_steps = max(float(case.minimum.steps), case.minimum.seconds / reference.seconds_per_step)
    measured_steps = float(np.sum(case.levels.steps))
    steps_done = max(measured_steps, case.history.steps_done or 0.0)
    # A run that says nothing is expected to last as long again as it has lasted.
    expected = max(steps_done, LEAST_WINDOWS_LEFT * window_steps)
    steps_left = expected if reference.steps_left is None else reference.steps_left
    current = limits.current_watts if limits.leased else None
    return Site(
        min_watts=min_watts,
        max_watts=case.max_watts,
        current_watts=current,
        window_steps=window_steps,
        visit_steps=0.0 if current is None else case.profile.visit_steps(current),
        steps_left=steps_left,
        steps_done=steps_done,
        tried_watts=frozenset(case.levels.limits_watts) - {reference.power_limit_watts},
        hint_watts=case.hint_watts,
        known_watts=frozenset(point.power_limit_watts for point in case.profile.points),
        in_force_watts=limits.current_watts,
        left_watts=case.profile.left_watts(window_steps, limits.current_watts),
    )
