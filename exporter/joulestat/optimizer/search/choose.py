"""From a run's history to one decision: a pure function, so that it can be repeated later."""

import math
from dataclasses import dataclass

from joulestat.domain.plan import Action, Decision, Expected, OperatingPoint
from joulestat.domain.units import same_limit
from joulestat.optimizer.evidence.curve import Curve, Estimate, as_estimate
from joulestat.optimizer.evidence.profile import Minimum, Profile
from joulestat.optimizer.history.facts import RunHistory
from joulestat.optimizer.search.explore import Probe, has_no_effect, next_probe
from joulestat.optimizer.search.objective import Objective, Reference, best

IMPOSSIBLE_POWER_RATIO = 1.25
"""Mean power above the limit by more than this is no overshoot but a wrong sum."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    action: Action
    reason: str
    power_limit_watts: int | None = None
    expected: Expected | None = None


def choose(
    history: RunHistory,
    profile: Profile,
    objective: Objective,
    *,
    minimum: Minimum,
    explore: bool,
) -> Decision:
    """Return what to do with the run's power limit.

    Args:
        history: What Prometheus remembers of the run.
        profile: The operating points in it.
        objective: What "best" means.
        minimum: The evidence that the profile asked for, to say how much is missing.
        explore: Whether a limit may be proposed only to measure it. Without it the answer is
            never ``probe``.
    """
    verdict = _verdict(history, profile, objective, minimum, explore=explore)
    return Decision(
        run=history.run,
        action=verdict.action,
        power_limit_watts=verdict.power_limit_watts,
        reason=verdict.reason,
        objective=objective.parameters(),
        reference_power_limit_watts=history.limits.reference_watts,
        points=profile.points,
        expected=verdict.expected,
        window=history.window,
        gpu_uuids=history.gpu_uuids,
    )


def _verdict(
    history: RunHistory,
    profile: Profile,
    objective: Objective,
    minimum: Minimum,
    *,
    explore: bool,
) -> _Verdict:
    reference_watts = history.limits.reference_watts
    obstacle = _obstacle(history, profile)
    if obstacle or reference_watts is None:
        return _Verdict(Action.NONE, obstacle)
    exploring = explore and history.live
    point = _reference_point(profile, reference_watts)
    if point is None:
        return _without_reference(history, profile, minimum, reference_watts, exploring=exploring)
    reference = Reference(as_estimate(point), reference_watts * len(history.gpu_uuids))
    # Never above the reference: whoever set that limit had a reason.
    measured = [
        as_estimate(other)
        for other in profile.points
        if other.power_limit_watts <= point.power_limit_watts
    ]
    if has_no_effect(measured, reference):
        return _without_effect(measured, reference)
    if exploring:
        probe = _unfinished_probe(history, profile, minimum) or (
            next_probe(measured, reference, objective, history.limits.min_watts)
            if history.limits.min_watts is not None
            else None
        )
        if probe is not None:
            return _probe(probe, measured, reference)
    if len(measured) == 1:
        return _Verdict(Action.NONE, _why_only_reference(history, reference, explore=explore))
    return _hold(measured, reference, objective)


def _obstacle(history: RunHistory, profile: Profile) -> str:
    """Return why no advice can be given whatever was measured; empty if nothing is in the way."""
    limits = history.limits
    for problem in (*history.problems, *profile.problems):
        return f"The evidence contradicts itself: {problem}."
    if not profile.points and not profile.thin:
        if history.live:
            return (
                f"Waiting for training steps: the run {history.run!r} is live, but none of its "
                "steps under one single power limit has reached Prometheus yet."
            )
        return (
            f"Prometheus knows no training step of the run {history.run!r} under one single "
            "power limit; check the run's name, and that the run pushes and is scraped."
        )
    if not history.gpu_uuids:
        return "Which GPUs the run holds is not known: joulestat_run_gpu is missing."
    if history.shared_with:
        return (
            f"The run shares GPUs with {', '.join(map(repr, history.shared_with))}: what one of "
            "them takes and draws depends on the other, and so would a limit."
        )
    if limits.unequal_reference:
        return "The run's GPUs had different power limits before any lease; one for all is unsafe."
    if limits.reference_watts is None:
        return "The limit before any lease is not known: neither enforced nor default is exported."
    for point in profile.points:
        power_watts = point.joules_per_step / point.seconds_per_step
        most_watts = IMPOSSIBLE_POWER_RATIO * point.power_limit_watts * len(history.gpu_uuids)
        if power_watts > most_watts:
            return (
                f"The evidence contradicts itself: at {point.power_limit_watts} W per GPU the "
                f"run's {len(history.gpu_uuids)} GPU(s) seem to draw {power_watts:.0f} W; is a "
                "node scraped twice?"
            )
    return ""


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
    evidence = _evidence(profile.thin_at(reference_watts), minimum)
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


def _without_effect(measured: list[Estimate], reference: Reference) -> _Verdict:
    lowest = min(measured, key=lambda point: point.power_limit_watts)
    watts = reference.estimate.power_limit_watts
    return _Verdict(
        Action.HOLD,
        f"The power limit makes no difference to this run: at {lowest.power_limit_watts} W it is "
        f"as fast and draws as much as at {watts} W. It waits for something else than the GPU.",
        watts,
        Expected(energy_saving_ratio=0.0, slowdown_ratio=1.0),
    )


def _unfinished_probe(history: RunHistory, profile: Profile, minimum: Minimum) -> Probe | None:
    """Return the probe in force, if it needs more time.

    Only a leased limit is a probe: what somebody else set is not ours to prolong.
    """
    watts = history.limits.current_watts
    if watts is None or not history.limits.leased or profile.at(watts) is not None:
        return None
    reference_watts = history.limits.reference_watts
    if reference_watts is not None and watts >= reference_watts:
        return None
    return Probe(watts, f"still measuring: {_evidence(profile.thin_at(watts), minimum)}")


def _probe(probe: Probe, measured: list[Estimate], reference: Reference) -> _Verdict:
    predicted = Curve(measured).at(probe.power_limit_watts) if len(measured) > 1 else None
    return _Verdict(
        Action.PROBE,
        f"Measure {probe.power_limit_watts} W: {probe.reason}.",
        probe.power_limit_watts,
        None if predicted is None else _expected(predicted, reference),
    )


def _why_only_reference(history: RunHistory, reference: Reference, *, explore: bool) -> str:
    only = f"Only the reference limit of {reference.estimate.power_limit_watts} W is measured"
    if not explore:
        return f"{only}; let the optimizer try others with --explore."
    if not history.live:
        return f"{only}, and no other can be: the run is not live."
    if history.limits.min_watts is None:
        return f"{only}, and how low the limit may go is not exported."
    return f"{only}, and the GPUs accept none lower (at least {history.limits.min_watts:.0f} W)."


def _hold(measured: list[Estimate], reference: Reference, objective: Objective) -> _Verdict:
    chosen = best(measured, objective, reference) or reference.estimate
    expected = _expected(chosen, reference)
    tried = ", ".join(
        str(point.power_limit_watts)
        for point in sorted(measured, key=lambda point: -point.power_limit_watts)
    )
    if chosen.power_limit_watts == reference.estimate.power_limit_watts:
        reason = f"The reference limit is the best of those measured ({tried} W)."
    else:
        reason = (
            f"Best of those measured ({tried} W): "
            f"{100 * expected.energy_saving_ratio:.1f} % less energy per step than at "
            f"{reference.estimate.power_limit_watts} W, {_pace(expected.slowdown_ratio)}."
        )
    return _Verdict(Action.HOLD, reason, chosen.power_limit_watts, expected)


def _pace(slowdown_ratio: float) -> str:
    percent = 100 * (slowdown_ratio - 1)
    return f"{abs(percent):.1f} % {'slower' if percent >= 0 else 'faster'}"


def _expected(at: Estimate, reference: Reference) -> Expected:
    return Expected(
        energy_saving_ratio=1 - at.joules_per_step / reference.estimate.joules_per_step,
        slowdown_ratio=at.seconds_per_step / reference.estimate.seconds_per_step,
    )


def _evidence(point: OperatingPoint | None, minimum: Minimum) -> str:
    """Say how much evidence there is. Rounded down: "120 of 120 s" would look like enough."""
    if point is None:
        return f"no step of {minimum.steps} yet"
    seconds = math.floor(point.steps * point.seconds_per_step)
    return (
        f"{min(point.steps, minimum.steps)} of {minimum.steps} steps, "
        f"{min(seconds, minimum.seconds):g} of {minimum.seconds:g} s"
    )
