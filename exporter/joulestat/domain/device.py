"""One GPU, and what one round of calls to its driver returned."""

from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Device:
    """One physical GPU. ``uuid`` is its identity; ``index`` is for people and may move."""

    uuid: str
    index: int
    vendor: str
    model: str
    pci_bus_id: str
    driver_version: str


class ThrottleReason(StrEnum):
    """Why the clocks are held back right now."""

    POWER_CAP = "power_cap"
    HW_SLOWDOWN = "hw_slowdown"
    SW_THERMAL = "sw_thermal"
    HW_THERMAL = "hw_thermal"
    POWER_BRAKE = "power_brake"


@dataclass(frozen=True, slots=True)
class CallError:
    """A failed driver call: the vendor's name of the call and of the error."""

    call: str
    error: str


@dataclass(frozen=True, slots=True)
class PowerLimits:
    """The five power limits of a GPU, in W; None where the driver does not say.

    Attributes:
        set_watts: What was last set by software (the management limit).
        enforced_watts: The lowest of all limits in force, out-of-band ones included.
        default_watts: The factory's.
        min_watts: Lowest that may be set.
        max_watts: Highest that may be set.
    """

    set_watts: float | None = None
    enforced_watts: float | None = None
    default_watts: float | None = None
    min_watts: float | None = None
    max_watts: float | None = None

    @property
    def in_force_watts(self) -> float | None:
        """The limit that the GPU really obeys: the enforced one, else the set one."""
        return self.set_watts if self.enforced_watts is None else self.enforced_watts


@dataclass(frozen=True, slots=True)
class Details:
    """What changes slowly or matters little: read at a slower beat than energy and limits.

    None means that the card or driver does not offer it. ``persistence_mode`` says whether the
    driver stays loaded without clients; where it does not, a power limit vanishes with the last.
    """

    throttle_reasons: frozenset[ThrottleReason] | None = None
    utilization_ratio: float | None = None
    temperature_celsius: float | None = None
    sm_clock_hertz: float | None = None
    memory_used_bytes: int | None = None
    memory_size_bytes: int | None = None
    persistence_mode: bool | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What one round of calls to one device returned.

    Attributes:
        at_ns: CLOCK_MONOTONIC as the energy counter was read.
        energy_counter_uj: The hardware's register in uJ, as it came; None where there is none
            or the call failed.
        power_watts: Power draw now.
        limits: The power limits as read in this round.
        details: Slow values, as of this round or of an earlier one.
        errors: Calls that failed: of this round, and of the round that ``details`` are of, for
            those values are still missing. Unsupported is not failed.
        counter_failed: Whether the register was not read because its call failed. Without
            that, None means a card that has no register.
    """

    at_ns: int
    energy_counter_uj: int | None
    power_watts: float | None
    limits: PowerLimits = PowerLimits()
    details: Details = Details()
    errors: tuple[CallError, ...] = field(default=())
    counter_failed: bool = False
