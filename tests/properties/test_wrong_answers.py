"""Broken histories never lead to a hold that the truth does not support.

WRONG_ANSWERS says how many are tried: every one in a row is broken in another way.
"""

import os

import pytest

from fakes.broken_runs import BREAKAGES, BrokenRun, broken_run
from joulestat.domain.plan import Action, Decision
from joulestat.optimizer.evidence.profile import Minimum, build_profile
from joulestat.optimizer.search.choose import choose
from joulestat.optimizer.search.objective import Cost, Energy, Objective, Reference, Slowdown

HISTORIES = int(os.environ.get("WRONG_ANSWERS", "72"))
OBJECTIVES: tuple[Objective, ...] = (
    Slowdown(1.05),
    Slowdown(1.1),
    Cost(0.25),
    Cost(0.5),
    Energy(),
)
TOLERANCE = 1.01
"""How far a held limit may be beyond its bound, or worse than the reference, in truth."""
NO_ADVICE = ("foreign limit", "hot throughout", "not a number", "shared GPU")


def decisions(broken: BrokenRun) -> list[tuple[Objective, Decision]]:
    """Return all that is answered to this history, asked in every way."""
    profile = build_profile(broken.history.slices, Minimum())
    return [
        (
            objective,
            choose(broken.history, profile, objective, minimum=Minimum(), explore=explore),
        )
        for objective in OBJECTIVES
        for explore in (False, True)
    ]


def is_wrong(broken: BrokenRun, objective: Objective, watts: int) -> str:
    """Say what is wrong, in truth, with holding a limit; empty if nothing is."""
    base = broken.reference_watts
    reference = Reference(base, *broken.work.curve(base), total_limit_watts=float(base))
    joules, seconds = broken.work.curve(watts)
    most_seconds = objective.most_seconds(reference)
    if most_seconds is not None and seconds > TOLERANCE * most_seconds:
        return f"{watts} W of {base} W is {100 * (broken.slowdown(watts) - 1):.1f} % slower"
    value = objective.value(joules, seconds, reference)
    value /= objective.value(reference.joules_per_step, reference.seconds_per_step, reference)
    return f"{watts} W of {base} W is worse by {100 * (value - 1):.1f} %" * (value > TOLERANCE)


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_no_limit_is_held_that_the_truth_does_not_support(seed: int) -> None:
    broken = broken_run(seed)
    kept = {broken.reference_watts, broken.history.limits.reference_watts}
    wrong = [
        (broken.breakage, objective.parameters(), said, decision.reason)
        for objective, decision in decisions(broken)
        if decision.action is Action.HOLD and decision.power_limit_watts is not None
        if decision.power_limit_watts not in kept
        if (said := is_wrong(broken, objective, decision.power_limit_watts))
    ]

    assert [] == wrong


@pytest.mark.parametrize("breakage", NO_ADVICE)
def test_what_is_known_to_be_broken_gets_no_advice(breakage: str) -> None:
    for seed in range(BREAKAGES.index(breakage), 6 * len(BREAKAGES), len(BREAKAGES)):
        broken = broken_run(seed)

        assert breakage == broken.breakage
        assert {Action.NONE} == {decision.action for _, decision in decisions(broken)}


def test_sound_histories_are_answered_with_lower_limits_too() -> None:
    """Saying no to everything would make no wrong answer either."""
    found = BREAKAGES.index("sound")
    lower = [
        decision
        for seed in range(found, 6 * len(BREAKAGES) + found, len(BREAKAGES))
        for broken in [broken_run(seed)]
        for _, decision in decisions(broken)
        if decision.action is Action.HOLD and decision.power_limit_watts != broken.reference_watts
    ]

    assert len(lower) >= 5
