"""What a meter says of one device's energy."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class EnergySource(StrEnum):
    """Where a device's energy total comes from."""

    HARDWARE_COUNTER = "hardware_counter"
    INTEGRATED_POWER = "integrated_power"


class Anomaly(StrEnum):
    """What was wrong with a reading that was therefore not believed as it came."""

    BACKWARDS = "backwards"
    JUMP = "jump"
    FROZEN = "frozen"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class MeterState:
    """One device's energy, as far as it is known and believed.

    Attributes:
        at_ns: CLOCK_MONOTONIC up to which ``total_uj`` is known.
        total_uj: Energy total; never falls.
        integrated_uj: Own integral of power over the time seen, None without power readings.
        source: What ``total_uj`` is made of.
        anomalies: How often a reading was not believed, by reason; every reason is present.
        remembered: Whether ``total_uj`` rests on what only this process knows, not the register:
            it must be on disk before it is shown.
    """

    at_ns: int
    total_uj: int
    integrated_uj: int | None
    source: EnergySource
    anomalies: Mapping[Anomaly, int]
    remembered: bool = False
