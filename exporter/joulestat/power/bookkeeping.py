"""Journal and audit log together, in two strictnesses: a grant needs them, a revert does not."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from joulestat.domain.clock import Clock
from joulestat.domain.errors import ControlReadOnly, StateError
from joulestat.domain.units import seconds_to_ns
from joulestat.power.audit import Audit, AuditPhase, AuditValue
from joulestat.power.controlled import ControlledDevice
from joulestat.power.journal import Journal
from joulestat.power.journal_rows import Answer, DeviceNumbers
from joulestat.power.leases import LeaseRecord
from joulestat.power.side_by_side import Spawn
from joulestat.power.write_rate import WriteRate

_LOG = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 5.0

_AUDIT, _JOURNAL = "audit", "journal"

_REFUSAL_INTERVAL_SECONDS = 0.1
_REFUSAL_BURST = 10
"""Refused requests change nothing; ten a second are recorded, the rest only counted."""


class Bookkeeping:
    """Records intents, leases and results. Any thread may call any method."""

    def __init__(self, journal: Journal, audit: Audit, clock: Clock) -> None:
        self._journal = journal
        self._audit = audit
        self._clock = clock
        self._lock = threading.Lock()
        self._audit_works = True
        self._failures: dict[str, str] = {}
        self._look_at_ns = 0
        self._refusals = WriteRate(interval_seconds=_REFUSAL_INTERVAL_SECONDS, burst=_REFUSAL_BURST)
        self._n_unrecorded = 0

    @property
    def read_only_reason(self) -> str | None:
        """Why no lease can be recorded, None where one can, as far as is known."""
        return self._journal.read_only_reason or next(iter(self._failures.copy().values()), None)

    def require(self) -> None:
        """Refuse what would need the journal.

        Raises:
            ControlReadOnly: The journal is read-only.
        """
        # Not what failed before: there may be room on the disk again.
        reason = self._journal.read_only_reason
        if reason is not None:
            raise ControlReadOnly(f"no lease can be recorded, so none is granted: {reason}")

    def look_again(self, spawn: Spawn) -> None:
        """Try from time to time whether what failed works again, so that it is not told for ever.

        Args:
            spawn: Runs what may wait for a disk.
        """
        now_ns = self._clock.boottime_ns()
        if self._journal.read_only_reason is not None:
            return  # only somebody who looks after it can change that
        if self._failures and now_ns >= self._look_at_ns:
            self._look_at_ns = now_ns + seconds_to_ns(LOOK_AGAIN_SECONDS)
            spawn(self._try_both)

    def _try_both(self) -> None:
        with suppress(StateError), self._watched(_JOURNAL):
            self._journal.commit_nothing()
        if _AUDIT in self._failures:
            self.try_note(AuditPhase.EVENT, "recorded_again")

    @contextmanager
    def _watched(self, file: str) -> Iterator[None]:
        """Remember whether the last write of a file failed."""
        try:
            yield
        except StateError as error:
            self._failures[file] = str(error)
            raise
        self._failures.pop(file, None)

    def intend(self, action: str, **members: AuditValue) -> int:
        """Put an intent into the audit log, before anything happens; return its number.

        Raises:
            ControlReadOnly: It cannot be written.
        """
        self.require()
        try:
            with self._watched(_AUDIT):
                return self._audit.record(AuditPhase.INTENT, action, **members)
        except StateError as error:
            raise ControlReadOnly(
                f"the request cannot be recorded, so it is refused: {error}"
            ) from error

    def resume(self, device: ControlledDevice) -> None:
        """Let a device's numbers go on where an earlier process ended.

        Where they cannot be read, no lease is granted either: the journal is read-only then.
        """
        try:
            numbers = self._journal.numbers().get(device.uuid)
        except StateError:
            _LOG.exception("event=numbers_not_resumed gpu_uuid=%s", device.uuid)
            return
        if numbers is not None:
            device.in_force.go_on_from(numbers, self._clock.boot_id())

    def keep_intent(self, device: ControlledDevice, record: LeaseRecord) -> None:
        """Put a lease that is not yet in force on the disk, with its token and its write.

        Raises:
            ControlReadOnly: It cannot be written.
        """
        self._put(record, None, self._numbers(device))

    def keep_held(
        self, device: ControlledDevice, record: LeaseRecord, answer: Answer | None
    ) -> None:
        """Put a lease, its revision and the answer to its request on the disk.

        Raises:
            ControlReadOnly: It cannot be written.
        """
        self._put(record, answer, self._numbers(device, revisions_ahead=1))

    def _put(self, record: LeaseRecord, answer: Answer | None, numbers: DeviceNumbers) -> None:
        try:
            with self._watched(_JOURNAL):
                self._journal.put(record, answer, numbers)
        except StateError as error:
            raise ControlReadOnly(f"the lease cannot be recorded: {error}") from error

    def _numbers(self, device: ControlledDevice, *, revisions_ahead: int = 0) -> DeviceNumbers:
        return device.in_force.numbers(self._clock.boot_id(), revisions_ahead=revisions_ahead)

    def answer(self, scope: str) -> Answer | None:
        """Return what a request was answered before.

        Raises:
            ControlReadOnly: It cannot be read, so the request might be done twice.
        """
        try:
            return self._journal.answer(scope)
        except StateError as error:
            raise ControlReadOnly(f"earlier answers cannot be read: {error}") from error

    def try_keep(self, device: ControlledDevice, record: LeaseRecord) -> None:
        """Put a lease on the disk if that is possible; its former state there is safe as well."""
        try:
            with self._watched(_JOURNAL):
                self._journal.put(record, None, self._numbers(device))
        except StateError as error:
            _LOG.warning(
                "event=lease_not_recorded gpu_uuid=%s error=%r", record.lease.device_uuid, error
            )

    def try_forget(self, device: ControlledDevice) -> bool:
        """Take a device's lease off the disk; return whether it is gone."""
        return self._try_delete(device.uuid, self._numbers(device))

    def try_forget_absent(self, device_uuid: str) -> bool:
        """Take the lease of a device that is not there off the disk; return whether it is gone."""
        try:
            numbers = self._journal.numbers().get(device_uuid, DeviceNumbers(device_uuid))
        except StateError as error:
            _LOG.warning("event=numbers_not_read gpu_uuid=%s error=%r", device_uuid, error)
            return False
        ended = replace(numbers, revision=numbers.revision + 1)
        return self._try_delete(device_uuid, ended)

    def _try_delete(self, device_uuid: str, numbers: DeviceNumbers) -> bool:
        try:
            with self._watched(_JOURNAL):
                self._journal.delete(device_uuid, numbers)
        except StateError as error:
            _LOG.warning(
                "event=ended_lease_still_recorded gpu_uuid=%s error=%r", device_uuid, error
            )
            return False
        return True

    def try_note(self, phase: AuditPhase, action: str, **members: AuditValue) -> int | None:
        """Put a record into the audit log if that is possible; return its number."""
        try:
            with self._watched(_AUDIT):
                seq = self._audit.record(phase, action, **members)
        except StateError as error:
            if self._audit_works:
                _LOG.error("event=audit_not_written action=%s error=%r", action, str(error))
            self._audit_works = False
            return None
        if not self._audit_works:
            _LOG.info("event=audit_written_again seq=%d", seq)
        self._audit_works = True
        return seq

    def note_refusal(self, action: str, error: Exception, **members: AuditValue) -> None:
        """Put a refused request into the audit log, at a bounded rate."""
        with self._lock:
            now_ns = self._clock.boottime_ns()
            if self._refusals.wait_seconds(now_ns) > 0:
                self._n_unrecorded += 1
                return
            self._refusals.take(now_ns)
            unrecorded, self._n_unrecorded = self._n_unrecorded, 0
        self.try_note(
            AuditPhase.RESULT,
            action,
            outcome="refused",
            error=type(error).__name__,
            detail=str(error),
            unrecorded_refusals=unrecorded or None,
            **members,
        )
