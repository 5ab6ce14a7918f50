"""Power limits held by this very process: a governor, its journal, its audit log and its rhythm."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from joulestat.devices.backend import Limiter
from joulestat.domain.clock import Clock
from joulestat.domain.limit import RevertOutcome
from joulestat.loops.driver_threads import spawn
from joulestat.loops.heartbeat import Heartbeat
from joulestat.power.audit import Audit
from joulestat.power.authority import LimitAuthority
from joulestat.power.governor import Governor
from joulestat.power.journal import Journal
from joulestat.power.policy import LeasePolicy

EXPIRY_INTERVAL_SECONDS = 0.25

JOURNAL_NAME = "leases.sqlite"
AUDIT_NAME = "audit.jsonl"
"""In the state folder."""

OnWrite = Callable[[str], None]

log = logging.getLogger(__name__)


class OwnLimits:
    """A governor in this process, with its journal and its audit log."""

    def __init__(
        self,
        state_path: Path,
        policy: LeasePolicy,
        clock: Clock,
        closing: ExitStack,
        *,
        on_write: OnWrite | None = None,
    ) -> None:
        """Take up what the state folder holds; no device is called yet.

        Args:
            state_path: Folder of the journal and the audit log.
            policy: What leases may ask.
            clock: Times leases.
            closing: Is given what has to be closed after ``stop``.
            on_write: Called with a device's UUID right before its limit is written.

        Raises:
            StateError: The folder cannot be used.
        """
        audit = Audit(state_path / AUDIT_NAME, clock)
        closing.callback(audit.close)
        journal = Journal(state_path / JOURNAL_NAME, clock)
        closing.callback(journal.close)
        self.governor = Governor({}, journal, audit, clock, policy, on_write=on_write, spawn=spawn)
        self.authority: LimitAuthority = self.governor
        self.audit_records: Callable[[int, int], Sequence[Mapping[str, object]]] = audit.read
        self.loop = Heartbeat("expiry", EXPIRY_INTERVAL_SECONDS, self.governor.expire)

    def adopt(self, limiters: Mapping[str, Limiter], models: Mapping[str, str]) -> None:
        """Take control of devices that are new; put back what a crash left on them.

        Args:
            limiters: By device UUID, of those whose limit can be set.
            models: By device UUID, of all.
        """
        self.governor.adopt(limiters, models)

    def start(self) -> None:
        """Let leases end in time."""
        self.loop.start()

    def stop(self) -> None:
        """Grant nothing more, and put every limit back. Idempotent."""
        self.loop.ask_to_stop()
        self.loop.join(2.0)
        ended = self.governor.close()
        left = [uuid for uuid, end in ended.items() if end.outcome is RevertOutcome.FAILED]
        if left:
            log.error(
                "event=limit_left_in_force gpu_uuids=%s cure='start again: it puts limits back'",
                ",".join(left),
            )
