"""What the exporter's own history costs: on the tick, on disk, and to read back."""

import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from measure import Row, microseconds_per_call

from fakes.histories import BEGIN_SECONDS, KeptNode
from fakes.node import a_run, a_snapshot
from joulestat.optimizer.history.journal import JournalHistory
from joulestat.optimizer.history.journal_source import FileSource
from joulestat.runs.history.reader import HistoryReader

LOOKS_PER_FLUSH = 5
KEPT_SECONDS = 21_600
DAY_SECONDS = 86_400
DAYS = 5


def rows() -> Iterator[Row]:
    """Measure a quarter of a day second by second, and some days window by window."""
    with tempfile.TemporaryDirectory() as folder:
        node = KeptNode(Path(folder))
        snapshot = a_snapshot(None, [a_run()])
        noting = microseconds_per_call(lambda: node.keeper.note(snapshot, ()))
        yield Row("taking a look, on the tick", noting, "us", 10.0)
    with tempfile.TemporaryDirectory() as folder:
        yield from _busy(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        yield from _long_run(Path(folder))


def _busy(folder: Path) -> Iterator[Row]:
    node = _begun(folder)
    seconds: list[float] = []
    for at in range(1, KEPT_SECONDS + 1):
        for run in node.cells:
            node.grow(run, steps=3, joules=230.123456, seconds=0.987654321)
        node.look(at)
        if at % LOOKS_PER_FLUSH == 0:
            began = time.thread_time()
            node.keeper.flush()
            seconds.append(time.thread_time() - began)
    node.keeper.close()
    size = node.path.stat().st_size * DAY_SECONDS / KEPT_SECONDS / len(node.cells)
    yield Row("file, per run and day", size / 1024, "KiB", 512.0)
    mean = sum(seconds) / len(seconds)
    yield Row("writing 5 s of 4 runs, CPU, mean", mean * 1e3, "ms", 10.0)
    yield Row("that is, of a core", 100 * mean / LOOKS_PER_FLUSH, "%", 0.2)


def _long_run(folder: Path) -> Iterator[Row]:
    node = _begun(folder, n_runs=1)
    end = DAYS * DAY_SECONDS
    for number, at in enumerate(range(10, end, 10)):
        limit = "250" if number // 360 % 2 else "200"
        node.grow("run-0", limit, steps=30, joules=2_301.123456, seconds=9.987654321)
        node.look(at)
        if number % 500 == 0:
            node.keeper.flush()
    node.keeper.close()
    size = node.path.stat().st_size * 30 / DAYS
    yield Row("file, one run of 30 days", size / 2**20, "MiB", 15.0)
    journal = JournalHistory([FileSource(HistoryReader(node.path))], lambda: 0.0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    history = journal.read("run-0", BEGIN_SECONDS + end)
    yield Row(f"reading {DAYS} days of it", time.monotonic() - began, "s", 2.0)
    yield Row("slices in them", len(history.slices), "")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    yield Row("memory for that, at most", grown / 1024, "MiB", 100.0)


def _begun(folder: Path, n_runs: int = 4) -> KeptNode:
    node = KeptNode(folder)
    node.look(0)
    for number in range(n_runs):
        node.begin(f"run-{number}", 0.5, gpus=(number % 2,))
    return node
