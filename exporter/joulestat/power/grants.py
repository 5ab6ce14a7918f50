"""Granting a lease: check, intent to disk, hardware, read back, result to disk, answer."""

import logging
from collections.abc import Mapping

from joulestat.domain.clock import Clock
from joulestat.domain.errors import ControlReadOnly, InvalidLease, LimitWriteFailed
from joulestat.domain.limit import Grant, GrantOutcome, Lease, LimitChange
from joulestat.power.audit import AuditPhase, AuditValue
from joulestat.power.bookkeeping import Bookkeeping
from joulestat.power.controlled import ControlledDevice, Ending, Written
from joulestat.power.journal_rows import Answer
from joulestat.power.leases import EndCause, LeaseRecord, LeaseState
from joulestat.power.planning import Asked, Plan
from joulestat.power.reverts import Reverter

_LOG = logging.getLogger(__name__)


class Granter:
    """Grants leases. The caller holds the device's lock."""

    def __init__(self, books: Bookkeeping, reverter: Reverter, clock: Clock) -> None:
        self._books = books
        self._reverter = reverter
        self._clock = clock

    def repeat(self, asked: Asked) -> Grant | None:
        """Return what the same request was answered before, None where it is new.

        Raises:
            InvalidLease: The key was used for another request.
            ControlReadOnly: Earlier answers cannot be read.
        """
        answer = None if asked.key is None else self._books.answer(asked.key)
        if answer is None:
            return None
        if answer.fingerprint != asked.fingerprint:
            raise InvalidLease(
                "this Idempotency-Key was used for another request in the last 24 hours; take a "
                "new key for a new request",
                field="Idempotency-Key",
                value="(not repeated here)",
                allowed="a key of its own for each request",
            )
        return answer.grant

    def rehearse(self, device: ControlledDevice, plan: Plan) -> Grant:
        """Return what a request would be answered; nothing is read back, because nothing is done.

        Raises:
            ControlReadOnly: It could not be recorded.
        """
        self._books.require()
        self._books.try_note(AuditPhase.EVENT, "dry_run", **_about(plan.lease))
        revision = device.in_force.revision
        return Grant(plan.outcome, plan.lease, None, None, dry_run=True, revision=revision)

    def intend(self, device: ControlledDevice, plan: Plan) -> int:
        """Put the intent on the disk, before the hardware; return its audit number.

        Raises:
            ControlReadOnly: It cannot be recorded; nothing was changed.
        """
        lease = plan.lease
        intent_seq = self._books.intend(
            "grant",
            **_about(lease),
            ttl_seconds=plan.asked.request.ttl_seconds,
            takeover=plan.asked.request.takeover or None,
            before_watts=plan.found_watts,
            idempotency_key_sha256=plan.asked.key,
        )
        if plan.live is not None:
            self._reverter.note_drift(device, plan.live, plan.found_watts)
        # Given out or not, it is used up from here on.
        device.in_force.last_token = max(device.in_force.last_token, lease.fencing_token)
        if plan.writes:
            intent = self._record(plan, LeaseState.INTENT, plan.ours_watts)
            rate = device.in_force.rate
            before_ns = rate.empty_at_ns
            # On the disk with the intent: dying between the two does not earn writes back.
            rate.take(self._clock.boottime_ns())
            try:
                self._books.keep_intent(device, intent)
            except ControlReadOnly as error:
                rate.empty_at_ns = before_ns
                self._conclude(plan, intent_seq, "refused", detail=str(error))
                raise
            device.record = intent
        return intent_seq

    def carry_out(self, device: ControlledDevice, plan: Plan, intent_seq: int) -> Grant:
        """Write the hardware where that is needed, read back, record, answer.

        Raises:
            LimitWriteFailed: The driver refused or reads back another limit.
            ControlReadOnly: The result cannot be recorded.
        """
        seen_watts = plan.found_watts
        if plan.writes:
            written = device.write_watts(plan.lease.target_watts)
            if written.result is not LimitChange.APPLIED or written.seen_watts is None:
                raise self._failed(device, plan, intent_seq, written)
            seen_watts = written.seen_watts
            if device.is_news("write", ""):
                _LOG.info("event=limit_set_again gpu_uuid=%s", device.uuid)
        enforced_watts = device.enforced_watts()
        revision = device.in_force.revision + 1
        grant = Grant(plan.outcome, plan.lease, seen_watts, enforced_watts, revision=revision)
        ours_watts = (plan.lease.target_watts, seen_watts) if plan.writes else plan.ours_watts
        held = self._record(plan, LeaseState.HELD, ours_watts)
        try:
            self._books.keep_held(device, held, self._answer(plan.asked, grant))
        except ControlReadOnly as error:
            now = self._undo(device, plan, seen_watts) if plan.writes else "nothing was written"
            device.count(LimitChange.FAILED)
            self._conclude(plan, intent_seq, "failed", detail=f"{error}; {now}")
            raise ControlReadOnly(f"{error}; {now}") from error
        asked_meanwhile = None if device.ending is plan.ending else device.ending
        if asked_meanwhile is None or not asked_meanwhile.meant.covers(held.lease):
            device.ending = None
        device.hold(held)
        if plan.outcome is not GrantOutcome.RENEWED:
            device.drift = False
        device.count(LimitChange.APPLIED if plan.writes else LimitChange.UNCHANGED)
        self._conclude(
            plan,
            intent_seq,
            plan.outcome.value,
            applied_watts=grant.applied_watts,
            enforced_watts=grant.enforced_watts,
        )
        return grant

    def _failed(
        self, device: ControlledDevice, plan: Plan, intent_seq: int, written: Written
    ) -> LimitWriteFailed:
        device.count(written.result)
        if device.is_news("write", written.problem):
            _LOG.warning(
                "event=limit_not_set gpu_uuid=%s asked_watts=%g problem=%r",
                device.uuid,
                plan.lease.target_watts,
                written.problem,
            )
        now = self._undo(device, plan, written.seen_watts)
        self._conclude(plan, intent_seq, written.result.value, detail=f"{written.problem}; {now}")
        return LimitWriteFailed(
            f"{plan.lease.target_watts:g} W could not be set on {device.uuid}: "
            f"{written.problem}; {now}"
        )

    def _undo(self, device: ControlledDevice, plan: Plan, seen_watts: float | None) -> str:
        """Put back what stood there before the write; return what came of it, for people."""
        # A lease still in force goes on at what stood there: its own target, or a foreign limit.
        wanted_watts = plan.lease.baseline_watts if plan.live is None else plan.found_watts
        intent = self._record(plan, LeaseState.INTENT, plan.ours_watts).with_ours(seen_watts)
        back, intent = self._reverter.put_back(device, wanted_watts, intent)
        if back and plan.live is not None:
            self._books.try_keep(device, plan.live)
            device.record = plan.live
            return f"the lease of {plan.live.lease.holder!r} at {wanted_watts:g} W goes on"
        ending = device.ending or Ending(EndCause.WRITE_FAILED, plan.asked.principal)
        if back and self._books.try_forget(device):
            device.let_go(None)
            return f"{wanted_watts:g} W is back"
        device.record = intent
        device.let_go(ending)
        self._books.try_keep(device, intent)
        return f"{wanted_watts:g} W could not be put back yet, which is tried again until it is"

    def _record(self, plan: Plan, state: LeaseState, ours_watts: tuple[float, ...]) -> LeaseRecord:
        record = LeaseRecord(plan.lease, state, self._clock.boot_id(), ours_watts=())
        return record.with_ours(*ours_watts)

    def _answer(self, asked: Asked, grant: Grant) -> Answer | None:
        if asked.key is None:
            return None
        return Answer(
            scope=asked.key,
            fingerprint=asked.fingerprint,
            grant=grant,
            boot_id=self._clock.boot_id(),
            boottime_ns=self._clock.boottime_ns(),
            wall_seconds=self._clock.wall_seconds(),
        )

    def _conclude(self, plan: Plan, intent_seq: int, outcome: str, **members: AuditValue) -> None:
        self._books.try_note(
            AuditPhase.RESULT,
            "grant",
            intent_seq=intent_seq,
            gpu_uuid=plan.lease.device_uuid,
            holder=plan.lease.holder,
            principal=plan.lease.principal,
            outcome=outcome,
            **members,
        )


def _about(lease: Lease) -> Mapping[str, AuditValue]:
    return {
        "gpu_uuid": lease.device_uuid,
        "holder": lease.holder,
        "principal": lease.principal,
        "reason": lease.reason,
        "asked_watts": lease.target_watts,
        "baseline_watts": lease.baseline_watts,
        "expires_boottime_ns": lease.expires_boottime_ns,
        "fencing_token": lease.fencing_token,
    }
