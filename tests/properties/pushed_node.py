"""A simulated node under pushes, and its twin that nobody pushes to."""

import asyncio
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakes.clock import FakeClock
from fakes.listener import CONSTANTS
from joulestat.cli.logs import LineFormatter
from joulestat.devices.simulated import SimulatedBackend
from joulestat.devices.world import SimulatedWorld
from joulestat.domain.limit import PowerControl
from joulestat.domain.tariff import Tariff
from joulestat.domain.units import NS_PER_SECOND
from joulestat.exposition import ContentType, Exposition
from joulestat.runs.budgets import Budgets, BudgetTerms
from joulestat.runs.history.file import NodeIdentity
from joulestat.runs.history.keeper import HistoryKeeper
from joulestat.runs.ledger import LedgerPolicy
from joulestat.runs.memory import restored_ledger
from joulestat.runs.store import DocumentStore
from joulestat.sampler import Sampler
from joulestat.server.app import public_app
from joulestat.service.memory import Memory

N_GPUS = 4
TICKS_PER_SECOND = 4
TICK_SECONDS = 1.0 / TICKS_PER_SECOND
SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "POST",
    "scheme": "http",
    "path": "/v1/push",
    "raw_path": b"/v1/push",
    "query_string": b"",
    "root_path": "",
    "client": ("127.0.0.1", 54321),
    "server": ("127.0.0.1", 10400),
}
NOT_THE_GPUS_OWN = re.compile(r"joulestat_gpu_unattributed_energy_joules_total")


class ForgedLine(logging.Handler):
    """Insists that whatever is logged is one line, in both formats."""

    def __init__(self) -> None:
        super().__init__()
        self.n_records = 0
        self._formatters = [LineFormatter(as_json=as_json) for as_json in (False, True)]

    def emit(self, record: logging.LogRecord) -> None:
        self.n_records += 1
        for formatter in self._formatters:
            line = formatter.format(record)
            assert [line] == line.splitlines(), repr(line)
            assert line.isprintable(), repr(line)


@dataclass
class Exporter:
    """The rooms of an exporter from the sampler to the listener, without sockets."""

    sampler: Sampler
    ledger: Any
    app: Any
    exposition: Exposition
    history: HistoryKeeper

    def page(self) -> str:
        return self.exposition.render(self.sampler.snapshot, ContentType.TEXT).decode()


@dataclass
class PushedNode:
    """Two exporters of the same GPUs: one is pushed to.

    Attributes:
        statuses: How many pushes were answered how.
    """

    clock: FakeClock
    backend: SimulatedBackend
    pushed: Exporter
    twin: Exporter
    statuses: dict[int, int] = field(default_factory=dict)

    def tick(self) -> None:
        """Let a quarter of a second pass."""
        self.let_pass(TICK_SECONDS)

    def let_pass(self, seconds: float) -> None:
        """Let time pass without a reading, then read and tick once."""
        self.clock.advance(seconds)
        for uuid in self.backend.world.uuids:
            reading = self.backend.read(uuid, details=True)
            for exporter in (self.pushed, self.twin):
                exporter.sampler.deliver(uuid, reading)
        for exporter in (self.pushed, self.twin):
            exporter.sampler.tick()

    def flush(self) -> None:
        """Write the history."""
        for exporter in (self.pushed, self.twin):
            exporter.history.flush()

    async def push(self, body: bytes, content_type: str = "application/json") -> int:
        """Send one push and return the status of its answer."""
        scope = {
            **SCOPE,
            "state": {},
            "headers": [
                (b"host", b"127.0.0.1:10400"),
                (b"content-type", content_type.encode()),
                (b"content-length", str(len(body)).encode()),
            ],
        }
        status = 0

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)

        await self.pushed.app(scope, receive, send)
        self.statuses[status] = self.statuses.get(status, 0) + 1
        return status

    def push_all(self, pushes: Iterable[tuple[bytes, str]]) -> list[int]:
        """Send pushes one after the other and return the statuses."""

        async def all_of_them() -> list[int]:
            return [await self.push(*push) for push in pushes]

        return asyncio.run(all_of_them())


def own_lines(page: str) -> list[str]:
    """Return what a page says of the GPUs themselves, whoever uses them."""
    return [
        line
        for line in page.split("\n")
        if line.startswith("joulestat_gpu_") and not NOT_THE_GPUS_OWN.match(line)
    ]


def n_series(page: str) -> int:
    return sum(1 for line in page.split("\n") if line and not line.startswith("#"))


@contextmanager
def pushed_node(folder: Path, *, seed: int = 1) -> Iterator[PushedNode]:
    """Start both exporters; a second of readings has passed."""
    clock = FakeClock()
    with ExitStack() as ending:
        world = SimulatedWorld.open(
            folder / "world", model="v100", gpus=N_GPUS, seed=seed, clock=clock
        )
        backend = SimulatedBackend(world, clock)
        ending.callback(backend.close)
        pair = [_exporter(folder / name, clock, backend, ending) for name in ("pushed", "twin")]
        node = PushedNode(clock, backend, *pair)
        for _ in range(1 + TICKS_PER_SECOND):
            node.tick()
        yield node


def _exporter(
    folder: Path, clock: FakeClock, backend: SimulatedBackend, ending: ExitStack
) -> Exporter:
    store = DocumentStore(folder / "ledger.sqlite")
    ending.callback(store.close)
    memory = Memory.load(store, clock.boot_id())
    ledger = restored_ledger(
        memory.documents,
        policy=LedgerPolicy(),
        budgets=Budgets([BudgetTerms("q4", "nlp", 1e9, 0.0, 2e9)]),
        instance=memory.instance,
        now_ns=clock.monotonic_ns(),
        same_boot=memory.same_boot,
    )
    history = HistoryKeeper(folder / "history.sqlite", NodeIdentity("node", "i", Tariff()), 3_600.0)
    ending.callback(history.close)
    sampler = Sampler(
        ledger=ledger,
        store=store,
        unsaved=memory.unsaved,
        clock=clock,
        interval_ns=round(TICK_SECONDS * NS_PER_SECOND),
        controls=dict[str, PowerControl],
        history=history,
    )
    sampler.adopt("simulated", backend.devices(), memory.instrument)
    exposition = Exposition(CONSTANTS)
    app = public_app(
        snapshot=lambda: sampler.snapshot,
        exposition=exposition,
        push=sampler.push,
        resolve_index=sampler.uuid_of_index,
        is_ticking=sampler.is_ticking,
        allow_remote_push=False,
        version="1.2.3",
        count_refused_push=sampler.count_refused_push,
    )
    return Exporter(sampler, ledger, app, exposition, history)
