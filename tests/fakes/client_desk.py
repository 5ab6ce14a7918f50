"""A client's outbox whose thread is the test, and a scripted exporter that it talks to."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fakes.clock import FakeClock
from fakes.scripted_server import Json, ScriptedExporter, ScriptedServer
from joulestat.client.joules import Joules
from joulestat.client.notices import Notices
from joulestat.client.outbox import Outbox
from joulestat.client.tally import Tally
from joulestat.client.target import parse_target
from joulestat.client.transport import Transport


@dataclass
class Desk:
    """One rank at work."""

    clock: FakeClock
    exporter: ScriptedExporter
    server: ScriptedServer
    tally: Tally
    joules: Joules
    outbox: Outbox

    def wait_and_turn(self, seconds: float) -> int | None:
        self.clock.advance(seconds)
        return self.outbox.turn()

    @property
    def pushes(self) -> list[Json]:
        return self.exporter.pushes

    def phases(self) -> list[str]:
        return [push["phase"] for push in self.pushes]


@contextmanager
def a_desk() -> Iterator[Desk]:
    """Yield a rank with two GPUs, over a real connection and with a clock that stands still."""
    exporter = ScriptedExporter()
    with ScriptedServer(exporter) as server:
        clock = FakeClock()
        tally = Tally(clock.monotonic_ns, ("GPU-1", 3))
        joules = Joules()
        transport = Transport(parse_target(server.url), clock.monotonic_ns)
        outbox = Outbox(
            tally,
            joules,
            transport,
            Notices(),
            about={"run": "r", "rank": 1, "incarnation": "i"},
            now_ns=clock.monotonic_ns,
        )
        yield Desk(clock, exporter, server, tally, joules, outbox)
        transport.close()
