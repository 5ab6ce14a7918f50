"""What can be chosen about a demo, and what follows from it."""

import math
from dataclasses import dataclass

from joulestat.optimizer.evidence.profile import REFERENCE_WINDOWS, Minimum
from joulestat.optimizer.search.objective import Cost, Objective, Slowdown

OBJECTIVES: dict[str, Objective] = {"slowdown": Slowdown(), "cost": Cost()}
"""What the optimizer may be after, with its defaults."""

START_SECONDS = 12.0
"""Prometheus looks at its targets every 5 s, so its first scrape comes late."""

SWITCH_SECONDS = 3.0
"""From a decision to the first interval that counts: write, settle, push, scrape."""

LIKELY_PROBES = 3
"""The simulated cards rarely need more. The optimizer allows itself more, and looks again where
it is close, and then the demo takes longer."""

HOLD_SECONDS = 5.0
"""How long the chosen limit is shown at work."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the demo does.

    Attributes:
        model: The simulated card.
        gpus: How many of it; the run holds them all.
        seconds: About how long it takes until a limit is held.
        objective: A key of ``OBJECTIVES``.
        keep: Go on after the result, until somebody stops it.
    """

    model: str = "V100"
    gpus: int = 4
    seconds: float = 90.0
    objective: str = "slowdown"
    keep: bool = False

    @property
    def minimum(self) -> Minimum:
        """The evidence per limit that fits into the time; the reference gets four times as much.

        90 s: (90 - 12 - 5 - 3 * 3) / (4 + 3) = 9.1, so 9 s per limit. Real runs take two minutes
        per limit; here the noise is small, and known to be.
        """
        training = self.seconds - START_SECONDS - HOLD_SECONDS - LIKELY_PROBES * SWITCH_SECONDS
        per_limit = training / (REFERENCE_WINDOWS + LIKELY_PROBES)
        return Minimum(steps=20, seconds=float(max(4, math.floor(per_limit))))

    @property
    def patience_seconds(self) -> float:
        """After so long without a limit to hold something must be wrong."""
        return 2 * self.seconds + 60
