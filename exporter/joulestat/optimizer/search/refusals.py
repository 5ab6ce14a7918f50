"""When there is no advice whatever was measured, and why: one plain sentence with its numbers."""

from joulestat.optimizer.evidence.profile import Profile
from joulestat.optimizer.history.facts import RunHistory

IMPOSSIBLE_POWER_RATIO = 1.25
"""Mean power above the limit by more than this is no overshoot but a wrong sum."""
TOO_HOT_RATIO = 0.5
"""Heat in more than this share of the time: what is measured is the cooling."""


def obstacle(history: RunHistory, profile: Profile) -> str:
    """Return why no advice can be given; empty if nothing is in the way."""
    limits = history.limits
    for problem in (*history.problems, *profile.problems):
        return f"The evidence contradicts itself: {problem}."
    if profile.thermal_ratio > TOO_HOT_RATIO:
        return (
            f"Heat slowed the run's GPUs in {100 * profile.thermal_ratio:.0f} % of the time, so "
            "their pace says nothing about power limits; a lower limit may well cost no time."
        )
    if not profile.points and not profile.thin:
        return _without_steps(history)
    if not history.gpu_uuids:
        return "Which GPUs the run holds is not known: joulestat_run_gpu is missing."
    if history.shared_with:
        return (
            f"The run shares GPUs with {', '.join(map(repr, history.shared_with))}: what one of "
            "them takes and draws depends on the other, and so would a limit."
        )
    if limits.foreign and history.live:
        return (
            f"Somebody else changed the limit of {', '.join(limits.foreign)} while it was leased; "
            "release the lease, or set the limit back, to go on."
        )
    if limits.unequal_reference:
        return "The run's GPUs had different power limits before any lease; one for all is unsafe."
    if limits.reference_watts is None:
        return "The limit before any lease is not known: neither enforced nor default is exported."
    low_watts, high_watts = limits.min_watts, limits.max_watts
    if low_watts is not None and high_watts is not None and low_watts > high_watts:
        return (
            "No limit may be set on all of the run's GPUs: the lowest that each may have is "
            f"{low_watts:g} W, the highest {high_watts:g} W, by the host's policy and the cards."
        )
    return _impossible_power(history, profile)


def _without_steps(history: RunHistory) -> str:
    if history.live:
        return (
            f"Waiting for training steps: the run {history.run!r} is live, but none of its "
            "steps under one single power limit has been recorded yet."
        )
    return (
        f"No training step of the run {history.run!r} under one single power limit is known; "
        "check the run's name, and that the run pushes and is scraped."
    )


def _impossible_power(history: RunHistory, profile: Profile) -> str:
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
