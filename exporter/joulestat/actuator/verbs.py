"""What each of the five verbs does, at whoever holds the limits."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Lock

import msgspec

from joulestat.actuator.wire import (
    GrantLease,
    ListControls,
    ReadAudit,
    ReleaseLease,
    Request,
    RevertAll,
    WireError,
    parse_lease_request,
    raw,
)
from joulestat.domain.clock import Clock
from joulestat.domain.errors import TooManyWrites
from joulestat.domain.limit import PowerControl
from joulestat.power.authority import LimitAuthority
from joulestat.power.leases import OURSELVES, plain_text
from joulestat.power.write_rate import WriteRate

AuditRecords = Callable[[int, int], Sequence[Mapping[str, object]]]
"""Records after a number (first), at most so many (second), oldest first; may wait for a disk."""

GRANT_INTERVAL_SECONDS = 0.05
GRANT_BURST = 256
"""Each request is on the disk twice before it is answered: somebody who renews a lease without end
must not fill it. Ends of leases are not counted: there are no more of them than leases."""

MAX_AUDIT_RECORDS = 1000
MAX_AUDIT_BYTES = 1024 * 1024


class Verbs:
    """The five verbs. Any thread may call any method."""

    def __init__(
        self, authority: LimitAuthority, audit_records: AuditRecords, clock: Clock
    ) -> None:
        self._authority = authority
        self._audit_records = audit_records
        self._clock = clock
        self._lock = Lock()
        self._grants = WriteRate(interval_seconds=GRANT_INTERVAL_SECONDS, burst=GRANT_BURST)

    def listed(self) -> msgspec.Raw:
        """Answer ``list``; never waits."""
        controls: Mapping[str, PowerControl] = self._authority.controls()
        return raw(
            {"read_only_reason": self._authority.read_only_reason, "controls": dict(controls)}
        )

    def carry_out(self, request: Request) -> msgspec.Raw:
        """Answer a request; waits for drivers and disks.

        Raises:
            JoulestatError: It was refused, or went wrong.
            WireError: It is no request.
        """
        if isinstance(request, GrantLease | ReleaseLease | RevertAll):
            _check_principal(request.principal)
        match request:
            case ListControls():
                return self.listed()
            case GrantLease():
                self._check_rate()
                return raw(
                    self._authority.grant(
                        request.gpu_uuid,
                        parse_lease_request(request.request),
                        principal=request.principal,
                        dry_run=request.dry_run,
                        idempotency_key=request.idempotency_key,
                        if_match=request.if_match,
                    )
                )
            case ReleaseLease():
                return raw(
                    self._authority.release(
                        request.gpu_uuid,
                        principal=request.principal,
                        holder=request.holder,
                        fencing_token=request.fencing_token,
                        if_match=request.if_match,
                    )
                )
            case RevertAll():
                return raw(dict(self._authority.revert_all(principal=request.principal)))
            case ReadAudit():
                return raw(list(self._audited(request)))

    def _check_rate(self) -> None:
        with self._lock:
            now_ns = self._clock.boottime_ns()
            wait_seconds = self._grants.wait_seconds(now_ns)
            if wait_seconds > 0:
                raise TooManyWrites(
                    "leases were asked for too often lately, whatever their GPUs; the actuator "
                    f"takes the next request in {wait_seconds:.2f} s",
                    retry_after_seconds=wait_seconds,
                )
            self._grants.take(now_ns)

    def _audited(self, request: ReadAudit) -> Iterator[msgspec.Raw]:
        """Yield what fits into one answer, one record at least; whoever wants more asks on."""
        limit = max(1, min(request.limit, MAX_AUDIT_RECORDS))
        size_bytes = 0
        for record in self._audit_records(max(0, request.after_seq), limit):
            text = raw(record)
            size_bytes += len(bytes(text))
            if size_bytes > MAX_AUDIT_BYTES and size_bytes > len(bytes(text)):
                return
            yield text


def _check_principal(principal: str) -> None:
    """Refuse who has no name, and who takes ours: the audit log would lay it at our own door.

    Raises:
        WireError: It says so.
    """
    name = plain_text(principal)
    if not name or name.lower() == OURSELVES:
        raise WireError(f"principal is {name!r}; name who asks, and not {OURSELVES!r}")
