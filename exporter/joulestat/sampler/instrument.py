"""One device as the sampler sees it: its readings, its meter, and what may be shown of both."""

import logging
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace

from joulestat.domain.device import CallError, Device, Reading
from joulestat.domain.energy import Anomaly, EnergySource, MeterState
from joulestat.domain.limit import PowerControl
from joulestat.domain.run import UnattributedReason
from joulestat.domain.snapshot import DeviceState
from joulestat.domain.units import NS_PER_SECOND
from joulestat.metering.meter import Meter
from joulestat.runs.ledger import Ledger

METER = "meter/"
"""Prefix of the documents that meters are written to."""

INBOX = 64
"""Readings that may wait for a tick: more than six seconds of them."""

STUCK = CallError("read", "STUCK")
"""Counted once a tick while a read does not come back."""

QUIET_NS = 2 * NS_PER_SECOND
"""A failure that was not seen for this long is over: one that comes and goes is told once."""

ANOMALY_QUIET_NS = 60 * NS_PER_SECOND
"""An anomaly of a reason that was not seen for this long is news; all are counted."""

log = logging.getLogger(__name__)


class Instrument:
    """One device. ``deliver`` may be called by its reader; all else by the sampler's thread."""

    def __init__(self, device: Device, meter: Meter) -> None:
        self.device = device
        self.errors: dict[CallError, int] = {}
        self._meter = meter
        self._inbox: deque[Reading] = deque(maxlen=INBOX)
        self._latest: Reading | None = None
        self._first_look_ns: int | None = None
        self._failing: dict[CallError, int] = {}
        self._anomalies = meter.state.anomalies if meter.state else {}
        self._anomaly_ns: dict[Anomaly, int] = {}
        self._written: MeterState | None = None
        self._shown_uj = 0
        self._source: EnergySource | None = None

    def deliver(self, reading: Reading) -> None:
        """Take a reading; it is looked at by the next tick."""
        self._inbox.append(reading)

    def take_readings(self, ledger: Ledger, now_ns: int, stale_ns: int) -> None:
        """Meter what was read since the last tick, and tell the ledger."""
        while self._inbox:
            reading = self._latest = self._inbox.popleft()
            self._note_errors(reading.errors, now_ns)
            known, state = self._meter.observe(reading), self._meter.state
            if state is not None:
                self._note_source(state.source)
                self._note_anomalies(state.anomalies, now_ns)
                if known:
                    # Steps without their energy are no evidence for any limit.
                    limit_watts = None if self._meter.gap else reading.limits.in_force_watts
                    ledger.observe(self.device.uuid, reading.at_ns, state.total_uj, limit_watts)
        if self._first_look_ns is None:
            self._first_look_ns = now_ns
        last_ns = self._latest.at_ns if self._latest else self._first_look_ns
        if now_ns - last_ns > stale_ns:
            self._note_errors((STUCK,), now_ns)
        else:
            self._note_recoveries(now_ns)

    def document(self) -> str | None:
        """Return the meter as JSON, to be written now; None before it knows anything."""
        record = self._meter.record
        if record is None:
            return None
        self._written = self._meter.state
        return record.to_document()

    def state(
        self,
        now_ns: int,
        stale_ns: int,
        control: PowerControl,
        unattributed_uj: Mapping[UnattributedReason, int],
    ) -> DeviceState:
        """Return what a scrape may see; gauges of a device that does not answer are left out."""
        reading = self._latest
        fresh = reading is not None and now_ns - reading.at_ns <= stale_ns
        return DeviceState(
            device=self.device,
            up=reading is not None and fresh and not reading.errors,
            reading=reading if fresh else None,
            meter=self._meter_state(),
            unattributed_uj=unattributed_uj,
            control=control,
        )

    def _meter_state(self) -> MeterState | None:
        """Return what may be shown: the register as it is, what only we know as it is on disk.

        The register runs on without us; what we remember would fall back to what was written.
        """
        live, written = self._meter.state, self._written
        if live is None or (live.remembered and written is None):
            return None
        known = written if live.remembered and written else live
        # Between the two the total stands still until what is on disk has caught up.
        self._shown_uj = max(known.total_uj, self._shown_uj)
        return replace(
            live,
            at_ns=known.at_ns,
            total_uj=self._shown_uj,
            integrated_uj=written.integrated_uj if written else None,
        )

    def _note_errors(self, errors: Iterable[CallError], now_ns: int) -> None:
        """Count every failure, log those that are new."""
        for error in set(errors):
            self.errors[error] = self.errors.get(error, 0) + 1
            if error not in self._failing:
                log.warning(
                    "event=driver_call_failed gpu_uuid=%s call=%s error=%s",
                    self.device.uuid, error.call, error.error,
                )  # fmt: skip
            self._failing[error] = now_ns

    def _note_recoveries(self, now_ns: int) -> None:
        """Log what has not failed for a while. Only while the device is read: else who knows."""
        over = [error for error, at_ns in self._failing.items() if now_ns - at_ns > QUIET_NS]
        for error in over:
            del self._failing[error]
            if any(other.call == error.call for other in self._failing):
                continue  # the call fails still, with another error
            log.info(
                "event=driver_call_recovered gpu_uuid=%s call=%s error=%s",
                self.device.uuid, error.call, error.error,
            )  # fmt: skip

    def _note_anomalies(self, anomalies: Mapping[Anomaly, int], now_ns: int) -> None:
        for reason, count in anomalies.items():
            if count == self._anomalies.get(reason, 0):
                continue
            before_ns = self._anomaly_ns.get(reason)
            if before_ns is None or now_ns - before_ns > ANOMALY_QUIET_NS:
                log.warning("event=energy_anomaly gpu_uuid=%s reason=%s", self.device.uuid, reason)
            self._anomaly_ns[reason] = now_ns
        self._anomalies = anomalies

    def _note_source(self, source: EnergySource) -> None:
        if self._source is not None and self._source is not source:
            log.warning(
                "event=energy_source_changed gpu_uuid=%s source=%s", self.device.uuid, source
            )
        self._source = source
