"""One device under control: its driver, and what is known of its lease."""

import logging
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

from joulestat.devices.backend import Limiter
from joulestat.domain.errors import (
    DeviceError,
    LimitPermissionDenied,
    LimitRefused,
    LimitWriteFailed,
    UnknownDevice,
)
from joulestat.domain.limit import LimitChange, PowerControl, Revert
from joulestat.domain.units import same_limit, seconds_to_ns
from joulestat.power.in_force import InForce
from joulestat.power.leases import LeaseRecord, LeaseState, plain_text
from joulestat.power.meant import ANY, Meant
from joulestat.power.policy import LeasePolicy
from joulestat.power.write_rate import WriteRate

_LOG = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 0.5
MAX_RETRY_SECONDS = 30.0

OnWrite = Callable[[str], None]
"""Called with a device's UUID right before its limit is written."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one write to the hardware.

    Attributes:
        result: applied, refused or failed.
        seen_watts: The limit read afterwards, None where it could not be read.
        problem: What went wrong, for people; empty when applied.
    """

    result: LimitChange
    seen_watts: float | None
    problem: str = ""


@dataclass(slots=True)
class Ending:
    """A lease that is over, until the baseline is back and the journal knows.

    Attributes:
        cause: Why; see ``EndCause``.
        principal: Who asked for it.
        meant: Which lease it is for, should another one have come into force meanwhile.
        intent_seq: Number of the audit record that announced it.
        done: What became of the hardware; then only the journal still has to forget.
        retry_at_ns: CLOCK_BOOTTIME of the next attempt.
        delay_seconds: From the last attempt to the next one.
    """

    cause: str
    principal: str
    meant: Meant = ANY
    intent_seq: int | None = None
    done: Revert | None = None
    retry_at_ns: int = 0
    delay_seconds: float = 0.0

    def put_off(self, now_ns: int) -> None:
        """Schedule the next attempt, twice as late as the last one, at most every 30 s."""
        self.delay_seconds = min(MAX_RETRY_SECONDS, 2 * self.delay_seconds or FIRST_RETRY_SECONDS)
        self.retry_at_ns = now_ns + seconds_to_ns(self.delay_seconds)


class ControlledDevice:
    """One device. Whoever holds ``lock`` may call and change it; ``control`` anyone may read.

    Attributes:
        uuid: Which device.
        model: As its driver names it, empty where that is not known.
        last_watts: Its limit as read last, None before the first time.
        lock: Held around every call of the driver, because it bears one at a time only.
        record: What the journal says of the lease, None without one.
        ending: Set when the lease is over; also by threads that wait for the lock in vain.
        drift: Somebody else changed the limit.
        in_force: The lease in force, the numbers that outlive it, how often writes may be.
        look_at_ns: CLOCK_BOOTTIME when the leased limit is next compared with the hardware.
        control: The published state.
    """

    def __init__(
        self,
        uuid: str,
        limiter: Limiter,
        policy: LeasePolicy,
        on_write: OnWrite | None,
        model: str = "",
    ) -> None:
        self.uuid = uuid
        self.model = model
        self.lock = threading.Lock()
        self.record: LeaseRecord | None = None
        self.ending: Ending | None = None
        self.drift = False
        rate = WriteRate(interval_seconds=policy.write_interval_seconds, burst=policy.write_burst)
        self.in_force = InForce(uuid, rate)
        self.look_at_ns = 0
        self.last_watts: float | None = None
        self._bounds = policy.bounds_of(model)
        self._limiter = limiter
        self._on_write = on_write
        self._timeout_seconds = policy.driver_timeout_seconds
        self._range_watts: tuple[float, float] | None = None
        self._writable = True
        self._told: dict[str, str] = {}
        self._changes_lock = threading.Lock()
        self._changes = dict.fromkeys(LimitChange, 0)
        self.control = self._published()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock, or give up after the policy's time.

        Raises:
            LimitWriteFailed: An earlier call to this driver has not returned.
        """
        if not self.lock.acquire(timeout=self._timeout_seconds):
            raise LimitWriteFailed(
                f"the driver of {self.uuid} has not answered an earlier call for "
                f"{self._timeout_seconds:g} s; nothing was written, try again later"
            )
        try:
            yield
        finally:
            self.lock.release()

    def live_record(self, now_ns: int) -> LeaseRecord | None:
        """Return the lease in force, None where there is none or it is over."""
        record = self.record
        if record is None or record.state is not LeaseState.HELD or self.ending is not None:
            return None
        return record if record.lease.expires_boottime_ns > now_ns else None

    def hold(self, record: LeaseRecord) -> None:
        """Take a granted, renewed or changed lease as the one in force."""
        self.record = record
        self.in_force.begin(record.lease)

    def let_go(self, ending: Ending | None) -> None:
        """Take no lease as in force; without an ending there is none to end either."""
        self.in_force.end()
        self.ending = ending
        if ending is None:
            self.record = None

    def notice_end(self, now_ns: int) -> None:
        """Take a lease whose time is over as over, though its baseline is not back yet."""
        if self.live_record(now_ns) is None:
            self.in_force.end()

    def is_news(self, subject: str, problem: str) -> bool:
        """Tell whether the log does not know it yet; an empty problem is the end of one."""
        told, self._told[subject] = self._told.get(subject, ""), problem
        return problem != told

    def count(self, change: LimitChange) -> None:
        """Count an attempt to change the limit. Needs no lock held."""
        with self._changes_lock:
            self._changes[change] += 1

    def publish(self) -> None:
        """Make the state as it is now the published one. Needs no lock held."""
        with self._changes_lock:
            self.control = self._published()

    def _published(self) -> PowerControl:
        lease, revision = self.in_force.shown
        return PowerControl(
            writable=self._writable,
            lease=lease,
            revision=revision,
            drift=self.drift,
            changes=MappingProxyType(dict(self._changes)),
            baseline_watts=self._baseline_watts(),
            floor_watts=self._bounds.floor_watts,
            ceiling_watts=self._bounds.ceiling_watts,
        )

    def _baseline_watts(self) -> float | None:
        """Return what is still to be put back; None without a lease, and once it is back."""
        record, ending = self.record, self.ending
        if record is None or (ending is not None and ending.done is not None):
            return None
        return record.lease.baseline_watts

    @property
    def known_range_watts(self) -> tuple[float, float] | None:
        """The range as read before, None before the first time. Needs no lock held."""
        return self._range_watts

    def range_watts(self) -> tuple[float, float]:
        """Return the lowest and highest limit, read once: the card's, not the moment's.

        Raises:
            DeviceError: The driver did not answer.
        """
        if self._range_watts is None:
            self._range_watts = self._limiter.range_watts()
        return self._range_watts

    def read_watts(self) -> float:
        """Return the limit as set now.

        Raises:
            DeviceError: The driver did not answer, or with no number.
        """
        found_watts = self._limiter.read_watts()
        if not math.isfinite(found_watts):
            raise DeviceError(
                f"the power limit of {self.uuid} reads as {found_watts}",
                call="read_watts",
                error="NOT_A_NUMBER",
            )
        self.last_watts = found_watts
        return found_watts

    def enforced_watts(self) -> float | None:
        """Return the limit really in force, None where the driver does not say."""
        try:
            return self._limiter.enforced_watts()
        except DeviceError as error:
            _LOG.info("event=enforced_limit_not_read gpu_uuid=%s error=%s", self.uuid, error.error)
            return None

    def write_watts(self, wanted_watts: float) -> Written:
        """Set the limit and read it back, also after an error: it may have been set anyway."""
        self._announce()
        problem: DeviceError | None = None
        try:
            self._limiter.write_watts(wanted_watts)
        except DeviceError as error:
            problem = error
        if problem is None:
            self._writable = True
        elif isinstance(problem, LimitPermissionDenied):
            self._writable = False
        try:
            seen_watts = self.read_watts()
        except DeviceError as error:
            return Written(_blame(problem or error), None, str(problem or error))
        if problem is not None:
            return Written(_blame(problem), seen_watts, str(problem))
        if not same_limit(seen_watts, wanted_watts):
            return Written(LimitChange.FAILED, seen_watts, f"it reads back {seen_watts:g} W")
        return Written(LimitChange.APPLIED, seen_watts)

    def _announce(self) -> None:
        if self._on_write is None:
            return
        try:
            self._on_write(self.uuid)
        except Exception:  # noqa: BLE001 - a listener must not keep a baseline from coming back
            _LOG.exception("event=limit_write_listener_failed gpu_uuid=%s", self.uuid)


def not_controlled(device_uuid: str) -> UnknownDevice:
    """Return the error about a device whose limit nobody here can set."""
    shown = plain_text(device_uuid)[:128]
    return UnknownDevice(
        f"no GPU with a power limit that can be set has the UUID {shown!r}; GET /v1/gpus lists "
        "them",
        field="gpu_uuid",
        value=shown,
    )


def _blame(error: DeviceError) -> LimitChange:
    refused = isinstance(error, LimitRefused | LimitPermissionDenied)
    return LimitChange.REFUSED if refused else LimitChange.FAILED
