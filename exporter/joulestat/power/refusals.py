"""Requests that are refused: each one counted, and audited at a bounded rate."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from joulestat.domain.errors import LeaseError, LimitWriteFailed
from joulestat.domain.limit import LeaseRequest, LimitChange
from joulestat.power.audit import AuditValue
from joulestat.power.bookkeeping import Bookkeeping
from joulestat.power.controlled import ControlledDevice
from joulestat.power.meant import Meant


class Refusals:
    """Notes what comes of the requests within its contexts. Any thread may use them."""

    def __init__(self, books: Bookkeeping, publish: Callable[[ControlledDevice], None]) -> None:
        self._books = books
        self._publish = publish

    @contextmanager
    def of_grant(
        self,
        device: ControlledDevice | None,
        request: LeaseRequest,
        *,
        if_match: int | None,
        dry_run: bool,
        **about: AuditValue,
    ) -> Iterator[None]:
        """Note a refused lease request about a device, None where it is not known."""
        try:
            yield
        except LeaseError as error:
            self._books.note_refusal(
                "grant",
                error,
                holder=request.holder,
                reason=request.reason,
                asked_watts=request.power_limit_watts,
                ttl_seconds=request.ttl_seconds,
                asked_fencing_token=request.fencing_token,
                asked_revision=if_match,
                dry_run=dry_run or None,
                **about,
            )
            if not dry_run:
                self._count(device, error)
            raise

    @contextmanager
    def of_release(
        self, device: ControlledDevice, meant: Meant, **about: AuditValue
    ) -> Iterator[None]:
        """Note a refusal to end a device's lease."""
        try:
            yield
        except LeaseError as error:
            self._books.note_refusal(
                "release",
                error,
                holder=meant.holder,
                asked_fencing_token=meant.fencing_token,
                asked_revision=meant.revision,
                **about,
            )
            self._count(device, error)
            raise

    def _count(self, device: ControlledDevice | None, error: LeaseError) -> None:
        if device is not None:
            failed = isinstance(error, LimitWriteFailed)
            device.count(LimitChange.FAILED if failed else LimitChange.REFUSED)
            self._publish(device)
