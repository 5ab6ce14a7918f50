"""Limits put back with no service running: from the journal on the disk alone."""

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from joulestat.actuator.own_limits import AUDIT_NAME, JOURNAL_NAME
from joulestat.devices.backend import Backend
from joulestat.domain.clock import Clock
from joulestat.domain.errors import BackendUnavailable, StateError
from joulestat.domain.limit import Revert, RevertOutcome
from joulestat.loops.driver_threads import attempt, spawn
from joulestat.power import journal_file
from joulestat.power.audit import Audit
from joulestat.power.governor import Governor
from joulestat.power.journal import Journal
from joulestat.power.leases import OURSELVES, EndCause
from joulestat.power.policy import LeasePolicy

ATTEMPTS = 4
PAUSE_SECONDS = 0.5
"""A driver that was just left by a killed process may want a moment."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PutBack:
    """What became of the leases that a journal held.

    Attributes:
        ended: By device UUID, of the devices that are there.
        left: UUIDs of those whose limit is still to be put back; the next start tries again.
        problem: What kept it from being tried to the end, for people; empty where nothing did.
    """

    ended: Mapping[str, Revert]
    left: tuple[str, ...]
    problem: str = ""


def put_back(
    state_path: Path,
    open_backend: Callable[[], Backend | None],
    clock: Clock,
    *,
    patience_seconds: float,
) -> PutBack | None:
    """End every lease that a service which is gone has left, by the rules of its next start.

    Args:
        state_path: The state folder; nothing is made where there is no journal in it.
        open_backend: Opens the devices, or returns None where there is none. Not called where
            no lease is left.
        clock: Tells this boot.
        patience_seconds: How long drivers are waited for, all in all: a supervisor that waits for
            the end of a service stops waiting some time.

    Returns:
        What became of it; None where there is nothing to do.

    Raises:
        StateError: The journal is in use, or cannot be trusted, or cannot be read.
    """
    path = state_path / JOURNAL_NAME
    if not _is_there(path):
        return None
    with ExitStack() as closing:
        try:
            journal = Journal(path, clock)
        except StateError as error:
            raise StateError(
                f"{error}; or, where it answers, ask it: joulestat lease revert-all --admin.url URL"
            ) from error
        closing.callback(journal.close)
        if journal.read_only_reason is not None:
            raise StateError(journal.read_only_reason)
        if not journal.records():
            return None
        audit = Audit(state_path / AUDIT_NAME, clock)
        closing.callback(audit.close)
        # So that one device's driver that hangs leaves time to say so, and to try again.
        policy = LeasePolicy(driver_timeout_seconds=patience_seconds / 3)
        governor = Governor({}, journal, audit, clock, policy, spawn=spawn)
        work = _Work(governor, open_backend)
        problem = work.carry_out(patience_seconds)
        restored = {RevertOutcome.RESTORED, RevertOutcome.FOREIGN}
        done = {uuid for uuid, end in work.ended.items() if end.outcome in restored}
        recorded = [record.lease.device_uuid for record in journal.records()]
        return PutBack(
            dict(work.ended), tuple(uuid for uuid in recorded if uuid not in done), problem
        )


def _is_there(path: Path) -> bool:
    try:
        return journal_file.exists(path) or bool(journal_file.asides(path))
    except OSError as error:
        raise StateError(f"{path} cannot be looked at: {error}") from error


class _Work:
    """What may hang in a driver, on a thread that is left behind where it does."""

    def __init__(self, governor: Governor, open_backend: Callable[[], Backend | None]) -> None:
        self._governor = governor
        self._open_backend = open_backend
        self.ended: Mapping[str, Revert] = {}

    def carry_out(self, patience_seconds: float) -> str:
        """Return what kept it from the end, for people; empty where nothing did."""
        try:
            if attempt(self._run, patience_seconds):
                return ""
        except BackendUnavailable as error:
            return str(error)
        return f"the driver has not answered for {patience_seconds:g} s"

    def _run(self) -> None:
        backend = self._open_backend()
        try:
            found = () if backend is None else backend.devices()
            limiters = {
                device.uuid: limiter
                for device in found
                if backend is not None and (limiter := backend.limiter(device.uuid)) is not None
            }
            # Also without any: what is of an earlier boot is dropped.
            self.ended = self._governor.adopt(limiters)
            pause = threading.Event()
            for _ in range(ATTEMPTS):
                failed = [
                    uuid for uuid, end in self.ended.items() if end.outcome is RevertOutcome.FAILED
                ]
                if not failed:
                    return
                pause.wait(PAUSE_SECONDS)
                again = self._governor.revert_all(principal=OURSELVES, cause=EndCause.RECOVERED)
                self.ended = {**self.ended, **{uuid: again[uuid] for uuid in failed}}
        finally:
            if backend is not None:
                backend.close()
