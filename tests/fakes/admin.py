"""An admin listener with everything behind it, on simulated GPUs."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fakes.asgi import UNIX, Answer, call
from fakes.clock import FakeClock
from fakes.node import a_device, a_snapshot
from joulestat.config import ListenAddress
from joulestat.devices.simulated import SimulatedBackend
from joulestat.devices.world import SimulatedWorld
from joulestat.domain.snapshot import DeviceState, Snapshot
from joulestat.domain.tariff import Tariff
from joulestat.power.audit import Audit
from joulestat.power.governor import Governor
from joulestat.power.journal import Journal
from joulestat.power.leases import LeasePolicy
from joulestat.runs.history.file import NodeIdentity
from joulestat.runs.history.keeper import HistoryKeeper
from joulestat.runs.history.reader import HistoryReader
from joulestat.server.app import admin_app
from joulestat.server.auth import Principal, Role, TokenEntry, TokenTable

SOCKET = Path("/run/joulestat/admin.sock")
OPERATOR, VIEWER, EXPIRED, WRONG = "operator-token", "viewer-token", "expired-token", "wrong-token"


def _entry(token: str, name: str, role: Role, expires_seconds: float | None = None) -> TokenEntry:
    digest = hashlib.sha256(token.encode()).hexdigest()
    return TokenEntry(digest, Principal(name, role), expires_seconds)


class AdminRig:
    """Two V100s (100 to 300 W, now 300 W), and who may do what with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.world = SimulatedWorld.open(
            folder / "world", model="V100", gpus=2, seed=7, clock=self.clock, noise_ratio=0.0
        )
        self.backend = SimulatedBackend(self.world, self.clock)
        self.gpu, self.other_gpu = self.world.uuids
        self.journal = Journal(folder / "leases.sqlite", self.clock)
        self.audit = Audit(folder / "audit.jsonl", self.clock)
        self.governor = Governor(
            {uuid: self.backend.limiter(uuid) for uuid in self.world.uuids},
            self.journal,
            self.audit,
            self.clock,
            LeasePolicy(),
        )
        self.keeper = HistoryKeeper(
            folder / "history.sqlite", NodeIdentity("node-1", "memory-1", Tariff()), 86_400.0
        )
        self.keeper.note(self.snapshot(), ())
        self.keeper.flush()
        self.tokens = TokenTable(
            (
                _entry(OPERATOR, "kim", Role.OPERATOR),
                _entry(VIEWER, "robin", Role.VIEWER),
                _entry(EXPIRED, "kim", Role.OPERATOR, self.clock.wall_seconds() - 1),
            )
        )
        self.app = self.application()

    def application(self, **changed: Any) -> Any:
        """Return the application, with some of its arguments changed."""
        arguments: dict[str, Any] = {
            "authority": self.governor,
            "snapshot": self.snapshot,
            "audit_records": self.audit.read,
            "tokens": lambda: self.tokens,
            "wall_seconds": self.clock.wall_seconds,
            "listen": ListenAddress(unix_path=SOCKET),
            "history": HistoryReader(self.folder / "history.sqlite"),
        }
        return admin_app(**{**arguments, **changed})

    def snapshot(self) -> Snapshot:
        """Return the two GPUs as the driver shows them, without the governor's word."""
        return a_snapshot([self._state(index) for index in range(2)])

    def _state(self, index: int) -> DeviceState:
        device = self.backend.devices()[index]
        return a_device(device=device, reading=self.backend.read(device.uuid, details=False))

    def ask(
        self,
        method: str,
        target: str,
        *,
        token: str | None = OPERATOR,
        app: Any = None,
        headers: dict[str, str] | None = None,
        **how: Any,
    ) -> Answer:
        """Ask over the Unix socket, as the operator unless told otherwise."""
        where = {**over_the_socket(token, headers), **how}
        return call(app or self.app, method, target, **where)

    def put(self, body: dict[str, Any], *, gpu: str | None = None, **how: Any) -> Answer:
        """Ask for a lease."""
        query = how.pop("query", "")
        return self.ask("PUT", f"/v1/gpus/{gpu or self.gpu}/lease{query}", json_body=body, **how)

    def limit_watts(self, gpu: str | None = None) -> float:
        """Return what the hardware really stands at."""
        return self.world.limit_watts(gpu or self.gpu)


def over_the_socket(
    token: str | None = OPERATOR, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    """Return how a request comes in over the Unix socket."""
    sent = dict(headers or {})
    if token is not None:
        sent["authorization"] = f"Bearer {token}"
    return {"headers": sent, "client": None, "server": UNIX, "host": "localhost"}


def lease(limit_watts: float = 250.0, **changed: Any) -> dict[str, Any]:
    """Return the body of a lease request."""
    return {
        "power_limit_watts": limit_watts,
        "ttl_seconds": 900,
        "holder": "optimizer",
        "reason": "best point of llama-ft-42",
        **changed,
    }


@contextmanager
def admin_rig(folder: Path) -> Iterator[AdminRig]:
    """Set up a rig and take it down."""
    rig = AdminRig(folder)
    try:
        yield rig
    finally:
        rig.keeper.close()
        rig.journal.close()
        rig.audit.close()
        rig.backend.close()
