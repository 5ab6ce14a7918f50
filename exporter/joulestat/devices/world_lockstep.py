"""GPUs of one world that train together: a step is as long as on the slowest, the others wait."""

import random
from dataclasses import replace

from joulestat.devices.models import Workload
from joulestat.devices.world import SimulatedWorld

FURTHEST = 3.0
"""No card is further from the mean than so many standard deviations."""


class Lockstep:
    """One synchronous training on all GPUs of a world. Not for several threads at once.

    With a spread, some cards need longer for the same work than others, by the same ratio at every
    limit (on real clusters 8 % on the mean; SC'22, arXiv 2208.11035). Those that are done early
    draw what a waiting card draws. Without one, the default, all are alike and none waits.
    """

    def __init__(
        self, world: SimulatedWorld, workload: Workload, *, speed_spread_ratio: float = 0.0
    ) -> None:
        """Prepare; nothing is occupied yet.

        Args:
            world: Whose GPUs.
            workload: A step on a card of mean speed.
            speed_spread_ratio: Standard deviation of the cards' speed, 0 to below 0.3. Which card
                is how fast follows from its UUID.
        """
        self._world = world
        self._spread = speed_spread_ratio
        self._workloads = {
            uuid: replace(
                workload,
                base_step_seconds=workload.base_step_seconds / speed(uuid, speed_spread_ratio),
            )
            for uuid in world.uuids
        }

    def occupy(self) -> None:
        """Put the work on all GPUs."""
        for uuid, workload in self._workloads.items():
            self._world.occupy(uuid, workload)

    def step_seconds(self, at_ns: int) -> float:
        """Return how long a step that begins at an instant takes, and let the faster GPUs wait."""
        if self._spread:
            self._let_wait(at_ns)
        return max(self._world.step_seconds(uuid, at_ns) for uuid in self._workloads)

    def vacate(self) -> None:
        """Let all GPUs idle."""
        for uuid in self._workloads:
            self._world.vacate(uuid)

    def _let_wait(self, at_ns: int) -> None:
        """Tell the world who waits, where that changed: only a limit changes it, not the noise."""
        seconds = {
            uuid: self._world.model.step_seconds(
                self._world.acting_limit_watts(uuid, at_ns), workload
            )
            for uuid, workload in self._workloads.items()
        }
        longest_seconds = max(seconds.values())
        for uuid, workload in self._workloads.items():
            waits = replace(workload, waiting_ratio=1.0 - seconds[uuid] / longest_seconds)
            if waits != workload:
                self._workloads[uuid] = waits
                self._world.occupy(uuid, waits)


def speed(uuid: str, spread_ratio: float) -> float:
    """Return a card's speed relative to the mean; the same for the same card."""
    off = random.Random(f"{uuid} speed").gauss(0.0, 1.0)  # noqa: S311 - no secret
    return 1.0 + spread_ratio * min(max(off, -FURTHEST), FURTHEST)
