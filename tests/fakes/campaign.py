"""A campaign without a Prometheus: ``choose`` asks, a known curve answers, until it holds."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from joulestat.domain.plan import Action, Decision, OperatingPoint
from joulestat.optimizer.evidence.profile import Minimum, Profile
from joulestat.optimizer.history.facts import Limits, RunHistory
from joulestat.optimizer.search.choose import choose
from joulestat.optimizer.search.objective import Objective

Curve = Callable[[int], tuple[float, float]]
"""Joules and seconds per step at a limit."""

STEPS = 1000
STDERR_RATIO = 1e-4
MANY_ROUNDS = 20


@dataclass(frozen=True)
class Campaign:
    """How it ended, and what was tried on the way."""

    decision: Decision
    probes: tuple[int, ...]

    @property
    def held_watts(self) -> int:
        assert self.decision.power_limit_watts is not None
        return self.decision.power_limit_watts


def points_of(
    measured: Mapping[int, tuple[float, float]], looks: Mapping[int, int] | None = None
) -> tuple[OperatingPoint, ...]:
    """Return points that are the better known the oftener they were looked at, once if not said."""
    points = []
    for watts, (joules, seconds) in sorted(measured.items()):
        n_looks = 1 if looks is None else looks[watts]
        error = STDERR_RATIO / math.sqrt(n_looks)
        steps = STEPS * n_looks
        points.append(
            OperatingPoint(watts, joules, seconds, steps, error * joules, error * seconds)
        )
    return tuple(points)


def run_campaign(
    curve: Curve,
    objective: Objective,
    *,
    reference_watts: int,
    min_watts: float,
    gpus: int = 1,
) -> Campaign:
    """Let the optimizer explore from the reference limit alone until it holds."""
    measured = {reference_watts: curve(reference_watts)}
    looks = Counter({reference_watts: 1})
    probes: list[int] = []
    current = reference_watts
    for _ in range(MANY_ROUNDS):
        history = RunHistory(
            "run",
            gpu_uuids=tuple(f"GPU-{index}" for index in range(gpus)),
            limits=Limits(
                reference_watts=reference_watts,
                current_watts=current,
                leased=current != reference_watts,
                min_watts=min_watts,
                max_watts=float(reference_watts),
            ),
            live=True,
            fresh=True,
        )
        decision = choose(
            history,
            Profile(points_of(measured, looks)),
            objective,
            minimum=Minimum(),
            explore=True,
        )
        if decision.action is not Action.PROBE:
            return Campaign(decision, tuple(probes))
        assert decision.power_limit_watts is not None
        current = decision.power_limit_watts
        measured[current] = curve(current)
        looks[current] += 1
        probes.append(current)
    raise AssertionError(f"no end of probing: {probes}")
