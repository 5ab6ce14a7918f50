"""The cards that can be simulated, and what a power limit does to a workload on them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from joulestat.domain.errors import ConfigError
from joulestat.domain.units import NS_PER_MILLISECOND

FLOOR_SPEED = 0.25
"""Lowest relative clock. 0.25**3 = 1/64, which keeps sums by hand easy."""

_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Workload:
    """What training asks of a card.

    Attributes:
        compute_share: Part of a step at full clock that scales with the clock, 0 to 1; the rest
            waits for memory, network or data and takes as long at any clock.
        base_step_seconds: One step at full clock.
        intensity: How hard the compute units work: scales the dynamic draw; above 1 a card may
            reach its default limit.
        waiting_ratio: Share of the time in which the card waits for a slower one that it trains
            together with, 0 to below 1. Only the draw depends on it; whoever makes the steps
            lets them take as long as on the slowest.

    Raises:
        ConfigError: A value is out of range.
    """

    compute_share: float
    base_step_seconds: float
    intensity: float = 1.0
    waiting_ratio: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.compute_share <= 1.0:
            raise _bad_workload("compute_share", self.compute_share, "0 to 1")
        if not 0.0 < self.base_step_seconds < math.inf:
            raise _bad_workload("base_step_seconds", self.base_step_seconds, "more than 0 s")
        if not 0.0 < self.intensity < math.inf:
            raise _bad_workload("intensity", self.intensity, "more than 0, about 1")
        if not 0.0 <= self.waiting_ratio < 1.0:
            raise _bad_workload("waiting_ratio", self.waiting_ratio, "0 to below 1")


def _bad_workload(field: str, value: float, allowed: str) -> ConfigError:
    return ConfigError(
        f"a simulated workload cannot have {field}={value}; it must be {allowed}",
        field=field,
        value=value,
        place="workload",
        allowed=allowed,
    )


TYPICAL_TRAINING = Workload(compute_share=0.3, base_step_seconds=0.2)
"""Fine-tuning of a transformer: mostly bound by memory, so lower clocks cost little time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardModel:
    """One kind of card: its limits, and draw and step time as functions of the limit.

    At relative clock f a busy card draws S + intensity * D * f**3 (dynamic power goes with
    voltage squared times clock, and voltage with clock), and a step takes
    base * (c/f + 1 - c). A limit below the draw at full clock lowers f until the draw *is* the
    limit. Below ``FLOOR_SPEED`` there is no lower clock: the card then pauses for a part of the
    time, so that the draw is still the limit and every step takes longer in proportion.

    By hand, for V100 (S 110 W, D 160 W) and c = 0.3: unlimited it draws 270 W. A limit of 130 W
    leaves 20 of 160 W, so f**3 = 1/8, f = 1/2: a step takes 0.3*2 + 0.7 = 1.3 times as long and
    costs 130 * 1.3 / 270 = 63 % of the energy. This happens to be the minimum: dJ/df = 0 at
    2*D*c*f**3 + 3*D*(1-c)*f**4 = c*S, that is 12 + 21 = 33 W. At 70 % of the default limit
    (210 W) f**3 = 0.625 and the step is 5 % longer.

    Sizes (limits, idle draw, clocks, memory) follow the vendor's data sheets; S, D, reaction and
    granularity are plausible, not measured.

    Attributes:
        name: What users type, for example ``V100``.
        vendor: Who makes it.
        default_limit_watts: The factory's power limit (TDP).
        min_limit_watts: Lowest limit that may be set.
        max_limit_watts: Highest limit that may be set.
        idle_watts: Draw with nothing to do.
        static_watts: S, draw of a busy card apart from its clocks.
        dynamic_watts: D, what full clock adds at intensity 1.
        counter_granularity_ns: The energy counter moves only this often.
        reaction_ns: From setting a limit until it acts.
        memory_size_bytes: Its memory.
        max_sm_clock_hertz: Clock at f = 1.
        idle_sm_clock_hertz: Clock with nothing to do.
    """

    name: str
    vendor: str = "nvidia"
    default_limit_watts: float
    min_limit_watts: float
    max_limit_watts: float
    idle_watts: float
    static_watts: float
    dynamic_watts: float
    counter_granularity_ns: int
    reaction_ns: int
    memory_size_bytes: int
    max_sm_clock_hertz: float
    idle_sm_clock_hertz: float

    def full_watts(self, workload: Workload) -> float:
        """Return the draw at full clock, W: a limit above it does nothing."""
        return self.static_watts + workload.intensity * self.dynamic_watts

    def relative_speed(self, limit_watts: float, workload: Workload) -> float:
        """Return the clock under a limit, relative to full clock: ``FLOOR_SPEED`` to 1."""
        dynamic_watts = workload.intensity * self.dynamic_watts
        cubed = (limit_watts - self.static_watts) / dynamic_watts
        return min(1.0, max(FLOOR_SPEED, math.cbrt(cubed)))

    def busy_watts(self, limit_watts: float, workload: Workload) -> float:
        """Return the draw under a limit, W: the limit itself wherever it binds."""
        return min(limit_watts, self.full_watts(workload))

    def mean_watts(self, limit_watts: float, workload: Workload) -> float:
        """Return the draw with waiting in it, W.

        A waiting card spins at no load: it draws S, 40 % of its full draw or so, whatever its
        clock; less only under a limit below that.
        """
        busy_watts = self.busy_watts(limit_watts, workload)
        waiting_watts = min(limit_watts, self.static_watts)
        return busy_watts - workload.waiting_ratio * (busy_watts - waiting_watts)

    def step_seconds(self, limit_watts: float, workload: Workload) -> float:
        """Return how long one step takes under a limit, s."""
        speed = self.relative_speed(limit_watts, workload)
        share = workload.compute_share
        running_seconds = workload.base_step_seconds * (share / speed + 1.0 - share)
        floor_watts = self.static_watts + workload.intensity * self.dynamic_watts * FLOOR_SPEED**3
        return running_seconds * max(1.0, floor_watts / limit_watts)

    def joules_per_step(self, limit_watts: float, workload: Workload) -> float:
        """Return what one step costs under a limit, J: U-shaped over the limit."""
        return self.busy_watts(limit_watts, workload) * self.step_seconds(limit_watts, workload)


V100 = CardModel(
    name="V100",
    default_limit_watts=300.0,
    min_limit_watts=100.0,
    max_limit_watts=300.0,
    idle_watts=40.0,
    static_watts=110.0,
    dynamic_watts=160.0,
    counter_granularity_ns=20 * NS_PER_MILLISECOND,
    reaction_ns=200 * NS_PER_MILLISECOND,
    memory_size_bytes=32 * _GIB,
    max_sm_clock_hertz=1.53e9,
    idle_sm_clock_hertz=1.35e8,
)
A40 = CardModel(
    name="A40",
    default_limit_watts=300.0,
    min_limit_watts=100.0,
    max_limit_watts=300.0,
    idle_watts=30.0,
    static_watts=112.0,
    dynamic_watts=168.0,
    counter_granularity_ns=50 * NS_PER_MILLISECOND,
    reaction_ns=300 * NS_PER_MILLISECOND,
    memory_size_bytes=48 * _GIB,
    max_sm_clock_hertz=1.74e9,
    idle_sm_clock_hertz=2.1e8,
)
A100 = CardModel(
    name="A100",
    default_limit_watts=400.0,
    min_limit_watts=100.0,
    max_limit_watts=400.0,
    idle_watts=60.0,
    static_watts=140.0,
    dynamic_watts=224.0,
    counter_granularity_ns=100 * NS_PER_MILLISECOND,
    reaction_ns=150 * NS_PER_MILLISECOND,
    memory_size_bytes=80 * _GIB,
    max_sm_clock_hertz=1.41e9,
    idle_sm_clock_hertz=2.1e8,
)
H100 = CardModel(
    name="H100",
    default_limit_watts=700.0,
    min_limit_watts=200.0,
    max_limit_watts=700.0,
    idle_watts=75.0,
    static_watts=240.0,
    dynamic_watts=400.0,
    counter_granularity_ns=100 * NS_PER_MILLISECOND,
    reaction_ns=100 * NS_PER_MILLISECOND,
    memory_size_bytes=80 * _GIB,
    max_sm_clock_hertz=1.98e9,
    idle_sm_clock_hertz=3.45e8,
)

MODELS: Mapping[str, CardModel] = MappingProxyType(
    {model.name: model for model in (V100, A40, A100, H100)}
)
"""Every built-in card by name."""


def card_model(name: str) -> CardModel:
    """Return a built-in card by its name, in upper or lower case.

    Raises:
        ConfigError: No such card is built in.
    """
    model = MODELS.get(name.upper())
    if model is None:
        allowed = ", ".join(MODELS)
        raise ConfigError(
            f"no simulated card is called {name!r}; choose one of {allowed}",
            field="model",
            value=name,
            place="simulated backend",
            allowed=allowed,
        )
    return model
