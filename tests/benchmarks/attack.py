"""Attack a running exporter, and prometheus_client's server beside it, and print what came of it.

Both have 256 file descriptors. ``python tests/benchmarks/attack.py``; takes about four minutes.
``--promises FILE`` writes what was measured of ours, for docs/promises.md.
"""

import argparse
import contextlib
import json
import os
import platform
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import attacking
from benchmarks.attacking import ATTACKERS, BURST, Target, Told
from promises.results import Result
from servers import attacks
from servers.exporter import Exporter
from servers.plain_exporter import plain_exporter

DESCRIPTORS = 256
GPUS = 8
HERE = "tests/benchmarks/attack.py"

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One attack on both servers.

    Attributes:
        named: What was done.
        ours: What came of it at our server.
        theirs: At prometheus_client's; None where there is nothing to compare.
        goal: What is promised of ours.
        promise: Its slug, or empty.
        kind: Of rows that are told of together, by the worst of them.
    """

    named: str
    ours: Told
    theirs: Told | None
    goal: str
    promise: str = ""
    kind: str = ""


@contextlib.contextmanager
def ours() -> Iterator[tuple[Target, Exporter]]:
    """The exporter on simulated GPUs."""
    with tempfile.TemporaryDirectory() as folder:
        exporter = Exporter(Path(folder), gpus=GPUS)
        exporter.descriptors = DESCRIPTORS
        with exporter:
            assert exporter.process is not None
            yield Target(attacks.address_of(exporter.url), exporter.process.pid), exporter


def fresh_peer(attack: Callable[[Target], T]) -> T:
    """Attack a server of prometheus_client that nobody has attacked before."""
    with plain_exporter(DESCRIPTORS) as (address, pid):
        return attack(Target(address, pid))


def rows() -> Iterator[Row]:
    """Attack, one kind after the other."""
    with ours() as (target, exporter):

        def both(
            named: str,
            attack: Callable[[Target], Told],
            goal: str,
            promise: str = "",
            kind: str = "",
        ) -> Row:
            return Row(named, attack(target), fresh_peer(attack), goal, promise, kind)

        yield both("scrapes, no attack", attacking.scrapes, "")
        named, goal = f"scrapes, {ATTACKERS:,} half-open", "p99 <= 100 ms, 0 failed"
        yield both(named, attacking.held_open, goal, "half-open")
        yield both(f"{named}, reopened", attacking.reopened, "0 failed", "half-open")
        theirs = fresh_peer(lambda each: dict(attacking.closures(each)))
        for name, told in attacking.closures(target):
            goal, kind = "all within 10 s", "never finished"
            yield Row(f"{kind}: {name}", told, theirs[name], goal, "half-open", kind)
        yield both(f"{BURST} scrapes at once", attacking.burst, "200 or 503, no reset", "burst")
        for name, pieces in attacking.TOO_LARGE.items():
            attack = partial(attacking.too_large, pieces=pieces)
            yield both(name, attack, "refused; <= +2 MiB", "oversized", "too large")
        named = "revert-all over the Unix socket meanwhile"
        yield Row(named, attacking.panic(target, exporter), None, "<= 2 s")
        told = attacking.hung(target, exporter)
        yield Row("scrapes, all GPUs hang", told, None, "p99 <= 50 ms", "scrape-timeout")


def results_of(found: Sequence[Row]) -> Iterator[Result]:
    """Yield what was measured of each promise, as its page wants it."""
    by_kind: dict[tuple[str, str], list[Row]] = {}
    for row in found:
        if row.promise:
            by_kind.setdefault((row.promise, row.kind or row.named), []).append(row)
    for (promise, named), rows in by_kind.items():
        worst = max(rows, key=lambda row: row.ours.worst)
        text = worst.ours.text
        if len(rows) > 1:
            which = worst.named.removeprefix(f"{named}: ")
            text = f"of {len(rows)} kinds the worst, {which}: {text}"
        outcome = "passed" if all(row.ours.kept for row in rows) else "failed"
        yield Result(promise, f"{HERE}::{named}", outcome, f"{named}: {text}")


def write(path: Path, found: Sequence[Row]) -> None:
    """Write what was measured of each promise."""
    results = [asdict(each) for each in results_of(found)]
    path.write_text(json.dumps(results, indent=1) + "\n")


def main(arguments: Sequence[str]) -> None:
    """Attack, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--promises", type=Path, metavar="FILE", help="write what was measured")
    wanted = parser.parse_args(arguments)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    console = Console()
    if not console.is_terminal:
        console.width = 170
    table = Table(
        title=f"Python {platform.python_version()}, {os.cpu_count()} CPUs, "
        f"{DESCRIPTORS} descriptors each"
    )
    for column in ("attack", "joulestat", "prometheus_client", "target"):
        table.add_column(column)
    found = []
    with console.status("attacking"):
        for row in rows():
            found.append(row)
            theirs = row.theirs.text if row.theirs is not None else ""
            table.add_row(row.named, row.ours.text, theirs, row.goal)
    console.print(table)
    if wanted.promises is not None:
        write(wanted.promises, found)


if __name__ == "__main__":
    main(sys.argv[1:])
