"""A synchronous training on unequal GPUs, in a formula: what each draws, how long steps take."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from joulestat.devices.models import CardModel, Workload
from joulestat.domain.plan import FittedPoint
from joulestat.optimizer.fleet.fitted import curve_at
from joulestat.optimizer.fleet.gpu_facts import GpuEvidence, GpuLimits, Stretch
from joulestat.optimizer.fleet.stragglers import per_gpu_limits

STRETCH_SECONDS = 900.0
POWER_STDERR_RATIO = 0.002
STEP_STDERR_RATIO = 0.0005
"""Of 15 minutes, scraped every 15 s, where one look scatters by 1.5 % and 0.4 %."""
MEASURED = (1.0, 0.85, 0.7, 0.55, 0.45)
"""Common limits that a search leaves measured, as shares of the reference."""


class Law(Protocol):
    """One kind of card with one kind of work, at mean speed."""

    min_watts: int
    reference_watts: int
    waiting_watts: float

    def busy_watts(self, limit_watts: int) -> float: ...

    def seconds(self, limit_watts: int) -> float: ...


class SimulatedLaw:
    """The simulated cards' textbook law."""

    def __init__(self, model: CardModel, workload: Workload) -> None:
        self._model, self._workload = model, workload
        self.min_watts = round(model.min_limit_watts)
        self.reference_watts = round(model.default_limit_watts)
        self.waiting_watts = model.static_watts

    def busy_watts(self, limit_watts: int) -> float:
        return self._model.busy_watts(limit_watts, self._workload)

    def seconds(self, limit_watts: int) -> float:
        return self._model.step_seconds(limit_watts, self._workload)


class TracedLaw:
    """A training that was swept on a real card; waiting is taken to draw 45 %."""

    def __init__(self, truth: Sequence[FittedPoint]) -> None:
        self._truth = truth
        self.min_watts = truth[0].power_limit_watts
        self.reference_watts = truth[-1].power_limit_watts
        self.waiting_watts = 0.45 * self.busy_watts(self.reference_watts)

    def busy_watts(self, limit_watts: int) -> float:
        return self._at(limit_watts).joules_per_step / self.seconds(limit_watts)

    def seconds(self, limit_watts: int) -> float:
        return self._at(limit_watts).seconds_per_step

    def _at(self, limit_watts: int) -> FittedPoint:
        at = curve_at(self._truth, limit_watts)
        assert at is not None
        return at


@dataclass
class Ring:
    """GPUs that wait for each other at every step.

    Attributes:
        law: What a card of mean speed does.
        speeds: Of each GPU, relative to the mean; may be changed, as the slowest one moves.
        busy_ratios: What each draws beside the others when busy: cards differ.
    """

    law: Law
    speeds: dict[str, float]
    busy_ratios: Mapping[str, float] = field(default_factory=dict)

    def common(self, watts: int) -> dict[str, int]:
        return dict.fromkeys(self.speeds, watts)

    def step_seconds(self, limits: Mapping[str, int]) -> float:
        return max(self._own_seconds(uuid, watts) for uuid, watts in limits.items())

    def power_watts(self, limits: Mapping[str, int]) -> dict[str, float]:
        step_seconds = self.step_seconds(limits)
        powers = {}
        for uuid, limit_watts in limits.items():
            busy_watts = self.law.busy_watts(limit_watts) * self.busy_ratios.get(uuid, 1.0)
            waiting_watts = min(self.law.waiting_watts, busy_watts)
            busy_share = self._own_seconds(uuid, limit_watts) / step_seconds
            powers[uuid] = waiting_watts + busy_share * (busy_watts - waiting_watts)
        return powers

    def joules_per_step(self, limits: Mapping[str, int]) -> float:
        return sum(self.power_watts(limits).values()) * self.step_seconds(limits)

    def cheapest_common_watts(self) -> int:
        """Return the common limit at which a step takes least energy."""
        return min(self.grid(), key=lambda watts: self.joules_per_step(self.common(watts)))

    def grid(self) -> range:
        lowest = -(-self.law.min_watts // 5) * 5
        return range(lowest, self.law.reference_watts + 1, 5)

    def best_limits(self, step_seconds: float) -> dict[str, int]:
        """Return what one would set who knew everything, for steps of this length at most."""
        best = {}
        for uuid in self.speeds:
            in_time = [p for p in self.grid() if self._own_seconds(uuid, p) <= step_seconds + 1e-12]
            best[uuid] = min(
                in_time,
                key=lambda p, uuid=uuid: (  # type: ignore[misc]
                    (self.law.busy_watts(p) - self.law.waiting_watts) * self._own_seconds(uuid, p)
                ),
            )
        return best

    def curve(self, noise: random.Random) -> tuple[FittedPoint, ...]:
        """Return what a search measured under common limits, each off by 0.1 %."""
        reference = self.law.reference_watts
        limits = sorted({max(self.law.min_watts, round(s * reference)) for s in MEASURED})
        points = []
        for watts in limits:
            common = self.common(watts)
            joules, seconds = (
                value * (1 + noise.gauss(0, 0.001))
                for value in (self.joules_per_step(common), self.step_seconds(common))
            )
            points.append(FittedPoint(watts, joules, seconds, 0.001 * joules, 0.001 * seconds))
        return tuple(points)

    def stretch(self, limits: Mapping[str, int], number: int, noise: random.Random) -> Stretch:
        """Return what 15 minutes under these limits look like."""
        powers = {
            uuid: watts * (1 + noise.gauss(0, POWER_STDERR_RATIO))
            for uuid, watts in self.power_watts(limits).items()
        }
        seconds = self.step_seconds(limits) * (1 + noise.gauss(0, STEP_STDERR_RATIO))
        return Stretch(
            start_seconds=number * STRETCH_SECONDS,
            end_seconds=(number + 1) * STRETCH_SECONDS,
            limits_watts=dict(limits),
            power_watts=powers,
            power_stderr_watts={uuid: POWER_STDERR_RATIO * p for uuid, p in powers.items()},
            step_seconds=seconds,
            step_stderr_seconds=STEP_STDERR_RATIO * seconds,
            steps=STRETCH_SECONDS / seconds,
        )

    def _own_seconds(self, uuid: str, limit_watts: int) -> float:
        return self.law.seconds(limit_watts) / self.speeds[uuid]


@dataclass
class Loop:
    """The optimizer at work on a ring, one stretch after the other.

    Attributes:
        ring: What it works on.
        common_watts: The limit that the run has as a whole.
        waiting_watts: What the optimizer is told about waiting.
        seed: Of the noise.
    """

    ring: Ring
    common_watts: int
    waiting_watts: float = 0.0
    seed: int = 0
    stretches: list[Stretch] = field(default_factory=list)
    decided: list[GpuLimits] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._noise = random.Random(self.seed)
        self._curve = self.ring.curve(self._noise)

    @property
    def limits(self) -> Mapping[str, int]:
        if not self.decided:
            return self.ring.common(self.common_watts)
        return self.decided[-1].limits_watts

    def run(self, rounds: int) -> None:
        """Live through so many stretches, deciding after each."""
        for _ in range(rounds):
            made = self.ring.stretch(self.limits, len(self.stretches), self._noise)
            self.stretches.append(made)
            self.decided.append(
                per_gpu_limits(
                    GpuEvidence("run", tuple(self.ring.speeds), tuple(self.stretches)),
                    self._curve,
                    common_watts=self.common_watts,
                    min_watts=float(self.ring.law.min_watts),
                    waiting_watts=self.waiting_watts,
                )
            )


def ring(law: Law, spread: float, seed: int, n_gpus: int = 8) -> Ring:
    """Return a ring of GPUs whose speeds differ by a standard deviation."""
    draw = random.Random(seed)
    speeds = {f"GPU-{n}": 1.0 + spread * min(max(draw.gauss(0, 1), -3), 3) for n in range(n_gpus)}
    return Ring(law, speeds)
