"""What a decision says of itself: plain sentences, and the numbers behind them."""

import math
from collections.abc import Sequence

from joulestat.domain.plan import Expected, OperatingPoint
from joulestat.optimizer.evidence.levels import Levels
from joulestat.optimizer.evidence.profile import Minimum, Profile
from joulestat.optimizer.history.facts import Limits, RunHistory
from joulestat.optimizer.search.objective import Objective
from joulestat.optimizer.search.outlook import Outlook


def evidence_so_far(point: OperatingPoint | None, minimum: Minimum) -> str:
    """Say how much evidence there is. Rounded down: "120 of 120 s" would look like enough."""
    if point is None:
        return f"no step of {minimum.steps} yet"
    seconds = math.floor(point.steps * point.seconds_per_step)
    return (
        f"{min(point.steps, minimum.steps)} of {minimum.steps} steps, "
        f"{min(seconds, minimum.seconds):g} of {minimum.seconds:g} s"
    )


def why_only_reference(history: RunHistory, reference_watts: int, *, explore: bool) -> str:
    """Say why nothing but the reference limit is measured."""
    only = f"Only the reference limit of {reference_watts} W is measured"
    if not history.live:
        return f"{only}, and no other can be: the run is not live."
    if not explore:
        return f"{only}; let the optimizer try others with --explore."
    if history.limits.min_watts is None:
        return f"{only}, and how low the limit may go is not exported."
    if history.limits.cut_by_policy:
        return f"{only}, and {allowed_by_policy(history.limits)}."
    return f"{only}, and the GPUs accept none lower (at least {history.limits.min_watts:.0f} W)."


def allowed_by_policy(limits: Limits) -> str:
    """Say what the host's policy lets a lease hold. Both ends of the range are known."""
    return f"the host's policy allows {limits.min_watts:g} to {limits.max_watts:g} W"


def hold_reason(
    outlook: Outlook, history: RunHistory, held: Sequence[int], expected: Expected
) -> str:
    """Say why a limit is held, and what was given up for it."""
    watts, reference = outlook.watts(outlook.best), outlook.watts(outlook.reference)
    tried = ", ".join(map(str, held))
    reason = f"The reference limit is the best of those measured ({tried} W)."
    if not outlook.allowed[outlook.best]:
        reason = f"None of the limits measured ({tried} W) keeps the bound: the reference stays."
    elif watts != reference:
        reason = (
            f"Best of those measured ({tried} W): "
            f"{100 * expected.energy_saving_ratio:.1f} % less energy per step than at "
            f"{reference} W, {pace(expected.slowdown_ratio)}."
        )
    current = history.limits.current_watts
    if current in outlook.posterior.limits_watts and history.limits.leased and current != watts:
        position = outlook.posterior.index(current)
        if not outlook.allowed[position] and current in held:
            slower = outlook.posterior.seconds[:, position].mean()
            slower /= outlook.posterior.seconds[:, outlook.reference].mean()
            reason = (
                f"{current} W turned out {pace(float(slower))}, too slow: backing off. {reason}"
            )
    return reason


def with_change(reason: str, profile: Profile) -> str:
    """Add to a reason that the run changed, and so what was measured before does not count."""
    if not profile.changed:
        return reason
    return f"{reason} {profile.changed[0].upper()}{profile.changed[1:].rstrip('.')}."


def pace(slowdown_ratio: float) -> str:
    """Return "5.0 % slower" for 1.05."""
    percent = 100 * (slowdown_ratio - 1)
    return f"{abs(percent):.1f} % {'slower' if percent >= 0 else 'faster'}"


def numbers(
    outlook: Outlook, levels: Levels, objective: Objective, profile: Profile
) -> tuple[str, ...]:
    """Return the numbers behind a decision, one sentence each."""
    posterior, base = outlook.posterior, outlook.reference
    scatter = (
        f"A step is measured by {profile.unit}; {len(profile.blocks)} blocks of time, scatter of "
        f"one step {100 * levels.step_scatter_seconds:.2g} % in time and "
        f"{100 * levels.step_scatter_watts:.2g} % in power, drift "
        f"{100 * levels.drift_seconds:.2g} %."
    )
    found = [scatter]
    if profile.odd_looks:
        found.append(f"{profile.odd_looks} looks with impossible power were left out.")
    value = outlook.values
    for watts in levels.limits_watts:
        index = posterior.index(watts)
        energy = 100 * (posterior.joules[:, index] / posterior.joules[:, base] - 1)
        time = 100 * (posterior.seconds[:, index] / posterior.seconds[:, base] - 1)
        behind = 100 * (value[:, index] / value[:, outlook.best] - 1)
        found.append(
            f"{watts} W: energy {energy.mean():+.2f} ± {energy.std():.2f} %, time "
            f"{time.mean():+.2f} ± {time.std():.2f} %, {objective.name} {behind.mean():+.2f} ± "
            f"{behind.std():.2f} % beside {outlook.watts(outlook.best)} W"
            f"{'' if outlook.allowed[index] else ', outside the bound'}."
        )
    return tuple(found)
