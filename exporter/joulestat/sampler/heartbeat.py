"""The heartbeat: take all readings, meter, credit, write down, publish one Snapshot.

Three kinds of thread meet here. Readers, one per device, deliver readings. The heartbeat ticks.
The HTTP loop pushes and reads ``snapshot``. One short lock guards the ledger; nothing that can
block (driver, disk) happens under it, and reading ``snapshot`` takes no lock at all.
"""

import logging
import threading
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from joulestat.domain.clock import Clock
from joulestat.domain.device import Device, Reading
from joulestat.domain.errors import StateError
from joulestat.domain.limit import LimitChange, PowerControl
from joulestat.domain.run import Push, PushAnswer, PushResult
from joulestat.domain.snapshot import (
    TICK_BUCKETS_SECONDS,
    Snapshot,
    TickStats,
)
from joulestat.domain.units import NS_PER_SECOND, ns_to_seconds
from joulestat.runs.history.keeper import HistoryKeeper
from joulestat.runs.ledger import Ledger
from joulestat.runs.memory import changed_documents
from joulestat.runs.store import DocumentStore
from joulestat.sampler.instrument import METER, Instrument

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
        ledger: Ledger,
        store: DocumentStore,
        unsaved: Mapping[str, str | None],
        clock: Clock,
        interval_ns: int,
        controls: Callable[[], Mapping[str, PowerControl]],
        control_read_only: Callable[[], bool | None] = lambda: None,
        history: HistoryKeeper | None = None,
    ) -> None:
        """Wire the heartbeat; devices come by ``adopt``.

        Args:
            ledger: Restored from ``store``.
            store: Where it and the meters are written.
            unsaved: Documents to be written together with those of the first tick.
            clock: The time.
            interval_ns: From tick to tick.
            controls: Leases and writability by device UUID; must not block.
            control_read_only: Whether no lease can be granted; must not block.
            history: Is shown every snapshot that goes with something written; None keeps none.
        """
        self._backend = "none"
        self._instruments: Mapping[str, Instrument] = {}
        self._indices: Mapping[int, str] = {}
        self._ledger = ledger
        self._store = store
        self._unsaved = dict(unsaved)
        self._clock = clock
        self._stale_ns = max(FRESH_NS, 3 * interval_ns)
        self._controls = controls
        self._control_read_only = control_read_only
        self._history = history
        self._lock = threading.Lock()
        self._next_beat_ns = 0
        self._failed_saves = 0
        self._buckets = [0] * (len(TICK_BUCKETS_SECONDS) + 1)
        self._ticks, self._ticks_ns = 0, 0
        self._save_failing = False
        self._snapshot: Snapshot | None = None

    def adopt(
        self, backend: str, devices: Sequence[Device], instrument: Callable[[Device], Instrument]
    ) -> None:
        """Take the devices that are there now. One that went stays: its counters are still true.

        Any thread, one at a time.

        Args:
            backend: Name of the backend that reads them.
            devices: As they are now; their indices may have moved.
            instrument: Makes one for a device that is new.
        """
        known = dict(self._instruments)
        for device in devices:
            if device.uuid in known:
                known[device.uuid].device = device
            else:
                known[device.uuid] = instrument(device)
        in_order = sorted(known.values(), key=lambda each: each.device.index)
        self._backend = backend
        # Replaced, not changed: other threads may be walking through it.
        self._instruments = {each.device.uuid: each for each in in_order}
        # An index that one GPU left and another one got is the other's.
        self._indices = {each.device.index: each.device.uuid for each in in_order} | {
            device.index: device.uuid for device in devices
        }

    @property
    def snapshot(self) -> Snapshot | None:
        """The last published snapshot, None before the first tick. Any thread."""
        return self._snapshot

    def deliver(self, uuid: str, reading: Reading) -> None:
        """Take a reading of one device. Called by that device's reader."""
        self._instruments[uuid].deliver(reading)

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
        return self._indices.get(index)

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
        instruments = self._instruments
        with self._lock:
            for each in instruments.values():
                each.take_readings(self._ledger, began_ns, self._stale_ns)
            self._ledger.advance(began_ns, wall_seconds, beat=beat)
            changed = self._ledger.changed_states()
            documents = self._documents() if beat or self._ledger.dirty else None
            runs = self._ledger.run_states(wall_seconds)
            budgets = self._ledger.budget_states()
            unattributed = {uuid: self._ledger.unattributed_uj(uuid) for uuid in instruments}
        if beat:
            self._next_beat_ns = began_ns + BEAT_NS
        if documents is not None:
            self._write(documents)
        devices = tuple(
            each.state(began_ns, self._stale_ns, controls.get(uuid, NO_CONTROL), unattributed[uuid])
            for uuid, each in instruments.items()
        )
        snapshot = self._snapshot = Snapshot(
            at_ns=began_ns,
            wall_seconds=wall_seconds,
            backend=self._backend,
            devices=devices,
            runs=runs,
            budgets=budgets,
            pushes=MappingProxyType(dict(self._ledger.pushes)),
            pushes_adjusted=self._ledger.adjusted,
            control_read_only=self._control_read_only(),
            ticks=self._tick_stats(began_ns, wall_seconds),
        )
        if self._history is not None and documents is not None:
            self._history.note(snapshot, changed)

    def _documents(self) -> dict[str, str | None]:
        documents = self._unsaved | changed_documents(self._ledger)
        for uuid, each in self._instruments.items():
            document = each.document()
            if document is not None:
                documents[METER + uuid] = document
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
            self._failed_saves += 1
        else:
            self._save_failing = False
            self._unsaved = {}

    def _tick_stats(self, began_ns: int, wall_seconds: float) -> TickStats:
        took_ns = self._clock.monotonic_ns() - began_ns
        self._ticks += 1
        self._ticks_ns += took_ns
        self._buckets[bisect_left(TICK_BUCKETS_SECONDS, ns_to_seconds(took_ns))] += 1
        errors = {
            (uuid, error.call, error.error): count
            for uuid, each in self._instruments.items()
            for error, count in each.errors.items()
        }
        if self._failed_saves:
            errors["", "save_state", "StateError"] = self._failed_saves
        if self._history is not None and self._history.failures:
            errors["", "save_history", "StateError"] = self._history.failures
        return TickStats(
            count=self._ticks,
            sum_seconds=ns_to_seconds(self._ticks_ns),
            buckets=tuple(self._buckets),
            last_seconds=wall_seconds,
            errors=MappingProxyType(errors),
        )
