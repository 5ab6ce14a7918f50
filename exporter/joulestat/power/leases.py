"""What a lease may ask, what is remembered of it, and whose limit the hardware stands at."""

import unicodedata
from dataclasses import dataclass, replace
from enum import StrEnum

from joulestat.domain.errors import InvalidLease
from joulestat.domain.limit import Lease, LeaseRequest
from joulestat.domain.units import same_limit
from joulestat.power.policy import LeasePolicy as LeasePolicy
from joulestat.power.policy import check_limit

MAX_HOLDER_CHARACTERS = 128
MAX_REASON_CHARACTERS = 256

OURSELVES = "joulestat"
"""Principal of what nobody asked for."""

SIGNAL = "signal"
"""Principal of who may send this process signals: root, and its own user."""

EXACT_WATTS = 0.0005
"""Two readings closer than half a milliwatt, the drivers' grid, are the same number."""


class LeaseState(StrEnum):
    """How far a lease got, as the journal remembers it."""

    INTENT = "intent"
    """On disk, and the hardware may or may not have been written."""

    HELD = "held"
    """Written and read back."""


class EndCause(StrEnum):
    """Why a lease ended; in the audit log."""

    EXPIRED = "expired"
    RELEASED = "released"
    REVERT_ALL = "revert_all"
    SHUTDOWN = "shutdown"
    RECOVERED = "recovered"
    """A start found it in the journal: the process before had no time to end it."""

    LOST = "lost"
    """The host was booted since: limits do not survive that."""

    WRITE_FAILED = "write_failed"


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """A lease as the journal keeps it.

    Attributes:
        lease: Holder, target, baseline, end.
        state: How far it got.
        boot_id: The boot that ``lease.expires_boottime_ns`` belongs to.
        ours_watts: Every limit that the device may stand at by our own doing: asked, read back,
            and those of the lease before it while a change is under way.
    """

    lease: Lease
    state: LeaseState
    boot_id: str
    ours_watts: tuple[float, ...]

    def with_ours(self, *seen_watts: float | None) -> "LeaseRecord":
        """Return this record owning up to further limits; None and known ones are left out."""
        added = [watts for watts in seen_watts if watts is not None]
        return replace(self, ours_watts=tuple(dict.fromkeys((*self.ours_watts, *added))))


class Standing(StrEnum):
    """Whose limit a device stands at."""

    BASELINE = "baseline"
    OURS = "ours"
    FOREIGN = "foreign"


def exactly(one_watts: float, other_watts: float) -> bool:
    """Tell whether two readings are one number, not merely one limit within tolerance."""
    return abs(one_watts - other_watts) < EXACT_WATTS


def standing(found_watts: float, record: LeaseRecord) -> Standing:
    """Tell whose limit a device stands at.

    A limit of ours may lie within tolerance of the baseline (baseline 250, lease changed from
    252 to 250.8): it is still ours, so that the exact baseline comes back.
    """
    baseline_watts = record.lease.baseline_watts
    if exactly(found_watts, baseline_watts):
        return Standing.BASELINE
    if stands_as_leased(found_watts, record):
        return Standing.OURS
    if same_limit(found_watts, baseline_watts):
        return Standing.BASELINE
    return Standing.FOREIGN


def stands_as_leased(found_watts: float, record: LeaseRecord) -> bool:
    """Tell whether a device stands at a limit of our own doing."""
    return any(same_limit(found_watts, watts) for watts in record.ours_watts)


def plain_text(text: str) -> str:
    """Return text without what could forge a line of a log or turn it around on a screen.

    Control and format characters, lone surrogates, private and unassigned code points
    (Unicode categories C*) and the line and paragraph separators are dropped, and white space
    at both ends.
    """
    kept = (
        character
        for character in text
        if (category := unicodedata.category(character))[0] != "C" and category not in {"Zl", "Zp"}
    )
    return "".join(kept).strip()


def checked(
    request: LeaseRequest, policy: LeasePolicy, range_watts: tuple[float, float], model: str = ""
) -> LeaseRequest:
    """Return the request with clean texts; out of range is refused, never clamped.

    Args:
        request: As it came.
        policy: What the host allows.
        range_watts: The lowest and highest limit that the driver accepts.
        model: The device's; empty where it is not known.

    Raises:
        InvalidLease: The first value that is not allowed, and what would be.
    """
    check_limit(request.power_limit_watts, policy, model, range_watts)
    if not policy.min_ttl_seconds <= request.ttl_seconds <= policy.max_ttl_seconds:
        raise InvalidLease(
            f"ttl_seconds is {request.ttl_seconds:g}; a lease here lasts "
            f"{policy.min_ttl_seconds:g} to {policy.max_ttl_seconds:g} s and can be renewed",
            field="ttl_seconds",
            value=request.ttl_seconds,
            allowed=f"{policy.min_ttl_seconds:g}..{policy.max_ttl_seconds:g}",
        )
    return replace(
        request,
        holder=_text("holder", request.holder, MAX_HOLDER_CHARACTERS),
        reason=_text("reason", request.reason, MAX_REASON_CHARACTERS),
    )


def _text(field: str, text: str, max_characters: int) -> str:
    clean = plain_text(text)
    if not 1 <= len(clean) <= max_characters:
        raise InvalidLease(
            f"{field} has {len(clean)} printable characters; give 1 to {max_characters}",
            field=field,
            value=clean[:max_characters],
            allowed=f"1..{max_characters} characters",
        )
    return clean
