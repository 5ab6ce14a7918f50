"""A host with cards, a disk and a clock, on which the governor can be started and killed."""

import itertools
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fakes.clock import FakeClock
from fakes.limiter import FakeLimiter
from joulestat.domain.limit import Grant, LeaseRequest, LimitChange
from joulestat.power.audit import Audit
from joulestat.power.governor import Governor
from joulestat.power.journal import Journal
from joulestat.power.leases import LeasePolicy

GPU = "GPU-a"
BASELINE_WATTS = 300.0


class Host:
    """The cards and the clock go on when the service is killed; so does what is on the disk."""

    def __init__(
        self, directory: Path, policy: LeasePolicy | None = None, n_cards: int = 1
    ) -> None:
        self._directory = directory
        self._numbers = itertools.count()
        self.policy = policy or LeasePolicy()
        self.clock = FakeClock()
        self.cards = {f"GPU-{'abcdefgh'[n]}": FakeLimiter(BASELINE_WATTS) for n in range(n_cards)}
        self.card = self.cards[GPU]
        self.announced: list[str] = []
        self.options: dict[str, Any] = {}
        self.state = directory / "state-0"
        self.start()

    def start(self) -> None:
        """Start the service; it recovers first, as it does in the exporter."""
        self.journal = Journal(self.state / "leases.db", self.clock)
        self.audit = Audit(self.state / "audit.jsonl", self.clock)
        self.governor = Governor(
            self.cards,
            self.journal,
            self.audit,
            self.clock,
            self.policy,
            **{"on_write": self.announced.append, **self.options},
        )
        self.recovered = self.governor.recover()

    def kill(self) -> None:
        """End the service with nothing but what its files hold at this moment."""
        left = self._directory / f"state-{next(self._numbers) + 1}"
        shutil.copytree(self.state, left)
        self.stop()
        self.state = left

    def stop(self) -> None:
        """Close the files, without ending any lease."""
        self.journal.close()
        self.audit.close()

    def grant(
        self,
        watts: float,
        *,
        ttl: float = 60.0,
        holder: str = "optimizer",
        principal: str = "alice",
        takeover: bool = False,
        key: str | None = None,
        dry_run: bool = False,
        gpu: str = GPU,
        token: int | None = None,
        if_match: int | None = None,
    ) -> Grant:
        request = LeaseRequest(watts, ttl, holder, "because", takeover, token)
        return self.governor.grant(
            gpu,
            request,
            principal=principal,
            dry_run=dry_run,
            idempotency_key=key,
            if_match=if_match,
        )

    def pass_time(self, seconds: float) -> None:
        """Let time pass, then let the loop run once."""
        self.clock.advance(seconds)
        self.governor.expire()

    def counts(self, gpu: str = GPU) -> dict[str, int]:
        """Return the attempts to change a limit that are not 0."""
        changes: Mapping[LimitChange, int] = self.governor.controls()[gpu].changes
        return {change.value: count for change, count in changes.items() if count}

    def audited(self) -> list[dict[str, Any]]:
        """Return the audit log as it is on the disk."""
        lines = (self.state / "audit.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]
