"""What a running exporter costs: 8 simulated GPUs at 10 Hz, 4 runs pushing once a second.

Scrapes are timed from outside, over one kept connection: the figure holds the server's whole
time, the kernel's and the client's own 0.1 ms or so.
"""

import gzip
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from measure import Row

from servers.exporter import Exporter

GPUS, RUNS = 8, 4
SCRAPES = 300
CPU_SECONDS = 15.0
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PROMETHEUS_ACCEPT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


class Runs(threading.Thread):
    """Four runs on two GPUs each, every one pushing its steps once a second."""

    def __init__(self, exporter: Exporter, uuids: tuple[str, ...]) -> None:
        super().__init__(daemon=True)
        self._exporter, self._uuids = exporter, uuids
        self.enough = threading.Event()

    def run(self) -> None:
        """Push until it is enough."""
        seq = 0
        while not self.enough.is_set():
            seq += 1
            for number in range(RUNS):
                self._exporter.push(
                    run=f"run-{number}",
                    rank=0,
                    incarnation="bench",
                    seq=seq,
                    at_ns=time.monotonic_ns(),
                    gpus=list(self._uuids[2 * number : 2 * number + 2]),
                    phase="train",
                    totals={"train": {"steps": 5 * seq, "samples": 160 * seq, "tokens": 9 * seq}},
                    labels={"job": "bench", "team": "joulestat"},
                )
            self.enough.wait(1.0)


def rows() -> Iterator[Row]:
    """Measure one exporter in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        with Exporter(Path(folder), gpus=GPUS) as exporter:
            exporter.samples()
            yield Row("from start to the first scrape", time.monotonic() - began, "s", 1.5)
            yield from _running(exporter)
    yield Row("of which: importing the server", _import_seconds(), "s")


def _running(exporter: Exporter) -> Iterator[Row]:
    assert exporter.process is not None
    pid = exporter.process.pid
    world = exporter.world()
    runs = Runs(exporter, world.uuids)
    runs.start()
    time.sleep(3.0)
    cpu_before, began = _cpu_seconds(pid), time.monotonic()
    time.sleep(CPU_SECONDS)
    share = (_cpu_seconds(pid) - cpu_before) / (time.monotonic() - began)
    yield Row("CPU at 10 Hz, 8 GPUs, 4 runs pushing, no scrapes", 100 * share, "% of a core", 2.0)
    times, page, size = _scrape(exporter)
    yield Row("scrape, median (gzip, OpenMetrics)", statistics.median(times) * 1e3, "ms", 2.0)
    yield Row("scrape, 99th percentile", sorted(times)[int(0.99 * len(times))] * 1e3, "ms")
    series = sum(1 for line in page.splitlines() if not line.startswith(b"#"))
    yield Row("series on the page", series, "")
    yield Row("page, compressed", size / 1024, "KiB")
    yield Row("resident memory after that", _resident_mib(pid), "MiB", 80.0)
    runs.enough.set()
    runs.join()
    world.close()


def _scrape(exporter: Exporter) -> tuple[list[float], bytes, int]:
    """Scrape a little slower than the tick, so that every scrape meets a page not rendered yet."""
    host = exporter.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=5)
    headers = {"Accept": PROMETHEUS_ACCEPT, "Accept-Encoding": "gzip"}
    times: list[float] = []
    body = b""
    for _ in range(SCRAPES):
        began = time.perf_counter()
        connection.request("GET", "/metrics", headers=headers)
        body = connection.getresponse().read()
        times.append(time.perf_counter() - began)
        time.sleep(0.107)
    connection.close()
    return times, gzip.decompress(body), len(body)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def _resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this kernel does not tell resident memory")


def _import_seconds() -> float:
    """Time the imports alone, in a fresh process."""
    times = []
    for _ in range(3):
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", "import joulestat.service"], check=True)
        times.append(time.monotonic() - began)
    return min(times)
