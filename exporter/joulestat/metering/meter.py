"""One device's energy: the register where there is a good one, else the integral of power."""

import json
from dataclasses import asdict, dataclass
from types import MappingProxyType

from joulestat.domain.device import Reading
from joulestat.domain.energy import Anomaly, EnergySource, MeterState
from joulestat.domain.units import NS_PER_SECOND
from joulestat.metering.counter import CounterRecord, EnergyRegister
from joulestat.metering.integral import PowerIntegral

FROZEN_AFTER_NS = 30 * NS_PER_SECOND
"""A register that stands still this long while the card draws power is called frozen."""

FROZEN_ENERGY_UJ = 100_000_000
"""... if the card took at least 100 J meanwhile: an idle card may draw next to nothing."""


@dataclass(frozen=True, slots=True)
class MeterRecord:
    """What must survive a restart of the exporter."""

    total_uj: int
    counter: CounterRecord | None
    integral_half_pj: int | None
    anomalies: dict[Anomaly, int]

    def to_document(self) -> str:
        """Return the record as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_document(cls, text: str, *, same_boot: bool) -> "MeterRecord":
        """Return the record of a document; after a reboot the register is unknown anew."""
        document = json.loads(text)
        counter = document["counter"]
        if counter is not None:
            counter = (
                CounterRecord(counter["raw_uj"], counter["at_ns"])
                if same_boot
                else CounterRecord(None, 0)
            )
        anomalies = {Anomaly(name): count for name, count in document["anomalies"].items()}
        return cls(document["total_uj"], counter, document["integral_half_pj"], anomalies)


class Meter:
    """Energy of one device, from reading to reading. Used by the sampler's thread alone."""

    def __init__(self, record: MeterRecord | None = None) -> None:
        self._total_uj = record.total_uj if record else None
        has_register = record is not None and record.counter is not None
        self._register = EnergyRegister(record.counter) if record and has_register else None
        has_integral = record is not None and record.integral_half_pj is not None
        self._integral = (
            PowerIntegral(record.integral_half_pj or 0) if record and has_integral else None
        )
        self._anomalies = dict.fromkeys(Anomaly, 0) | (record.anomalies if record else {})
        self._at_ns = record.counter.at_ns if record and record.counter else 0
        self._frozen_since: tuple[int, int, int] | None = None
        self._frozen = False

    @property
    def record(self) -> MeterRecord | None:
        """What to write to disk, None before the first usable reading."""
        if self._total_uj is None:
            return None
        return MeterRecord(
            total_uj=self._total_uj,
            counter=self._register.record if self._register else None,
            integral_half_pj=self._integral.record if self._integral else None,
            anomalies=dict(self._anomalies),
        )

    @property
    def state(self) -> MeterState | None:
        """The energy as of the last believed reading, None before the first usable one."""
        if self._total_uj is None:
            return None
        return MeterState(
            at_ns=self._at_ns,
            total_uj=self._total_uj,
            integrated_uj=self._integral.total_uj if self._integral else None,
            source=(
                EnergySource.HARDWARE_COUNTER if self._register else EnergySource.INTEGRATED_POWER
            ),
            anomalies=MappingProxyType(dict(self._anomalies)),
        )

    def observe(self, reading: Reading) -> bool:
        """Take one reading.

        Returns:
            Whether the energy is now known up to ``reading.at_ns``.
        """
        integrated_before_uj = self._integral.total_uj if self._integral else 0
        if reading.power_watts is not None:
            self._integral = self._integral or PowerIntegral()
            self._integral.add(reading.at_ns, reading.power_watts)
        if reading.energy_counter_uj is not None:
            return self._observe_register(reading, reading.energy_counter_uj)
        if self._register is None and self._integral is not None and not reading.errors:
            # No register and no failed call: this card has none.
            increment_uj = self._integral.total_uj - integrated_before_uj
            self._total_uj = (self._total_uj or 0) + increment_uj
            self._at_ns = reading.at_ns
            return True
        return False

    def _observe_register(self, reading: Reading, raw_uj: int) -> bool:
        if self._register is None:
            self._register = EnergyRegister()
        if self._total_uj is None:
            # Start from the register itself: a restart without state costs nothing then.
            self._total_uj = raw_uj
        increment_uj, anomalies = self._register.advance(
            raw_uj, reading.at_ns, reading.limits.max_watts
        )
        for anomaly in anomalies:
            self._anomalies[anomaly] += 1
        self._watch_for_frozen(raw_uj, reading.at_ns)
        if increment_uj is None:
            return False
        self._total_uj += increment_uj
        self._at_ns = reading.at_ns
        return True

    def _watch_for_frozen(self, raw_uj: int, at_ns: int) -> None:
        """Count once when the register stands still while power is drawn."""
        integrated_uj = self._integral.total_uj if self._integral else 0
        if self._frozen_since is None or self._frozen_since[0] != raw_uj:
            self._frozen_since = (raw_uj, at_ns, integrated_uj)
            self._frozen = False
            return
        _, since_ns, since_uj = self._frozen_since
        stood_ns, drawn_uj = at_ns - since_ns, integrated_uj - since_uj
        if not self._frozen and stood_ns >= FROZEN_AFTER_NS and drawn_uj >= FROZEN_ENERGY_UJ:
            self._frozen = True
            self._anomalies[Anomaly.FROZEN] += 1
