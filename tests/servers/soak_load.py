"""Everything that happens to a node in a day, in minutes: trainings, leases, scrapes, attacks."""

import itertools
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Self
from uuid import uuid4

from servers.attacks import HALF_A_HEAD
from servers.soaked_node import GPUS, Caller, SoakedNode

TRAINERS = 4
PUSHES_PER_LIFE = 40
LIVES_PER_RUN = 3
RUNS_PER_TRAINER = 4
"""Each is taken up again and again: what is remembered of runs has a bound, but it is not met in
minutes, and looks like a leak until then."""

LIMITS_WATTS = (150, 180, 210, 240)
HELD_OPEN = 24
RESET_AT_THE_END = struct.pack("ii", 1, 0)
Deed = Iterator[None]


class Counters:
    """Every counter of a page, and whether one ever fell."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self.fell: list[str] = []

    def see(self, page: str) -> None:
        """Compare with the page before."""
        seen: dict[str, float] = {}
        for line in page.splitlines():
            series, _, value = line.rpartition(" ")
            name = series.partition("{")[0]
            if name.endswith(("_total", "_count", "_bucket")) and not line.startswith("#"):
                seen[series] = float(value)
        self.fell += [
            f"{series}: {self._last[series]} -> {value}"
            for series, value in seen.items()
            if value < self._last.get(series, value)
        ]
        self._last = seen

    def value(self, series: str) -> float:
        """Return what the last page said, 0 before the first."""
        return self._last.get(series, 0.0)


class Load:
    """All of it, each kind at its own pace on its own thread, from ``__enter__`` to ``__exit__``.

    Attributes:
        counters: What the scrapes showed.
        asked: How many requests of each kind were answered as they should be.
        audited: Number of the last record of the audit log that was read.
    """

    def __init__(self, node: SoakedNode, *, seed: int) -> None:
        self.node = node
        self.counters = Counters()
        self.asked: dict[str, int] = {}
        self.audited = 0
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._enough = threading.Event()
        self._uuids = [str(each["gpu_uuid"]) for each in node.admin.gpus()]
        kinds: list[tuple[float, Callable[[], Deed]]] = [
            (0.02, lambda number=number: self._train(number)) for number in range(TRAINERS)
        ]
        kinds += [(0.1, self._lease), (0.2, self._read), (0.1, self._scrape), (0.1, self._pester)]
        if not node.split:
            kinds.append((1.0, self._reload))
        self._kinds = kinds

    def __enter__(self) -> Self:
        """Begin, or go on."""
        self._enough.clear()
        self._threads = ThreadPoolExecutor(len(self._kinds))
        self._running = [self._threads.submit(self._go_on, *each) for each in self._kinds]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End, and raise what went otherwise than it should."""
        self._enough.set()
        self._threads.shutdown()
        for each in self._running:
            each.result()

    def operations(self) -> int:
        """Return how much happened since the node's start: readings of GPUs, and requests."""
        ticks = self.counters.value("joulestat_tick_duration_seconds_count")
        return round(ticks) * GPUS + sum(self.asked.values())

    def read_audit(self) -> None:
        """Read the audit log from where it was last read."""
        records = self.node.admin.audit(after=self.audited)
        self.audited = int(records[-1]["seq"]) if records else self.audited

    def _go_on(self, pace_seconds: float, deed: Callable[[], Deed]) -> None:
        steps = deed()
        try:
            while not self._enough.wait(pace_seconds):
                next(steps)
        except BaseException:
            self._enough.set()
            raise
        finally:
            steps.close()  # type: ignore[attr-defined]

    def _count(self, kind: str) -> None:
        with self._lock:
            self.asked[kind] = self.asked.get(kind, 0) + 1

    def _train(self, number: int) -> Deed:
        """Run after run on two GPUs; each is restarted, and not every one says its farewell."""
        with Caller(self.node) as caller:
            for run in itertools.count():
                name = f"soak-{number}-{run % RUNS_PER_TRAINER}"
                for life in range(LIVES_PER_RUN):
                    last = life + 1 == LIVES_PER_RUN and run % 3 != 0
                    for push in _pushes(name, number, self._uuids, ends=last):
                        status, answer = caller.ask("POST", "/v1/push", push)
                        assert status == 200, (status, answer)
                        self._count("pushes")
                        yield
                    caller.leave()

    def _lease(self) -> Deed:
        """Take, renew, change and give back; leave every third to its end."""
        admin = self.node.admin
        for turn in itertools.count():
            uuid = self._uuids[turn % GPUS]
            for _ in range(1 + turn % 3):
                admin.put_lease(
                    uuid,
                    power_limit_watts=self._random.choice(LIMITS_WATTS),
                    ttl_seconds=self._random.choice((1.0, 2.0)),
                    holder="soak",
                    reason="a probe",
                    idempotency_key=uuid4().hex,
                )
                self._count("lease writes")
                yield
            if turn % 3:
                admin.delete_lease(uuid)
                self._count("lease writes")
                yield

    def _read(self) -> Deed:
        """Read what an optimizer reads."""
        admin = self.node.admin
        while True:
            self.read_audit()
            runs = admin.history_runs(at_seconds=time.time())["runs"]
            if runs:
                admin.history(runs[-1]["run"], end_seconds=time.time())
            admin.gpu(self._uuids[0])
            self._count("admin reads")
            yield

    def _scrape(self) -> Deed:
        """Scrape in both formats, and see whether a counter fell."""
        with Caller(self.node) as caller:
            while True:
                status, page = caller.ask("GET", "/metrics", Accept="text/plain")
                assert status == 200, status
                self.counters.see(page.decode())
                zipped = {"Accept-Encoding": "gzip", "Accept": "application/openmetrics-text"}
                assert caller.ask("GET", "/metrics", **zipped)[0] == 200
                self._count("scrapes")
                yield

    def _pester(self) -> Deed:
        """Hold connections open, reset others, come with wrong words and a wrong password."""
        held: list[socket.socket] = []
        try:
            for turn in itertools.count():
                connection = socket.create_connection(self.node.address, timeout=30)
                held.append(connection)
                with suppress(OSError):
                    connection.sendall(HALF_A_HEAD if turn % 2 else b"")
                if len(held) > HELD_OPEN:
                    leaving = held.pop(0)
                    if turn % 3:
                        option = (socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_THE_END)
                        leaving.setsockopt(*option)
                    leaving.close()
                self._be_refused(turn)
                yield
        finally:
            for connection in held:
                connection.close()

    def _be_refused(self, turn: int) -> None:
        with Caller(self.node, password=f"guess {turn}") as caller:
            statuses = {
                caller.ask("POST", "/v1/push", {"run": f"\n{turn}"})[0],
                caller.ask("GET", f"/nothing/{turn}")[0],
                caller.ask("GET", "/metrics", **{"X-Long": "x" * 9000})[0],
            }
        assert statuses <= {400, 401, 404, 422, 429, 431, 503}, statuses
        self._count("refusals")

    def _reload(self) -> Deed:
        """Change certificate and hashes of the web configuration."""
        for turn in itertools.count():
            self.node.write_web_file(renewed=turn % 2 == 0)
            self._count("reloads")
            yield


def _pushes(run: str, number: int, uuids: list[str], *, ends: bool) -> Iterator[dict[str, object]]:
    """Yield what one life of a training pushes."""
    incarnation = uuid4().hex
    for seq in range(1, PUSHES_PER_LIFE + 1):
        phase = "eval" if seq % 10 == 0 else "train"
        yield {
            "run": run,
            "rank": 0,
            "incarnation": incarnation,
            "seq": seq,
            "at_ns": time.monotonic_ns(),
            "gpus": uuids[2 * number % len(uuids) :][:2],
            "phase": phase,
            "totals": {"train": {"steps": seq, "samples": 32 * seq}, "eval": {"steps": seq // 10}},
            "labels": {"job": "soak", "user": f"user-{number}", "team": "soak"},
            "planned_steps": 500,
            "final": ends and seq == PUSHES_PER_LIFE,
        }
