"""What a lease request comes to: every check, and nothing changed yet."""

import re
from dataclasses import asdict, dataclass

from joulestat.domain.clock import Clock
from joulestat.domain.errors import (
    DeviceError,
    InvalidLease,
    LeaseHeld,
    LimitWriteFailed,
    TooManyWrites,
)
from joulestat.domain.limit import GrantOutcome, Lease, LeaseRequest
from joulestat.domain.units import (
    LIMIT_TOLERANCE_WATTS,
    ns_to_seconds,
    same_limit,
    seconds_to_ns,
)
from joulestat.power.controlled import ControlledDevice, Ending
from joulestat.power.journal_rows import digest
from joulestat.power.leases import (
    LeasePolicy,
    LeaseRecord,
    Standing,
    checked,
    plain_text,
    standing,
)
from joulestat.power.meant import Meant
from joulestat.power.policy import check_step

_IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,128}")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, with who asked and under which key.

    Attributes:
        request: As it came.
        principal: Whose token it was.
        meant: Which lease or revision it is meant for.
        key: Scope of the idempotency key, None without one; see ``Answer``.
        fingerprint: Hash of the request, to tell whether a key is used for another one.
    """

    request: LeaseRequest
    principal: str
    meant: Meant
    key: str | None
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A request that passed every check, and what it comes to.

    Attributes:
        asked: The request.
        outcome: What it will be called.
        lease: What will be held.
        live: The lease in force that it renews, changes or takes over.
        ending: The unfinished end of an earlier lease, whose baseline this one inherits.
        found_watts: The limit before.
        writes: Whether the hardware has to be written.
        ours_watts: Limits of our own doing that the hardware may stand at until it is done.
    """

    asked: Asked
    outcome: GrantOutcome
    lease: Lease
    live: LeaseRecord | None
    ending: Ending | None
    found_watts: float
    writes: bool
    ours_watts: tuple[float, ...]


def ask(
    device_uuid: str,
    request: LeaseRequest,
    principal: str,
    idempotency_key: str | None,
    if_match: int | None,
) -> Asked:
    """Return a request with its key.

    Raises:
        InvalidLease: The key is not one.
    """
    if idempotency_key is not None and not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
        raise InvalidLease(
            "the Idempotency-Key is not 1 to 128 printable ASCII characters without spaces",
            field="Idempotency-Key",
            value=plain_text(idempotency_key)[:128],
            allowed="1..128 printable ASCII characters",
        )
    key = None if idempotency_key is None else digest(principal, device_uuid, idempotency_key)
    meant = Meant(request.fencing_token, if_match)
    # Without what was not said: an answer from before it could be said is still found.
    said = {name: value for name, value in asdict(request).items() if value is not None}
    return Asked(request, plain_text(principal), meant, key, digest(said))


def plan(device: ControlledDevice, asked: Asked, policy: LeasePolicy, clock: Clock) -> Plan:
    """Check a request, changing nothing but that a lease whose time is over counts as over.

    Raises:
        LeaseLost: The lease or the revision that it was meant for is over.
        InvalidLease: A value is outside what is allowed.
        LeaseHeld: Another holder has the lease.
        TooManyWrites: The hardware was written too often lately.
        LimitWriteFailed: The driver does not answer, or stands where it could not go back to.
    """
    now_ns = clock.boottime_ns()
    # Before the driver is called, which may take long: an end asked for meanwhile is for this
    # lease too.
    ending, live = device.ending, device.live_record(now_ns)
    device.notice_end(now_ns)
    asked.meant.check_current(device.uuid, *device.in_force.shown)
    try:
        range_watts = device.range_watts()
        request = checked(asked.request, policy, range_watts, device.model)
        own = live is not None and _owns(live.lease, request, asked.principal)
        if live is not None and not own and not request.takeover:
            raise _held(live.lease, now_ns)
        found_watts = device.read_watts()
    except DeviceError as error:
        raise LimitWriteFailed(
            f"the driver of {device.uuid} cannot be asked ({error}); nothing was written"
        ) from error
    target_watts = request.power_limit_watts
    renews = own and live is not None and same_limit(target_watts, live.lease.target_watts)
    if renews and live is not None:
        target_watts = live.lease.target_watts
    writes = not renews and not same_limit(found_watts, target_watts)
    if writes:
        check_step(found_watts, target_watts, policy, device.model, range_watts)
        _check_rate(device, now_ns)
    baseline_watts, before = _inherited(device.record, ending, found_watts, renews=renews)
    _check_way_back(device.uuid, baseline_watts, range_watts)
    lease = Lease(
        device_uuid=device.uuid,
        holder=request.holder,
        principal=asked.principal,
        reason=request.reason,
        target_watts=target_watts,
        baseline_watts=baseline_watts,
        expires_boottime_ns=now_ns + seconds_to_ns(request.ttl_seconds),
        expires_seconds=clock.wall_seconds() + request.ttl_seconds,
        fencing_token=_token(device, live, own=own),
    )
    outcome = GrantOutcome.GRANTED
    if own:
        outcome = GrantOutcome.RENEWED if renews else GrantOutcome.CHANGED
    ours_watts = before if renews else (*before, target_watts)
    return Plan(asked, outcome, lease, live, ending, found_watts, writes, ours_watts)


def _inherited(
    record: LeaseRecord | None, ending: Ending | None, found_watts: float, *, renews: bool
) -> tuple[float, tuple[float, ...]]:
    """Return the baseline, and the limits of our own doing so far.

    A limit that somebody else set meanwhile is what a new or changed lease goes back to:
    the older baseline is no longer what the host wants.
    """
    if record is None or (ending is not None and ending.done is not None):
        return found_watts, ()
    if not renews and standing(found_watts, record) is Standing.FOREIGN:
        return found_watts, ()
    return record.lease.baseline_watts, record.ours_watts


def _token(device: ControlledDevice, live: LeaseRecord | None, *, own: bool) -> int:
    """Return the number of the acquisition: one's own lease keeps it."""
    if own and live is not None:
        return live.lease.fencing_token
    return device.in_force.last_token + 1


def _owns(lease: Lease, request: LeaseRequest, principal: str) -> bool:
    """Tell whether a lease is the asker's own: two clients may give themselves one name."""
    return (lease.holder, lease.principal) == (request.holder, principal)


def _held(lease: Lease, now_ns: int) -> LeaseHeld:
    expires_in_seconds = ns_to_seconds(lease.expires_boottime_ns - now_ns)
    return LeaseHeld(
        f"{lease.device_uuid} is leased by {lease.holder!r} (token of {lease.principal!r}) for "
        f"another {expires_in_seconds:.0f} s; wait, or ask with takeover",
        holder=lease.holder,
        expires_in_seconds=expires_in_seconds,
    )


def _check_rate(device: ControlledDevice, now_ns: int) -> None:
    wait_seconds = device.in_force.rate.wait_seconds(now_ns)
    if wait_seconds > 0:
        raise TooManyWrites(
            f"the limit of {device.uuid} was written too often lately; it may be written "
            f"again in {wait_seconds:.1f} s",
            retry_after_seconds=wait_seconds,
        )


def _check_way_back(uuid: str, baseline_watts: float, range_watts: tuple[float, float]) -> None:
    low_watts, high_watts = range_watts
    within = low_watts - LIMIT_TOLERANCE_WATTS <= baseline_watts
    if not within or baseline_watts > high_watts + LIMIT_TOLERANCE_WATTS:
        raise LimitWriteFailed(
            f"{uuid} stands at {baseline_watts:g} W, outside of the {low_watts:g} to "
            f"{high_watts:g} W that its driver accepts: it could not be put back, so nothing was "
            "written"
        )
