"""From a run's history to one decision: a pure function, so that it can be repeated later."""

from dataclasses import dataclass, replace

from joulestat.domain.plan import Action, Decision, Expected, FittedPoint
from joulestat.domain.units import same_limit
from joulestat.optimizer.evidence.profile import REFERENCE_WINDOWS, Minimum, Profile
from joulestat.optimizer.history.facts import Limits, RunHistory
from joulestat.optimizer.search.case import Case, reference_of, reference_point, site_of
from joulestat.optimizer.search.effect import (
    Change,
    has_no_effect,
    held_without_effect,
    most_worth_trying_watts,
    probe_to_be_sure,
    without_effect,
)
from joulestat.optimizer.search.explore import (
    GRID_WATTS,
    Probe,
    first_probe,
    floor_watts,
    next_probe,
    outlook_of,
)
from joulestat.optimizer.search.fit import expected_at, expected_of, fitted_curve
from joulestat.optimizer.search.objective import Objective
from joulestat.optimizer.search.outlook import Outlook
from joulestat.optimizer.search.refusals import obstacle
from joulestat.optimizer.search.wording import (
    allowed_by_policy,
    evidence_so_far,
    hold_reason,
    numbers,
    why_only_reference,
    with_change,
)


@dataclass(frozen=True, slots=True)
class _Verdict:
    action: Action
    reason: str
    power_limit_watts: int | None = None
    expected: Expected | None = None
    curve: tuple[FittedPoint, ...] = ()
    numbers: tuple[str, ...] = ()


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
    verdict = _within_policy(verdict, history.limits)
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
    point = reference_point(profile, reference_watts)
    levels = None if point is None else profile.levels(point.power_limit_watts)
    if point is None or levels is None:
        return _without_reference(history, profile, minimum, reference_watts, exploring=exploring)
    reference = reference_of(history, point)
    missing = objective.missing(reference)
    if missing:
        return _Verdict(Action.NONE, f"{missing[0].upper()}{missing[1:]}.")
    case = Case(history, profile, objective, minimum, reference, levels, exploring, hint_watts)
    return _with_reference(case)


def _within_policy(verdict: _Verdict, limits: Limits) -> _Verdict:
    """Say where the host's policy is the bound; what no lease may hold needs none.

    That is the reference limit alone, which comes back by itself.
    """
    watts, low_watts, high_watts = verdict.power_limit_watts, limits.min_watts, limits.max_watts
    if watts is None or low_watts is None or high_watts is None or not limits.cut_by_policy:
        return verdict
    allowed = allowed_by_policy(limits)
    if not low_watts <= watts <= high_watts:
        reason = (
            f"{verdict.reason} But {allowed}, so no lease may hold {watts} W: the limit from "
            "before any lease is left to itself."
        )
        return replace(
            verdict, action=Action.NONE, power_limit_watts=None, expected=None, reason=reason
        )
    if low_watts + GRID_WATTS <= watts <= high_watts - GRID_WATTS:
        return verdict
    return replace(verdict, reason=f"{verdict.reason} {allowed[0].upper()}{allowed[1:]}.")


def _with_reference(case: Case) -> _Verdict:
    reference, levels = case.reference, case.levels
    # Only measured limits are held, and none above the reference: who set it had a reason.
    held = case.may_hold()
    change, min_watts = case.change, case.min_watts
    most_watts = min(most_worth_trying_watts(change, reference, min_watts), case.max_watts)
    outlook = outlook_of(levels, reference, case.objective, min_watts, held, most_watts)
    if change is not None and has_no_effect(change, reference, min_watts, held):
        return _without_effect(case, outlook, change)
    if case.explore and min_watts is not None:
        probe = _probe(case, outlook, min_watts)
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


def _without_effect(case: Case, outlook: Outlook, change: Change) -> _Verdict:
    """Hold the reference, or what is clearly if hardly better."""
    watts = outlook.watts(held_without_effect(outlook))
    return _Verdict(
        Action.HOLD,
        without_effect(change, case.reference.power_limit_watts, watts),
        watts,
        expected_of(case.profile.at(watts), case.reference),
        fitted_curve(outlook),
        numbers(outlook, case.levels, case.objective, case.profile),
    )


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


def _probe(case: Case, outlook: Outlook, min_watts: float) -> _Verdict | None:
    site = site_of(case, min_watts)
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
        back = case.profile.visit_steps(reference_watts)
        probe = probe_to_be_sure(case.change, case.reference, site, back)
        probe = probe or next_probe(outlook, case.levels, site)
    if probe is None or not case.may_ask_for(probe.power_limit_watts):
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
