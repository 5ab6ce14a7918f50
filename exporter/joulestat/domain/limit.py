"""Power limits under control: leases, who holds them, what became of a write."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from joulestat.domain.device import PowerLimits


class LimitChange(StrEnum):
    """What became of an attempt to change a limit; the label ``result``."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    REFUSED = "refused"
    FAILED = "failed"
    REVERTED = "reverted"


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """What an admin client asks for.

    Attributes:
        power_limit_watts: The limit to hold, W.
        ttl_seconds: How long, from the moment it is granted.
        holder: Who will hold it; the same holder renews and changes.
        reason: Why, for the audit log.
        takeover: Take it from another holder.
        fencing_token: Only where this lease is still in force; None leaves it open.
    """

    power_limit_watts: float
    ttl_seconds: float
    holder: str
    reason: str
    takeover: bool = False
    fencing_token: int | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """A limit that is held, and its end.

    Attributes:
        device_uuid: Which GPU.
        holder: Who holds it.
        principal: Whose token asked for it.
        reason: Why.
        target_watts: The limit that is held.
        baseline_watts: The limit found before the first lease: what comes back at the end.
        expires_boottime_ns: CLOCK_BOOTTIME of the end.
        expires_seconds: Unix time of the end, for people and for Prometheus.
        fencing_token: Number of the acquisition, per device: it rises with each new lease and
            takeover, and is kept by renewals and changes. 0: granted before there were any.
    """

    device_uuid: str
    holder: str
    principal: str
    reason: str
    target_watts: float
    baseline_watts: float
    expires_boottime_ns: int
    expires_seconds: float
    fencing_token: int = 0


class GrantOutcome(StrEnum):
    """What a grant did."""

    GRANTED = "granted"
    RENEWED = "renewed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer to a lease request.

    ``applied_watts`` and ``enforced_watts`` were read back from the driver; None in a dry run.
    ``revision`` is the device's since this grant; in a dry run the one that stands.
    """

    outcome: GrantOutcome
    lease: Lease
    applied_watts: float | None
    enforced_watts: float | None
    dry_run: bool = False
    revision: int = 0


class RevertOutcome(StrEnum):
    """What ending a lease did to the hardware."""

    RESTORED = "restored"
    FOREIGN = "foreign"
    FAILED = "failed"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Revert:
    """The end of a lease.

    Attributes:
        outcome: restored (baseline is back), foreign (somebody else changed the limit
            meanwhile: left alone), failed (the driver refused; it is tried again), none (there
            was no lease).
        limit_watts: The limit read back afterwards, None where it could not be read.
    """

    outcome: RevertOutcome
    limit_watts: float | None


@dataclass(frozen=True, slots=True)
class PowerControl:
    """One device's control state, as of one tick.

    Attributes:
        writable: Whether this process may set this device's limit.
        lease: The lease in force, or None.
        drift: Whether somebody else changed the limit while it was leased, or at its end.
        changes: Attempts to change the limit, by result; every result is present.
        revision: Rises with every grant, renewal, change and end of a lease, also across
            restarts; 0 before the first lease.
        baseline_watts: The limit that is still to be put back, W: while a lease holds another
            one, and after its end until the hardware has taken it. None where nothing is.
        floor_watts: The lowest limit that the host's policy lets a lease hold, None for as low
            as the driver accepts.
        ceiling_watts: The highest one, None for as high as the driver accepts.
    """

    writable: bool
    lease: Lease | None
    drift: bool
    changes: Mapping[LimitChange, int]
    revision: int = 0
    baseline_watts: float | None = None
    floor_watts: float | None = None
    ceiling_watts: float | None = None


def leasable_watts(
    limits: PowerLimits | None, control: PowerControl
) -> tuple[float | None, float | None]:
    """Return the lowest and the highest limit that a lease may hold, W.

    That is the card's own range, cut by the host's policy; the first above the second: nothing.

    Args:
        limits: What the card says, None where it was not read.
        control: What the policy says.

    Returns:
        None twice where the card does not tell its range.
    """
    if limits is None or limits.min_watts is None or limits.max_watts is None:
        return None, None
    low_watts, high_watts = limits.min_watts, limits.max_watts
    if control.floor_watts is not None:
        low_watts = max(low_watts, control.floor_watts)
    if control.ceiling_watts is not None:
        high_watts = min(high_watts, control.ceiling_watts)
    return low_watts, high_watts
