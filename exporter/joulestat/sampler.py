"""The heartbeat: take all readings, meter, credit, write down, publish one Snapshot.

Three kinds of thread meet here. Readers, one per device, deliver readings. The heartbeat ticks.
The HTTP loop pushes and reads ``snapshot``. One short lock guards the ledger; nothing that can
block (driver, disk) happens under it, and reading ``snapshot`` takes no lock at all.
"""

import logging
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from joulestat.domain.clock import Clock
from joulestat.domain.device import Device, Reading
from joulestat.domain.energy import EnergySource, MeterState
from joulestat.domain.errors import StateError
from joulestat.domain.limit import LimitChange, PowerControl
from joulestat.domain.run import Push, PushAnswer, PushResult, RunState, UnattributedReason
from joulestat.domain.snapshot import (
    TICK_BUCKETS_SECONDS,
    BudgetState,
    DeviceState,
    Snapshot,
    TickStats,
)
from joulestat.domain.units import NS_PER_SECOND, ns_to_seconds
from joulestat.metering.meter import Meter
from joulestat.runs.ledger import Ledger
from joulestat.runs.memory import changed_documents
from joulestat.runs.store import DocumentStore

METER = "meter/"
BEAT_NS = NS_PER_SECOND
FRESH_NS = NS_PER_SECOND
"""A device whose newest reading is older than this, and than three ticks, is not up."""

NO_CONTROL = PowerControl(
    writable=False,
    lease=None,
    drift=False,
    changes=MappingProxyType(dict.fromkeys(LimitChange, 0)),
)

log = logging.getLogger(__name__)


class Sampler:
    """All that is known of this node, once a tick."""

    def __init__(
        self,
        *,
        backend: str,
        devices: Sequence[Device],
        ledger: Ledger,
        meters: Mapping[str, Meter],
        store: DocumentStore,
        unsaved: Mapping[str, str | None],
        clock: Clock,
        interval_ns: int,
        controls: Callable[[], Mapping[str, PowerControl]],
    ) -> None:
        """Wire the heartbeat.

        Args:
            backend: Name of the backend, or ``none``.
            devices: In order of index.
            ledger: Restored from ``store``.
            meters: One per device, restored from ``store``.
            store: Where both are written.
            unsaved: Documents to be written together with those of the first tick.
            clock: The time.
            interval_ns: From tick to tick.
            controls: Leases and writability by device UUID; must not block.
        """
        self._backend = backend
        self._devices = tuple(devices)
        self._ledger = ledger
        self._meters = dict(meters)
        self._store = store
        self._unsaved = dict(unsaved)
        self._clock = clock
        self._stale_ns = max(FRESH_NS, 3 * interval_ns)
        self._controls = controls
        self._lock = threading.Lock()
        self._inbox: dict[str, deque[Reading]] = {d.uuid: deque(maxlen=64) for d in devices}
        self._latest: dict[str, Reading] = {}
        self._written: dict[str, MeterState] = {}
        self._shown_uj: dict[str, int] = {}
        self._sources: dict[str, EnergySource] = {}
        self._next_beat_ns = 0
        self._errors: dict[tuple[str, str, str], int] = {}
        self._buckets = [0] * (len(TICK_BUCKETS_SECONDS) + 1)
        self._ticks, self._ticks_ns = 0, 0
        self._save_failing = False
        self._snapshot: Snapshot | None = None

    @property
    def snapshot(self) -> Snapshot | None:
        """The last published snapshot, None before the first tick. Any thread."""
        return self._snapshot

    def deliver(self, uuid: str, reading: Reading) -> None:
        """Take a reading of one device. Called by that device's reader."""
        self._inbox[uuid].append(reading)

    def mark_limit_write(self, uuid: str) -> None:
        """Note that a device's limit is being written now. Any thread."""
        with self._lock:
            self._ledger.mark_limit_write(uuid, self._clock.monotonic_ns())

    def push(self, push: Push) -> PushAnswer:
        """Take a push. Any thread; waits for the ledger's lock only.

        Raises:
            PushError: The push was refused.
        """
        with self._lock:
            return self._ledger.push(push, self._clock.monotonic_ns(), self._clock.wall_seconds())

    def count_refused_push(self) -> None:
        """Count a push that was too broken to become one. Any thread."""
        with self._lock:
            self._ledger.pushes[PushResult.REJECTED] += 1

    def uuid_of_index(self, index: int) -> str | None:
        """Return the UUID of the device with an index, None where there is none. Any thread."""
        return next((d.uuid for d in self._devices if d.index == index), None)

    def is_ticking(self) -> bool:
        """Tell whether the last tick is recent. Any thread; asks no driver."""
        snapshot = self._snapshot
        if snapshot is None:
            return False
        return self._clock.monotonic_ns() - snapshot.at_ns < 5 * self._stale_ns

    def tick(self, *, last: bool = False) -> None:
        """Do one heartbeat. Never raises for a driver's or a disk's failure.

        Args:
            last: Write everything down, as no other tick will. Else that is done once a second,
                and when a run changed.
        """
        began_ns = self._clock.monotonic_ns()
        wall_seconds = self._clock.wall_seconds()
        # Taken before the readings: a lease that ends meanwhile must not look as if its limit
        # had been in force without it.
        controls = self._controls()
        beat = last or began_ns >= self._next_beat_ns
        with self._lock:
            for device in self._devices:
                self._take_readings(device.uuid)
            self._ledger.advance(began_ns, wall_seconds, beat=beat)
            documents = self._documents() if beat or self._ledger.dirty else None
            runs = self._ledger.run_states(wall_seconds)
            budgets = self._ledger.budget_states()
            unattributed = {
                device.uuid: self._ledger.unattributed_uj(device.uuid) for device in self._devices
            }
        if beat:
            self._next_beat_ns = began_ns + BEAT_NS
        if documents is not None:
            self._write(documents)
        took_ns = self._clock.monotonic_ns() - began_ns
        self._ticks += 1
        self._ticks_ns += took_ns
        self._buckets[bisect_left(TICK_BUCKETS_SECONDS, ns_to_seconds(took_ns))] += 1
        self._snapshot = self._snapshot_of(
            began_ns, wall_seconds, controls, runs, budgets, unattributed
        )

    def _take_readings(self, uuid: str) -> None:
        inbox, meter = self._inbox[uuid], self._meters[uuid]
        while inbox:
            reading = inbox.popleft()
            self._latest[uuid] = reading
            for failed in reading.errors:
                key = (uuid, failed.call, failed.error)
                if key not in self._errors:
                    log.warning(
                        "event=driver_call_failed gpu_uuid=%s call=%s error=%s",
                        uuid, failed.call, failed.error,
                    )  # fmt: skip
                self._errors[key] = self._errors.get(key, 0) + 1
            known, state = meter.observe(reading), meter.state
            if state is not None:
                self._note_source(uuid, state.source)
                if known:
                    self._ledger.observe(
                        uuid, reading.at_ns, state.total_uj, reading.limits.in_force_watts
                    )

    def _note_source(self, uuid: str, source: EnergySource) -> None:
        if self._sources.get(uuid, source) is not source:
            log.warning("event=energy_source_changed gpu_uuid=%s source=%s", uuid, source)
        self._sources[uuid] = source

    def _documents(self) -> dict[str, str | None]:
        documents = self._unsaved | changed_documents(self._ledger)
        for uuid, meter in self._meters.items():
            record, state = meter.record, meter.state
            if record is not None and state is not None:
                documents[METER + uuid] = record.to_document()
                self._written[uuid] = state
        return documents

    def _write(self, documents: Mapping[str, str | None]) -> None:
        """Write before publishing: a counter that was scraped must never fall after a crash."""
        try:
            self._store.save(documents)
        except StateError as error:
            # Showing true numbers that a crash could take back beats showing nothing.
            if not self._save_failing:
                log.warning("event=state_save_failed error=%r", str(error))
            self._save_failing = True
            # Half of them later would be worse: a device's account without the run it credited.
            self._unsaved = dict(documents)
            key = ("", "save_state", "StateError")
            self._errors[key] = self._errors.get(key, 0) + 1
        else:
            self._save_failing = False
            self._unsaved = {}

    def _snapshot_of(
        self,
        began_ns: int,
        wall_seconds: float,
        controls: Mapping[str, PowerControl],
        runs: tuple[RunState, ...],
        budgets: tuple[BudgetState, ...],
        unattributed: Mapping[str, Mapping[UnattributedReason, int]],
    ) -> Snapshot:
        return Snapshot(
            at_ns=began_ns,
            wall_seconds=wall_seconds,
            backend=self._backend,
            devices=tuple(
                self._device_state(
                    device,
                    began_ns,
                    controls.get(device.uuid, NO_CONTROL),
                    unattributed[device.uuid],
                )
                for device in self._devices
            ),
            runs=runs,
            budgets=budgets,
            pushes=MappingProxyType(dict(self._ledger.pushes)),
            pushes_adjusted=self._ledger.adjusted,
            ticks=TickStats(
                count=self._ticks,
                sum_seconds=ns_to_seconds(self._ticks_ns),
                buckets=tuple(self._buckets),
                last_seconds=wall_seconds,
                errors=MappingProxyType(dict(self._errors)),
            ),
        )

    def _device_state(
        self,
        device: Device,
        now_ns: int,
        control: PowerControl,
        unattributed_uj: Mapping[UnattributedReason, int],
    ) -> DeviceState:
        reading = self._latest.get(device.uuid)
        fresh = reading is not None and now_ns - reading.at_ns <= self._stale_ns
        return DeviceState(
            device=device,
            up=reading is not None and fresh and not reading.errors,
            reading=reading if fresh else None,
            meter=self._meter_state(device.uuid),
            unattributed_uj=unattributed_uj,
            control=control,
        )

    def _meter_state(self, uuid: str) -> MeterState | None:
        """Return what may be shown: the register as it is, what only we know as it is on disk.

        The register runs on without us; what we remember would fall back to what was written.
        """
        live, written = self._meters[uuid].state, self._written.get(uuid)
        if live is None or (live.remembered and written is None):
            return None
        known = written if live.remembered and written else live
        # Between the two the total stands still until what is on disk has caught up.
        total_uj = self._shown_uj[uuid] = max(known.total_uj, self._shown_uj.get(uuid, 0))
        return replace(
            live,
            at_ns=known.at_ns,
            total_uj=total_uj,
            integrated_uj=written.integrated_uj if written else None,
        )
