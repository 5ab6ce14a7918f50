"""The governor: who holds which device's power limit, and until when."""

import logging
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from types import MappingProxyType

from joulestat.devices.backend import Limiter
from joulestat.domain.clock import Clock
from joulestat.domain.errors import ControlReadOnly, DeviceError, LeaseError
from joulestat.domain.limit import (
    Grant,
    Lease,
    LeaseRequest,
    PowerControl,
    Revert,
)
from joulestat.power.audit import Audit
from joulestat.power.bookkeeping import Bookkeeping
from joulestat.power.controlled import ControlledDevice, OnWrite, not_controlled
from joulestat.power.endings import Endings
from joulestat.power.grants import Granter
from joulestat.power.journal import Journal
from joulestat.power.leases import OURSELVES, EndCause
from joulestat.power.meant import Meant
from joulestat.power.node_ceiling import NodeCeiling
from joulestat.power.planning import ask, plan
from joulestat.power.policy import LeasePolicy
from joulestat.power.recovery import take_up
from joulestat.power.refusals import Refusals
from joulestat.power.request_rate import RequestRate
from joulestat.power.reverts import Reverter
from joulestat.power.side_by_side import Spawn, one_after_the_other

_LOG = logging.getLogger(__name__)


class Governor:
    """Grants, renews, changes and ends leases.

    Any thread may call any method. Calls of one device's driver are made one at a time; devices
    do not wait for each other, and the tables are never locked while a driver is called.
    ``lease`` and ``controls`` lock nothing.
    """

    def __init__(
        self,
        limiters: Mapping[str, Limiter],
        journal: Journal,
        audit: Audit,
        clock: Clock,
        policy: LeasePolicy,
        *,
        on_write: OnWrite | None = None,
        spawn: Spawn = one_after_the_other,
    ) -> None:
        """Take control of devices, without calling any of them.

        Args:
            limiters: By device UUID. A device that cannot be set is not in it.
            journal: Stays open until the caller closes it, after ``close``.
            audit: Likewise.
            clock: Times leases, on the boot-time clock.
            policy: What the host allows.
            on_write: Called with a device's UUID right before its limit is written.
            spawn: Starts a daemon thread for ``recover``, ``expire``, ``revert_all`` and
                ``close``, so that a driver that hangs keeps no other device's baseline from
                coming back. Without it they do one device after the other.
        """
        self._on_write = on_write
        self._spawn = spawn
        self._journal = journal
        self._clock = clock
        self._policy = policy
        self._books = Bookkeeping(journal, audit, clock)
        # Replaced, not changed: other threads may be walking through it.
        self._devices = self._made(limiters, {})
        self._ceiling = NodeCeiling(policy, spawn)
        self._refusals = Refusals(self._books, self._publish)
        self._rate = RequestRate(clock)
        reverter = Reverter(self._books, clock)
        self._granter = Granter(self._books, reverter, clock)
        self._endings = Endings(reverter, clock, policy, spawn, self._publish)
        self._closing = False
        self._publish_lock = threading.Lock()
        self._controls: Mapping[str, PowerControl] = MappingProxyType({})
        self._publish(*self._devices.values())

    @property
    def read_only_reason(self) -> str | None:
        """Why no lease can be granted, None where one can."""
        return "the service is stopping" if self._closing else self._books.read_only_reason

    def controls(self) -> Mapping[str, PowerControl]:
        """Return every controlled device's state; immutable, one instant per device."""
        return self._controls

    def lease(self, device_uuid: str) -> Lease | None:
        """Return the lease in force, None without one or for a device that is not controlled."""
        control = self._controls.get(device_uuid)
        return None if control is None else control.lease

    def range_watts(self, device_uuid: str) -> tuple[float, float] | None:
        """Return the lowest and highest limit a lease may hold; read once, then remembered.

        Returns:
            None while the driver has not said, and where the device is not controlled.
        """
        device = self._devices.get(device_uuid)
        if device is None or device.known_range_watts is not None:
            return None if device is None else device.known_range_watts
        try:
            with device.held():
                return device.range_watts()
        except (DeviceError, LeaseError) as error:
            _LOG.info("event=limit_range_not_read gpu_uuid=%s error=%r", device_uuid, str(error))
            return None

    def grant(
        self,
        device_uuid: str,
        request: LeaseRequest,
        *,
        principal: str,
        dry_run: bool = False,
        idempotency_key: str | None = None,
        if_match: int | None = None,
    ) -> Grant:
        """Grant, renew or change a lease, or only say what would become of the request.

        Args:
            device_uuid: Which device.
            request: What is wanted. The same holder with the same principal renews and changes
                its own lease.
            principal: Whose token it is.
            dry_run: Check only; then the key is not looked at.
            idempotency_key: The same request under the same key is done once in 24 hours and
                answered alike every time, whatever became of the lease meanwhile.
            if_match: Only where the device is at this revision still; None: at whichever.

        Raises:
            UnknownDevice: No such device, or its limit cannot be set.
            InvalidLease: A value is outside what is allowed.
            LeaseLost: The lease or the revision that it was meant for is over.
            LeaseHeld: Another holder has the lease.
            TooManyWrites: The hardware was written, or leases were asked for, too often lately.
            ControlReadOnly: The lease cannot be recorded, or the service is stopping.
            LimitWriteFailed: The driver does not answer, refused, or reads back another limit.
        """
        with ExitStack() as locks:
            with self._refusals.of_grant(
                self._devices.get(device_uuid),
                request,
                if_match=if_match,
                dry_run=dry_run,
                gpu_uuid=device_uuid,
                principal=principal,
            ):
                self._rate.take()
                device = self._known(device_uuid)
                asked = ask(device_uuid, request, principal, idempotency_key, if_match)
                locks.enter_context(device.held())
                repeated = None if dry_run else self._granter.repeat(asked)
                if repeated is not None:
                    return repeated
                planned = plan(device, asked, self._policy, self._clock)
                if planned.writes:
                    locks.callback(self._ceiling.done, device)
                    self._ceiling.claim(
                        device,
                        self._devices.values(),
                        found_watts=planned.found_watts,
                        wanted_watts=planned.lease.target_watts,
                    )
                if self._closing:
                    raise ControlReadOnly("the service is stopping and grants no more leases")
                if dry_run:
                    return self._granter.rehearse(device, planned)
                intent_seq = self._granter.intend(device, planned)
            try:
                return self._granter.carry_out(device, planned, intent_seq)
            finally:
                self._publish(device)

    def release(
        self,
        device_uuid: str,
        *,
        principal: str,
        holder: str | None = None,
        fencing_token: int | None = None,
        if_match: int | None = None,
    ) -> Revert:
        """End a lease and put the baseline back.

        Args:
            device_uuid: Which device.
            principal: Whose token it is.
            holder: End it only if this one holds it; None ends anyone's.
            fencing_token: End only the lease with this token; None ends any.
            if_match: Only where the device is at this revision still; None: at whichever.

        Returns:
            What became of it. After ``failed`` it is tried again until it succeeds.

        Raises:
            UnknownDevice: No such device, or its limit cannot be set.
            LeaseHeld: Another holder has the lease.
            LeaseLost: The lease or the revision that it was meant for is over.
        """
        device = self._known(device_uuid)
        meant = Meant(fencing_token, if_match, holder)
        with self._refusals.of_release(device, meant, gpu_uuid=device_uuid, principal=principal):
            return self._endings.end(device, EndCause.RELEASED, principal, meant)

    def revert_all(
        self, *, principal: str, cause: str = EndCause.REVERT_ALL
    ) -> Mapping[str, Revert]:
        """End every lease, whoever holds it.

        Returns:
            What became of each controlled device; ``none`` where there was no lease, ``failed``
            where the driver did not answer in time or refused, which is tried again.
        """
        return self._endings.end_each(self._devices.values(), cause, principal)

    def expire(self) -> None:
        """End leases that are due, retry what failed, notice foreign changes.

        For a loop, every 0.25 s: a limit outlives its lease by no more than that.
        """
        self._endings.tend(self._devices.values())
        self._books.look_again(self._spawn)

    def recover(self) -> Mapping[str, Revert]:
        """End what an earlier process left in the journal. Once, before anything else.

        A lease of an earlier boot is dropped and nothing written: limits do not survive a boot.
        A lease of a device that is not there stays in the journal, for when it is back.

        Returns:
            What became of each device that had a lease of this boot.
        """
        left = take_up(self._devices, self._journal, self._books, self._clock)
        self._publish(*self._devices.values())
        return self._endings.end_each(left, EndCause.RECOVERED, OURSELVES)

    def adopt(
        self, limiters: Mapping[str, Limiter], models: Mapping[str, str] = MappingProxyType({})
    ) -> Mapping[str, Revert]:
        """Take control of new devices, of these models, and ``recover`` what was left on them."""
        added = self._made(
            {uuid: each for uuid, each in limiters.items() if uuid not in self._devices}, models
        )
        # Before anybody can ask for them: a lease granted now would take the limit of one that
        # was left for the baseline.
        left = take_up(added, self._journal, self._books, self._clock, in_use=self._devices)
        self._devices = {**self._devices, **added}
        self._publish(*added.values())
        return self._endings.end_each(left, EndCause.RECOVERED, OURSELVES)

    def _made(
        self, limiters: Mapping[str, Limiter], models: Mapping[str, str]
    ) -> Mapping[str, ControlledDevice]:
        made = {
            uuid: ControlledDevice(
                uuid, limiter, self._policy, self._on_write, models.get(uuid, "")
            )
            for uuid, limiter in limiters.items()
        }
        for device in made.values():
            self._books.resume(device)
        return made

    def close(self) -> Mapping[str, Revert]:
        """Grant nothing more and end every lease, within the policy's driver timeout.

        Returns:
            As ``revert_all``. What failed stays in the journal for the next start.
        """
        self._closing = True
        return self.revert_all(principal=OURSELVES, cause=EndCause.SHUTDOWN)

    def _known(self, device_uuid: str) -> ControlledDevice:
        device = self._devices.get(device_uuid)
        if device is None:
            raise not_controlled(device_uuid)
        return device

    def _publish(self, *changed: ControlledDevice) -> None:
        with self._publish_lock:
            for device in changed:
                device.publish()
            self._controls = MappingProxyType(
                {uuid: device.control for uuid, device in self._devices.items()}
            )
