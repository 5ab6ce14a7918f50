"""From a run's history to one decision: a pure function, so that it can be repeated later."""

from dataclasses import dataclass, replace

import numpy as np

from joulestat.domain.plan import Action, Decision, Expected, FittedPoint, OperatingPoint
from joulestat.domain.units import same_limit
from joulestat.optimizer.evidence.levels import Levels
from joulestat.optimizer.evidence.profile import REFERENCE_WINDOWS, Minimum, Profile
from joulestat.optimizer.history.facts import RunHistory
from joulestat.optimizer.search.explore import (
    Probe,
    Site,
    first_probe,
    floor_watts,
    has_no_effect,
    next_probe,
    outlook_of,
)
from joulestat.optimizer.search.fit import expected_at, expected_of, fitted_curve
from joulestat.optimizer.search.objective import Objective, Reference
from joulestat.optimizer.search.outlook import Outlook
from joulestat.optimizer.search.refusals import obstacle
from joulestat.optimizer.search.wording import (
    evidence_so_far,
    hold_reason,
    numbers,
    why_only_reference,
    with_change,
)

LEAST_WINDOWS_LEFT = 50
"""A run that does not say how many steps it plans is expected to go on for so many looks, at
least: by default for 100 minutes."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    action: Action
    reason: str
    power_limit_watts: int | None = None
    expected: Expected | None = None
    curve: tuple[FittedPoint, ...] = ()
    numbers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Case:
    """A run with a measured reference, and what is asked about it."""

    history: RunHistory
    profile: Profile
    objective: Objective
    minimum: Minimum
    reference: Reference
    levels: Levels
    explore: bool
    hint_watts: int | None

    @property
    def min_watts(self) -> float | None:
        return self.history.limits.min_watts


def choose(
    history: RunHistory,
    profile: Profile,
    objective: Objective,
    *,
    minimum: Minimum,
    explore: bool,
    hint_watts: int | None = None,
) -> Decision:
    """Return what to do with the run's power limit.

    Args:
        history: What is remembered of the run.
        profile: The operating points in it.
        objective: What "best" means.
        minimum: The evidence that the profile asked for, to say how much is missing.
        explore: Whether a limit may be proposed only to measure it. Without it the answer is
            never ``probe``.
        hint_watts: Where earlier runs of the same job had their best; None where unknown.
    """
    verdict = _verdict(history, profile, objective, minimum, hint_watts, explore=explore)
    return Decision(
        run=history.run,
        action=verdict.action,
        power_limit_watts=verdict.power_limit_watts,
        reason=with_change(verdict.reason, profile),
        objective=objective.parameters(),
        reference_power_limit_watts=history.limits.reference_watts,
        points=profile.points,
        expected=verdict.expected,
        window=history.window,
        gpu_uuids=history.gpu_uuids,
        thin=profile.thin,
        curve=verdict.curve,
        tariff=history.tariff,
        numbers=verdict.numbers,
    )


def _verdict(
    history: RunHistory,
    profile: Profile,
    objective: Objective,
    minimum: Minimum,
    hint_watts: int | None,
    *,
    explore: bool,
) -> _Verdict:
    reference_watts = history.limits.reference_watts
    refused = obstacle(history, profile)
    if refused or reference_watts is None:
        return _Verdict(Action.NONE, refused)
    exploring = explore and history.live
    point = _reference_point(profile, reference_watts)
    levels = None if point is None else profile.levels(point.power_limit_watts)
    if point is None or levels is None:
        return _without_reference(history, profile, minimum, reference_watts, exploring=exploring)
    reference = _reference(history, point)
    missing = objective.missing(reference)
    if missing:
        return _Verdict(Action.NONE, f"{missing[0].upper()}{missing[1:]}.")
    case = _Case(history, profile, objective, minimum, reference, levels, exploring, hint_watts)
    return _with_reference(case)


def _with_reference(case: _Case) -> _Verdict:
    reference, levels = case.reference, case.levels
    # Only measured limits are held, and none above the reference: who set it had a reason.
    held = {p.power_limit_watts for p in case.profile.points} & set(levels.limits_watts)
    lowest = _no_effect(case, held)
    if lowest is not None:
        return _without_effect(lowest, reference)
    outlook = outlook_of(levels, reference, case.objective, case.min_watts, held)
    if case.explore and case.min_watts is not None:
        probe = _probe(case, outlook, case.min_watts)
        if probe is not None:
            return probe
    curve = fitted_curve(outlook) if len(levels.limits_watts) > 1 else ()
    if len(held) == 1 and not (case.explore and case.profile.thin):
        reason = why_only_reference(case.history, reference.power_limit_watts, explore=case.explore)
        return _Verdict(Action.NONE, reason, curve=curve)
    expected = expected_of(case.profile.at(outlook.watts(outlook.best)), reference)
    return _Verdict(
        Action.HOLD,
        hold_reason(outlook, case.history, sorted(held, reverse=True), expected),
        outlook.watts(outlook.best),
        expected,
        curve,
        numbers(outlook, levels, case.objective, case.profile),
    )


def _no_effect(case: _Case, enough: set[int]) -> int | None:
    """Return the lowest measured limit if even it changes nothing, as far as can be told."""
    if case.min_watts is None:
        return None
    reference = case.reference
    floor = floor_watts(reference.power_limit_watts, case.min_watts)
    return has_no_effect(case.levels, reference.power_limit_watts, floor, reference.n_gpus, enough)


def _reference(history: RunHistory, point: OperatingPoint) -> Reference:
    steps_left = joules_left = None
    if history.planned_steps is not None and history.steps_done is not None:
        steps_left = max(0.0, history.planned_steps - history.steps_done)
    if history.energy_budget_joules is not None and history.joules_spent is not None:
        joules_left = history.energy_budget_joules - history.joules_spent
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


def _reference_point(profile: Profile, reference_watts: int) -> OperatingPoint | None:
    near = [p for p in profile.points if same_limit(p.power_limit_watts, reference_watts)]
    return max(near, key=lambda point: point.steps, default=None)


def _without_reference(
    history: RunHistory,
    profile: Profile,
    minimum: Minimum,
    reference_watts: int,
    *,
    exploring: bool,
) -> _Verdict:
    evidence = evidence_so_far(profile.thin_at(reference_watts), minimum)
    current_watts = history.limits.current_watts
    in_force = current_watts is not None and same_limit(current_watts, reference_watts)
    if exploring and not in_force:
        return _Verdict(
            Action.PROBE,
            f"Nothing can be compared before the reference limit of {reference_watts} W is "
            f"measured: {evidence}.",
            reference_watts,
        )
    return _Verdict(
        Action.NONE,
        f"The reference limit of {reference_watts} W is "
        f"{'still being measured' if in_force and history.live else 'not measured'}: {evidence}.",
    )


def _without_effect(lowest_watts: int, reference: Reference) -> _Verdict:
    watts = reference.power_limit_watts
    return _Verdict(
        Action.HOLD,
        f"The power limit makes no difference to this run: at {lowest_watts} W it is as fast and "
        f"draws as much as at {watts} W. It waits for something else than the GPU.",
        watts,
        Expected(energy_saving_ratio=0.0, slowdown_ratio=1.0),
    )


def _probe(case: _Case, outlook: Outlook, min_watts: float) -> _Verdict | None:
    site = _site(case, min_watts)
    current = site.current_watts
    reference_watts = case.reference.power_limit_watts
    if len(case.levels.limits_watts) == 1:
        point = case.profile.at(reference_watts)
        wanted = _times(case.minimum, REFERENCE_WINDOWS)
        # Whole steps are counted: one more may be under way.
        seconds = (point.steps + 1) * point.seconds_per_step if point else 0.0
        unleased = not case.history.limits.leased
        if point and unleased and (point.steps < wanted.steps or seconds < wanted.seconds):
            return _Verdict(
                Action.NONE,
                f"The reference limit of {reference_watts} W is still being measured, longer than "
                f"others because all are compared with it: {evidence_so_far(point, wanted)}.",
            )
        if case.history.limits.leased and current is not None and current < reference_watts:
            probe: Probe | None = Probe(
                current,
                f"still measuring: {evidence_so_far(case.profile.thin_at(current), case.minimum)}",
            )
        elif floor_watts(reference_watts, min_watts) >= reference_watts:
            return None
        else:
            probe = first_probe(case.levels, case.reference, case.objective, site)
    else:
        probe = next_probe(outlook, case.levels, site)
    if probe is None:
        return None
    watts = probe.power_limit_watts
    reason = probe.reason
    if watts == current and case.profile.at(watts) is None:
        reason = f"still measuring: {evidence_so_far(case.profile.thin_at(watts), case.minimum)}"
    expected = None
    if len(case.levels.limits_watts) > 1 and watts in outlook.posterior.limits_watts:
        expected = expected_at(outlook, outlook.posterior.index(watts))
    return _Verdict(
        Action.PROBE,
        f"Measure {watts} W: {reason}.",
        watts,
        expected,
        fitted_curve(outlook) if len(case.levels.limits_watts) > 1 else (),
        numbers(outlook, case.levels, case.objective, case.profile),
    )


def _times(minimum: Minimum, factor: int) -> Minimum:
    return replace(minimum, steps=factor * minimum.steps, seconds=factor * minimum.seconds)


def _site(case: _Case, min_watts: float) -> Site:
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
        current_watts=current,
        window_steps=window_steps,
        visit_steps=0.0 if current is None else case.profile.visit_steps(current),
        steps_left=steps_left,
        steps_done=steps_done,
        tried_watts=frozenset(case.levels.limits_watts) - {reference.power_limit_watts},
        hint_watts=case.hint_watts,
        known_watts=frozenset(point.power_limit_watts for point in case.profile.points),
    )
