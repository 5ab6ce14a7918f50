"""The exporter's end of the socket: asks the actuator, and knows how old its last word is."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Any

from joulestat.actuator.asking import ActuatorLine
from joulestat.actuator.wire import (
    PROTOCOL,
    GrantLease,
    ListControls,
    Listed,
    ReadAudit,
    ReleaseLease,
    RevertAll,
    raw,
)
from joulestat.domain.clock import Clock
from joulestat.domain.errors import JoulestatError
from joulestat.domain.limit import Grant, Lease, LeaseRequest, PowerControl, Revert
from joulestat.domain.units import seconds_to_ns

REFRESH_SECONDS = 0.25
"""How often the published state is asked for: leases begin and end as seldom as this matters."""

STALE_SECONDS = 2.0
"""From then on the last word says nothing about leases any more."""

LIST_TIMEOUT_SECONDS = 1.0
WRITE_TIMEOUT_SECONDS = 20.0
"""Longer than the actuator waits for a driver: it answers before anybody gives up on it."""

_UNKNOWN = PowerControl(writable=False, lease=None, drift=False, changes=MappingProxyType({}))

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _LastWord:
    """What the actuator said last, and when, CLOCK_MONOTONIC."""

    read_only_reason: str | None
    controls: Mapping[str, PowerControl]
    without_leases: Mapping[str, PowerControl]
    at_ns: int


class ActuatorClient:
    """A ``LimitAuthority`` in another process. Any thread may call any method.

    Every request has a connection of its own, so there is none to lose: an actuator that was
    started again answers the next request.
    """

    def __init__(
        self, path: Path, clock: Clock, *, on_write: Callable[[str], None] | None = None
    ) -> None:
        """Make a client; nothing is asked yet.

        Args:
            path: The actuator's socket.
            clock: Tells the age of its last word, and when to give up.
            on_write: Called with a device's UUID when its limit is about to be written, or was,
                as far as that can be known from here.
        """
        self._path = path
        self._line = ActuatorLine(path, clock)
        self._clock = clock
        self._on_write = on_write
        self._refreshing = Lock()
        self._last: _LastWord | None = None
        self._expected: Mapping[str, PowerControl] = MappingProxyType({})
        self._problem = f"the actuator at {path} has not been asked yet"
        self._told = ""

    @property
    def read_only_reason(self) -> str | None:
        """Why no lease can be granted, None where one can."""
        last = self._fresh()
        return self._problem if last is None else last.read_only_reason

    def controls(self) -> Mapping[str, PowerControl]:
        """Return every device's state as heard last.

        Without a word for STALE_SECONDS, no lease is shown and nothing is writable: whether they
        are is not known. What was counted stays, because it is still true.
        """
        last = self._fresh()
        if last is not None:
            return last.controls
        return self._expected if self._last is None else self._last.without_leases

    def lease(self, device_uuid: str) -> Lease | None:
        """Return the lease in force, None without one and where that is not known."""
        control = self.controls().get(device_uuid)
        return None if control is None else control.lease

    def expect(self, device_uuids: Iterable[str]) -> None:
        """Say which devices there are, so that nothing is claimed of them before the first word.

        An invented count of 0 would make every change so far look like one of today.
        """
        self._expected = MappingProxyType(dict.fromkeys(device_uuids, _UNKNOWN))

    def refresh(self) -> None:
        """Ask for the state. For a loop, every REFRESH_SECONDS; never raises for the actuator."""
        with self._refreshing:
            asked_ns = self._clock.monotonic_ns()
            try:
                listed = self._line.ask(ListControls(PROTOCOL), Listed, LIST_TIMEOUT_SECONDS)
            except JoulestatError as error:
                self._problem = str(error)
                self._tell(self._problem)
                return
            self._tell("")
            before = self._last
            self._last = _LastWord(
                listed.read_only_reason,
                MappingProxyType(listed.controls),
                MappingProxyType({u: _without_lease(c) for u, c in listed.controls.items()}),
                asked_ns,
            )
            if before is not None:
                self._note_writes(before.controls, self._last.controls)

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
        """Ask for a lease; see ``Governor.grant``.

        Raises:
            LeaseError: As the actuator's governor raised it; ControlReadOnly also where the
                actuator does not answer.
        """
        wanted = GrantLease(
            PROTOCOL, device_uuid, raw(request), principal, dry_run, idempotency_key, if_match
        )
        if not dry_run:
            self._announce(device_uuid)
        grant = self._line.ask(wanted, Grant, WRITE_TIMEOUT_SECONDS)
        self.refresh()
        return grant

    def release(
        self,
        device_uuid: str,
        *,
        principal: str,
        holder: str | None = None,
        fencing_token: int | None = None,
        if_match: int | None = None,
    ) -> Revert:
        """Ask for a lease's end; see ``Governor.release``.

        Raises:
            LeaseError: As for ``grant``.
        """
        self._announce(device_uuid)
        wanted = ReleaseLease(PROTOCOL, device_uuid, principal, holder, fencing_token, if_match)
        revert = self._line.ask(wanted, Revert, WRITE_TIMEOUT_SECONDS)
        self.refresh()
        return revert

    def revert_all(self, *, principal: str) -> Mapping[str, Revert]:
        """Ask for the end of every lease.

        Raises:
            ControlReadOnly: The actuator does not answer.
        """
        for device_uuid in self.controls():
            self._announce(device_uuid)
        reverts = self._line.ask(
            RevertAll(PROTOCOL, principal), dict[str, Revert], WRITE_TIMEOUT_SECONDS
        )
        self.refresh()
        return reverts

    def audit_records(self, after_seq: int, limit: int) -> Sequence[Mapping[str, object]]:
        """Return records of the actuator's audit log after a number, oldest first.

        Raises:
            StateError: It cannot be read.
            ControlReadOnly: The actuator does not answer.
        """
        records: list[dict[str, Any]] = []
        while len(records) < limit:
            part = self._line.ask(
                ReadAudit(PROTOCOL, after_seq, limit - len(records)),
                list[dict[str, Any]],
                WRITE_TIMEOUT_SECONDS,
            )
            if not part:
                break
            records += part
            after_seq = int(part[-1]["seq"])
        return records

    def _fresh(self) -> _LastWord | None:
        last = self._last
        if last is None:
            return None
        age_ns = self._clock.monotonic_ns() - last.at_ns
        return last if age_ns <= seconds_to_ns(STALE_SECONDS) else None

    def _announce(self, device_uuid: str) -> None:
        if self._on_write is not None:
            self._on_write(device_uuid)

    def _note_writes(
        self, before: Mapping[str, PowerControl], now: Mapping[str, PowerControl]
    ) -> None:
        """Announce what was written without us: leases that ended, and other peers' requests."""
        for device_uuid, control in now.items():
            former = before.get(device_uuid)
            if former is not None and former.changes != control.changes:
                self._announce(device_uuid)

    def _tell(self, problem: str) -> None:
        """Log it when the actuator goes, when it comes back, and when the reason changes."""
        if problem == self._told:
            return
        self._told = problem
        if problem:
            log.error("event=actuator_gone problem=%r", problem)
        else:
            log.info("event=actuator_answers path=%s", self._path)


def _without_lease(control: PowerControl) -> PowerControl:
    return replace(control, writable=False, lease=None, drift=False, baseline_watts=None)
