"""The end of a lease: the baseline comes back, unless somebody else has changed the limit."""

import logging

from joulestat.domain.clock import Clock
from joulestat.domain.errors import DeviceError
from joulestat.domain.limit import LimitChange, Revert, RevertOutcome
from joulestat.domain.units import same_limit, seconds_to_ns
from joulestat.power.audit import AuditPhase
from joulestat.power.bookkeeping import Bookkeeping
from joulestat.power.controlled import ControlledDevice, Ending
from joulestat.power.leases import (
    OURSELVES,
    EndCause,
    LeaseRecord,
    LeaseState,
    Standing,
    exactly,
    standing,
    stands_as_leased,
)

_LOG = logging.getLogger(__name__)

LOOK_INTERVAL_SECONDS = 5.0
"""A held limit is compared with the hardware this often, to notice other tools."""


class Reverter:
    """Ends leases. The caller holds the device's lock."""

    def __init__(self, books: Bookkeeping, clock: Clock) -> None:
        self._books = books
        self._clock = clock

    def end(self, device: ControlledDevice, cause: str, principal: str) -> Revert:
        """End a device's lease, or go on ending it; never raises for a driver or a disk.

        Returns:
            What became of it. After ``failed`` the device stays due, at growing intervals.
        """
        record = device.record
        if record is None:
            device.ending = None
            return Revert(RevertOutcome.NONE, None)
        ending = device.ending or Ending(cause, principal)
        device.let_go(ending)
        revert = ending.done or self._settle(device, record, ending)
        if ending.done is not None and self._books.try_forget(device):
            device.let_go(None)
        else:
            ending.put_off(self._clock.boottime_ns())
        return revert

    def _settle(self, device: ControlledDevice, record: LeaseRecord, ending: Ending) -> Revert:
        first_attempt = ending.delay_seconds == 0
        if first_attempt:
            ending.intent_seq = self._books.try_note(
                AuditPhase.INTENT,
                "revert",
                gpu_uuid=device.uuid,
                cause=ending.cause,
                principal=ending.principal,
                holder=record.lease.holder,
                asked_watts=record.lease.target_watts,
                baseline_watts=record.lease.baseline_watts,
            )
        revert, change, problem = self._restore(device, record)
        device.count(change)
        if revert.outcome is not RevertOutcome.FAILED:
            ending.done = revert
        if first_attempt or ending.done is not None:
            self._tell(device, record, ending, revert, problem)
        return revert

    def _restore(
        self, device: ControlledDevice, record: LeaseRecord
    ) -> tuple[Revert, LimitChange, str]:
        """Return what became of it, how it counts, and what went wrong."""
        baseline_watts = record.lease.baseline_watts
        try:
            found_watts = device.read_watts()
        except DeviceError as error:
            return Revert(RevertOutcome.FAILED, None), LimitChange.FAILED, str(error)
        match standing(found_watts, record):
            case Standing.BASELINE:
                device.drift = False
                return Revert(RevertOutcome.RESTORED, found_watts), LimitChange.UNCHANGED, ""
            case Standing.FOREIGN:
                device.drift = True
                problem = "somebody else changed the limit; it was left alone"
                return Revert(RevertOutcome.FOREIGN, found_watts), LimitChange.FAILED, problem
            case Standing.OURS:
                pass
        # Never held up, but counted: what was put back is a write that the next lease waits for.
        device.in_force.rate.take(self._clock.boottime_ns())
        written = device.write_watts(baseline_watts)
        # The read-back decides: a driver may answer with an error and still have set it.
        if written.seen_watts is not None and same_limit(written.seen_watts, baseline_watts):
            device.drift = False
            restored = Revert(RevertOutcome.RESTORED, written.seen_watts)
            return restored, LimitChange.REVERTED, ""
        device.record = record.with_ours(written.seen_watts)
        if device.record != record:
            self._books.try_keep(device, device.record)
        return Revert(RevertOutcome.FAILED, written.seen_watts), LimitChange.FAILED, written.problem

    def _tell(
        self,
        device: ControlledDevice,
        record: LeaseRecord,
        ending: Ending,
        revert: Revert,
        problem: str,
    ) -> None:
        self._books.try_note(
            AuditPhase.RESULT,
            "revert",
            intent_seq=ending.intent_seq,
            gpu_uuid=device.uuid,
            outcome=revert.outcome.value,
            cause=ending.cause,
            found_watts=revert.limit_watts,
            baseline_watts=record.lease.baseline_watts,
            detail=problem or None,
        )
        level = logging.INFO if revert.outcome is RevertOutcome.RESTORED else logging.WARNING
        _LOG.log(
            level,
            "event=lease_ended gpu_uuid=%s cause=%s outcome=%s limit_watts=%s "
            "baseline_watts=%g problem=%r",
            device.uuid,
            ending.cause,
            revert.outcome.value,
            revert.limit_watts,
            record.lease.baseline_watts,
            problem,
        )

    def due(self, device: ControlledDevice, now_ns: int) -> bool:
        """Tell whether a device wants ``tend``. A guess where the lock is not held."""
        record, ending = device.record, device.ending
        if ending is not None:
            return now_ns >= ending.retry_at_ns
        if record is None:
            return False
        return device.live_record(now_ns) is None or now_ns >= device.look_at_ns

    def tend(self, device: ControlledDevice) -> None:
        """End what is over, try again what failed, and look after what is held."""
        now_ns = self._clock.boottime_ns()
        if not self.due(device, now_ns):
            return
        record = device.live_record(now_ns)
        if record is not None:
            self._look(device, record, now_ns)
            return
        # An intent that nobody is at work on was left by a request that died on its way.
        intent = device.record is not None and device.record.state is LeaseState.INTENT
        cause = EndCause.WRITE_FAILED if intent else EndCause.EXPIRED
        self.end(device, cause, OURSELVES)

    def _look(self, device: ControlledDevice, record: LeaseRecord, now_ns: int) -> None:
        device.look_at_ns = now_ns + seconds_to_ns(LOOK_INTERVAL_SECONDS)
        try:
            found_watts = device.read_watts()
        except DeviceError as error:
            if device.is_news("read", error.error):
                _LOG.info(
                    "event=leased_limit_not_read gpu_uuid=%s error=%s", device.uuid, error.error
                )
            return
        device.is_news("read", "")
        self.note_drift(device, record, found_watts)

    def note_drift(self, device: ControlledDevice, record: LeaseRecord, found_watts: float) -> None:
        """Compare the hardware with a lease; a change is audited once, not at every look."""
        drift = not stands_as_leased(found_watts, record)
        if drift and not device.drift:
            _LOG.warning(
                "event=limit_drift gpu_uuid=%s found_watts=%g target_watts=%g",
                device.uuid,
                found_watts,
                record.lease.target_watts,
            )
            self._books.try_note(
                AuditPhase.EVENT,
                "drift",
                gpu_uuid=device.uuid,
                holder=record.lease.holder,
                asked_watts=record.lease.target_watts,
                found_watts=found_watts,
            )
        device.drift = drift

    def put_back(
        self, device: ControlledDevice, wanted_watts: float, intent: LeaseRecord
    ) -> tuple[bool, LeaseRecord]:
        """Undo a write that went wrong.

        Returns:
            Whether the wanted limit stands, and the intent owning up to what was seen.
        """
        try:
            found_watts = device.read_watts()
        except DeviceError:
            return False, intent
        if exactly(found_watts, wanted_watts):
            return True, intent
        device.in_force.rate.take(self._clock.boottime_ns())
        written = device.write_watts(wanted_watts)
        intent = intent.with_ours(found_watts, written.seen_watts)
        seen_watts = written.seen_watts
        return seen_watts is not None and same_limit(seen_watts, wanted_watts), intent
