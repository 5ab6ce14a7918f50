"""What each of the five verbs does, at whoever holds the limits."""

from collections.abc import Callable, Iterator, Mapping, Sequence

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
from joulestat.domain.limit import PowerControl
from joulestat.power.authority import LimitAuthority
from joulestat.power.leases import OURSELVES, plain_text

AuditRecords = Callable[[int, int], Sequence[Mapping[str, object]]]
"""Records after a number (first), at most so many (second), oldest first; may wait for a disk."""

MAX_AUDIT_RECORDS = 1000
MAX_AUDIT_BYTES = 1024 * 1024


class Verbs:
    """The five verbs. Any thread may call any method."""

    def __init__(self, authority: LimitAuthority, audit_records: AuditRecords) -> None:
        self._authority = authority
        self._audit_records = audit_records

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
