"""One device's energy: its register, bridged by the integral of power where it cannot be believed.

The meter *follows* the register while that is plausible and moves. While it is not (a glitch, a
reset that is not confirmed yet, a call that fails, a register that stands still, or one that is
far off for good), the meter *bridges*: it goes on from where it last followed by what power adds
up to. So a bad register costs no energy, and a good one is not made worse by a power sensor.
"""

import json
from dataclasses import asdict, dataclass
from types import MappingProxyType

from joulestat.domain.device import Reading
from joulestat.domain.energy import Anomaly, EnergySource, MeterState
from joulestat.domain.units import NS_PER_SECOND, power_to_uj
from joulestat.metering.comparison import Comparison
from joulestat.metering.counter import (
    FALLBACK_MAX_WATTS,
    REGISTER_PERIOD_NS,
    CounterRecord,
    EnergyRegister,
    bound_watts,
)
from joulestat.metering.integral import PowerIntegral

STILL_NS = 2 * NS_PER_SECOND
"""A register that stands still this long while the card draws power is frozen: usual ones move
every 20 to 100 ms."""

STILL_UJ = 40_000_000
"""... if the card took at least 40 J meanwhile,"""

STILL_WATTS = 5.0
"""... at no less than this: a card asleep may draw next to nothing."""

LONG_BRIDGE_NS = 10 * NS_PER_SECOND
"""Energy bridged for longer than this is said to be integrated power."""

TRUSTED_SHARE = 4
"""After a bridge the register is believed if it differs by less than a quarter of the bridge."""


@dataclass(frozen=True, slots=True)
class MeterRecord:
    """What must survive a restart of the exporter.

    Attributes:
        total_uj: The energy total.
        target_uj: What the total would be by the register alone; None without a register.
        counter: The register's own record; None without a register.
        integral_half_pj: The integral's record; None without power readings.
        far_off: Whether the register was found to be far off.
        anomalies: Counts by reason.
    """

    total_uj: int
    target_uj: int | None
    counter: CounterRecord | None
    integral_half_pj: int | None
    far_off: bool
    anomalies: dict[Anomaly, int]

    def to_document(self) -> str:
        """Return the record as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_document(cls, text: str) -> "MeterRecord":
        """Return the record of a document, written earlier in this boot."""
        document = json.loads(text)
        if document["counter"] is not None:
            document["counter"] = CounterRecord(**document["counter"])
        document["anomalies"] = {
            Anomaly(name): count for name, count in document["anomalies"].items()
        }
        return cls(**document)


class Meter:
    """Energy of one device, from reading to reading. Used by the sampler's thread alone.

    Attributes:
        gap: Whether energy right before the last usable reading is missing from the total: no
            register counted it, and power was not read for too long.
    """

    def __init__(self, record: MeterRecord | None = None) -> None:
        self._total_uj = record.total_uj if record else None
        self._target_uj = record.target_uj if record else None
        self._register = EnergyRegister(record.counter) if record and record.counter else None
        half_pj = record.integral_half_pj if record else None
        self._integral = None if half_pj is None else PowerIntegral(half_pj)
        self._comparison = Comparison(far_off=record.far_off if record else False)
        self._anomalies = dict.fromkeys(Anomaly, 0) | (record.anomalies if record else {})
        self._at_ns = record.counter.at_ns if record and record.counter else 0
        self._bridging = False
        self.gap = self._lost = False
        # Where the meter last followed a register that moved: total and integral there, and when.
        self._left_uj = max(self._total_uj or 0, self._target_uj or 0)
        self._left_integral_uj = self._integral.total_uj if self._integral else 0
        self._left_ns = self._bridged_ns = self._at_ns

    @property
    def record(self) -> MeterRecord | None:
        """What to write to disk, None before the first usable reading."""
        if self._total_uj is None:
            return None
        return MeterRecord(
            total_uj=self._total_uj,
            target_uj=self._target_uj,
            counter=self._register.record if self._register else None,
            integral_half_pj=self._integral.record if self._integral else None,
            far_off=self._comparison.far_off,
            anomalies=dict(self._anomalies),
        )

    @property
    def state(self) -> MeterState | None:
        """The energy as of the last usable reading, None before the first."""
        if self._total_uj is None:
            return None
        integrated = self._register is None or self._comparison.far_off or self._is_without()
        return MeterState(
            at_ns=self._at_ns,
            total_uj=self._total_uj,
            integrated_uj=self._integral.total_uj if self._integral else None,
            source=(EnergySource.INTEGRATED_POWER if integrated else EnergySource.HARDWARE_COUNTER),
            anomalies=MappingProxyType(dict(self._anomalies)),
            remembered=integrated or self._bridging,
        )

    def observe(self, reading: Reading) -> bool:
        """Take one reading.

        Returns:
            Whether the energy is now known up to ``reading.at_ns``.
        """
        integral_uj = self._integrate(reading)
        # A sample that is missing is bridged by the next one; one that joins no other is not.
        self._lost = self._lost or (integral_uj is None and reading.power_watts is not None)
        if reading.energy_counter_uj is None and self._register is None:
            known = self._without_register(reading, integral_uj)
        else:
            known = self._with_register(reading, integral_uj)
        if known:
            self._at_ns = reading.at_ns
            self.gap, self._lost = self._lost, False
        return known

    def _integrate(self, reading: Reading) -> int | None:
        """Return what power added up to since the last reading, None where it is not known."""
        if reading.power_watts is None:
            return None
        if self._integral is None:
            self._integral = PowerIntegral()
        return self._integral.add(reading.at_ns, reading.power_watts)

    def _without_register(self, reading: Reading, integral_uj: int | None) -> bool:
        if reading.counter_failed or reading.power_watts is None:
            # Not to be taken for a card without a register, nor for one that draws nothing.
            return False
        self._total_uj = (self._total_uj or 0) + (integral_uj or 0)
        return True

    def _with_register(self, reading: Reading, integral_uj: int | None) -> bool:
        increment_uj, reset = self._read_register(reading)
        if self._total_uj is None:
            return False
        self._compare(reading, integral_uj, believed=increment_uj is not None and not reset)
        if reset:
            # A new base: what lies between is what power says.
            self._lost = self._lost or not self._bridge(reading, integral_uj)
            self._anchor(reading.at_ns)
            return True
        if increment_uj is None or self._comparison.far_off:
            return self._bridge(reading, integral_uj)
        if increment_uj == 0 and self._stands_still(reading.at_ns):
            if not self._bridging:
                self._anomalies[Anomaly.FROZEN] += 1
            return self._bridge(reading, integral_uj)
        self._follow(reading, moved=increment_uj > 0)
        return True

    def _read_register(self, reading: Reading) -> tuple[int | None, bool]:
        """Return the register's believed increment, if any, and whether it has a new base."""
        raw_uj = reading.energy_counter_uj
        if raw_uj is None:
            return None, False
        if self._register is None:
            self._register = EnergyRegister()
        if self._total_uj is None:
            # Start from the register itself: a restart without state costs nothing then.
            self._total_uj = self._left_uj = raw_uj
            self._left_ns = reading.at_ns
        if self._target_uj is None:
            self._target_uj = self._total_uj
        increment_uj, anomalies = self._register.advance(
            raw_uj, reading.at_ns, reading.limits.max_watts, self._bridge_end_uj() - self._left_uj
        )
        for anomaly in anomalies:
            self._anomalies[anomaly] += 1
        self._target_uj += increment_uj or 0
        return increment_uj, Anomaly.RESET in anomalies

    def _compare(self, reading: Reading, integral_uj: int | None, *, believed: bool) -> None:
        """Compare both where both are known; a call that failed is made up for by the next."""
        raw_uj = reading.energy_counter_uj
        if raw_uj is not None and not believed:
            self._comparison.begin()
            return
        if raw_uj is None or reading.power_watts is None or self._integral is None:
            return
        if integral_uj is None:  # a hole in the integral: from here on they may be compared
            self._comparison.begin()
        highest_watts = reading.limits.max_watts or FALLBACK_MAX_WATTS
        for anomaly in self._comparison.add(
            raw_uj, self._integral.total_uj, reading.at_ns, highest_watts
        ):
            if not self._bridging:  # else it is the end of a story that was counted
                self._anomalies[anomaly] += 1

    def _stands_still(self, at_ns: int) -> bool:
        drawn_uj = (self._integral.total_uj if self._integral else 0) - self._left_integral_uj
        still_ns = at_ns - self._left_ns
        return still_ns >= STILL_NS and drawn_uj >= max(
            STILL_UJ, power_to_uj(STILL_WATTS, still_ns)
        )

    def _follow(self, reading: Reading, *, moved: bool) -> None:
        """Take the register's word; after a bridge only if it agrees with the bridge."""
        if self._bridging:
            if not moved:
                return
            self._bridging = False
            goal_uj = self._bridge_end_uj()
            bridge_uj = goal_uj - self._left_uj
            if goal_uj - (self._target_uj or 0) > bridge_uj // TRUSTED_SHARE:
                # It did not count on: what the bridge added is not in it.
                self._target_uj = goal_uj
        self._lost = False
        self._approach(self._target_uj or 0, reading)
        if moved:
            self._leave_from(reading.at_ns)

    def _bridge(self, reading: Reading, integral_uj: int | None) -> bool:
        """Go on by power, from where the register was last followed."""
        if integral_uj is None:
            return False
        if not self._bridging:
            self._bridging, self._bridged_ns = True, reading.at_ns
        self._approach(self._bridge_end_uj(), reading)
        if self._comparison.far_off:
            self._anchor(reading.at_ns)
            self._bridging = True
        return True

    def _is_without(self) -> bool:
        """Tell whether the register has been done without for so long that it must be said."""
        return self._bridging and self._at_ns - self._bridged_ns > LONG_BRIDGE_NS

    def _bridge_end_uj(self) -> int:
        """Return the total by power alone, since the register was last followed."""
        integral_uj = self._integral.total_uj if self._integral else 0
        return self._left_uj + integral_uj - self._left_integral_uj

    def _approach(self, goal_uj: int, reading: Reading) -> None:
        """Bring the total to a goal, never down, and no faster than the card can draw.

        What a frozen register withheld until it was found out is caught up with, not jumped to;
        what it counted while nobody could ask is of that time.
        """
        total_uj = self._total_uj or 0
        bound = bound_watts(reading.limits.max_watts)
        most_uj = power_to_uj(bound, reading.at_ns - self._at_ns + REGISTER_PERIOD_NS)
        self._total_uj = total_uj + max(0, min(goal_uj - total_uj, most_uj))

    def _anchor(self, at_ns: int) -> None:
        """Let the register count on from where power says the total is now."""
        self._target_uj = self._bridge_end_uj()
        self._bridging = False
        self._leave_from(at_ns)

    def _leave_from(self, at_ns: int) -> None:
        self._left_uj = max(self._total_uj or 0, self._target_uj or 0)
        self._left_integral_uj = self._integral.total_uj if self._integral else 0
        self._left_ns = at_ns
