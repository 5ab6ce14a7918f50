"""Ending leases under their devices' locks, alone or many at once; what the loop calls."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TypeVar

from joulestat.domain.clock import Clock
from joulestat.domain.limit import LimitChange, Revert
from joulestat.power.controlled import ControlledDevice, Ending
from joulestat.power.leases import OURSELVES, EndCause, LeasePolicy, plain_text
from joulestat.power.meant import ANY, Meant
from joulestat.power.reverts import Reverter
from joulestat.power.side_by_side import FAILED, Spawn, on_a_thread_or_here, side_by_side

_LOG = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")


class Endings:
    """Ends leases of devices that nobody has locked yet. Any thread may call any method."""

    def __init__(
        self,
        reverter: Reverter,
        clock: Clock,
        policy: LeasePolicy,
        spawn: Spawn,
        publish: Callable[[ControlledDevice], None],
    ) -> None:
        self._reverter = reverter
        self._clock = clock
        self._timeout_seconds = policy.driver_timeout_seconds
        self._spawn = spawn
        self._publish = publish
        self._in_line: set[str] = set()
        self._line_lock = threading.Lock()

    def end(
        self, device: ControlledDevice, cause: str, principal: str, meant: Meant = ANY
    ) -> Revert:
        """End a device's lease; where its driver is busy for too long, ``tend`` will.

        Raises:
            LeaseHeld: A holder was meant, and another one has the lease.
            LeaseLost: A lease or a revision was meant that is over.
        """
        self._check(device, meant)
        principal = plain_text(principal)
        if not device.lock.acquire(timeout=self._timeout_seconds):
            device.ending = device.ending or Ending(cause, principal, meant)
            return FAILED
        try:
            if meant is not ANY:
                # Again, now that it cannot change any more.
                device.notice_end(self._clock.boottime_ns())
                self._publish(device)
                self._check(device, meant)
            job = partial(self._reverter.end, device, cause, principal)
            return self._surviving(device, job) or FAILED
        finally:
            device.lock.release()

    def end_each(
        self, devices: Iterable[ControlledDevice], cause: str, principal: str
    ) -> Mapping[str, Revert]:
        """End the leases of several devices; a driver that hangs keeps none of the others."""
        jobs = {device.uuid: partial(self.end, device, cause, principal) for device in devices}
        return side_by_side(jobs, self._spawn, self._timeout_seconds, failed=FAILED)

    def tend(self, devices: Iterable[ControlledDevice]) -> None:
        """End what is due, retry what failed, look after what is held.

        Whoever sends request after request for a device holds its lock whenever one looks, so an
        end waits in line with them, on a thread of its own, one for each device.
        """
        now_ns = self._clock.boottime_ns()
        for device in devices:
            if not self._reverter.due(device, now_ns):
                continue
            if not device.lock.locked():
                on_a_thread_or_here(partial(self._tend, device, in_line=False), self._spawn)
            elif device.live_record(now_ns) is None and self._takes_place_in_line(device):
                try:
                    self._spawn(partial(self._tend, device, in_line=True))
                except BaseException as error:
                    self._leaves_line(device)
                    # No more threads: to wait here would hold up the others, so at the next look.
                    if not isinstance(error, RuntimeError):
                        raise

    def _tend(self, device: ControlledDevice, *, in_line: bool) -> None:
        try:
            if not device.lock.acquire(timeout=self._timeout_seconds if in_line else 0):
                return
            try:
                self._surviving(device, partial(self._reverter.tend, device))
            finally:
                device.lock.release()
        finally:
            if in_line:
                self._leaves_line(device)

    def _takes_place_in_line(self, device: ControlledDevice) -> bool:
        """Tell whether nobody waits for this device's end yet; from now on somebody does."""
        with self._line_lock:
            is_first = device.uuid not in self._in_line
            self._in_line.add(device.uuid)
            return is_first

    def _leaves_line(self, device: ControlledDevice) -> None:
        with self._line_lock:
            self._in_line.discard(device.uuid)

    def _surviving(self, device: ControlledDevice, job: Callable[[], _Answer]) -> _Answer | None:
        """Return a job's answer; None after what no limiter should raise, to try again later."""
        try:
            return job()
        except Exception:  # noqa: BLE001 - one device's surprise must not strand the others
            _LOG.exception("event=lease_end_failed gpu_uuid=%s", device.uuid)
            device.ending = device.ending or Ending(EndCause.WRITE_FAILED, OURSELVES)
            device.ending.put_off(self._clock.boottime_ns())
            device.count(LimitChange.FAILED)
            return None
        finally:
            self._publish(device)

    def _check(self, device: ControlledDevice, meant: Meant) -> None:
        lease, revision = device.in_force.shown
        meant.check_current(device.uuid, lease, revision)
        meant.check_holder(device.uuid, lease, self._clock.boottime_ns())
