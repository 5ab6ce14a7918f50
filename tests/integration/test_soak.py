"""Everything at once on two nodes, with and without an actuator: nothing leaks, nothing falls.

``SOAK_MINUTES=10`` makes it as long as what docs/promises.md says.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from fakes.patience import eventually
from servers.soak_load import Load
from servers.soaked_node import SoakedNode
from servers.taken import MIB, Taken, file_bytes, growth_bytes_per_operation, taken_by

SHORT_MINUTES = 0.05
MINUTES = float(os.environ.get("SOAK_MINUTES", SHORT_MINUTES))
SECONDS = 60 * MINUTES
LONGEST_SHORT_MINUTES = 5.0
IS_SHORT = MINUTES <= LONGEST_SHORT_MINUTES
WARM_UP_SHARE = 0.25
LOOKS = 60
"""At each process; the slope is fitted to the second half of them."""

QUIET_SECONDS = 20.0
"""How long everything may take to be as it was, once nobody asks any more."""

POOLED_THREADS = 2
"""An event loop hashes passwords and reads files on threads that it begins when the others are
busy, and keeps: a few in all."""

MOST_BYTES_PER_OPERATION = 1.0
"""1 MiB per 10^6 operations."""

NOISE_BYTES = 2 * MIB
"""What memory breathes by: SQLite keeps so much of the pages of a database, and the journal, which
remembers the answers of a day, comes to that in an hour of leases without end."""

SHORT_NOISE_BYTES = 16 * MIB
"""More in the first minutes, when two minutes of energy, fifty times a second, are not full yet."""

MOST_DATABASE_BYTES = {"ledger.sqlite": 8 * MIB, "leases.sqlite": 16 * MIB}
"""With its write-ahead log, which is written over once it has 4 MiB. Of the journal's part are
the answers that a repeated request gets again, 10,000 at most, for a day."""

MOST_RECORD_BYTES = 600
"""Of the audit log: two for every attempt to write a limit, and nothing is ever taken away."""


@dataclass
class Soaked:
    """One node, and what was seen of it."""

    node: SoakedNode
    load: Load
    looks: dict[str, list[Taken]] = field(default_factory=dict)
    quiet: list[dict[str, Taken]] = field(default_factory=list)
    files: list[dict[str, int]] = field(default_factory=list)
    records: list[int] = field(default_factory=list)

    def look(self) -> None:
        operations = self.load.operations()
        for name, pid in self.node.pids().items():
            self.looks.setdefault(name, []).append(taken_by(pid, operations))

    def look_when_quiet(self) -> None:
        self.quiet.append({name: taken_by(pid) for name, pid in self.node.pids().items()})
        self.load.read_audit()
        self.records.append(self.load.audited)
        self.files.append(
            {
                name: size
                for folder in self.node.state_folders()
                for name, size in file_bytes(folder).items()
            }
        )

    def is_as_it_was(self) -> bool:
        return all(
            is_no_more_than(self.quiet[0][name], taken_by(pid))
            for name, pid in self.node.pids().items()
        )

    def bytes_of(self, file: str) -> tuple[int, int]:
        """Before and after, with what a database has beside it."""
        before, after = (
            sum(size for name, size in sizes.items() if name.startswith(file))
            for sizes in self.files
        )
        return before, after

    def grown_bytes(self, file: str) -> int:
        before, after = self.bytes_of(file)
        return after - before


def is_no_more_than(before: Taken, now: Taken) -> bool:
    """Tell whether a process has no more threads and descriptors than it had."""
    threads = before.threads + POOLED_THREADS
    return now.threads <= threads and now.descriptors <= before.descriptors


def soak(nodes: list[Soaked], seconds: float) -> None:
    """Do everything to all nodes for a while, and look at them now and then."""
    with ExitStack() as stack:
        for each in nodes:
            stack.enter_context(each.load)
        deadline = time.monotonic() + seconds
        while (left_seconds := deadline - time.monotonic()) > 0:
            time.sleep(min(left_seconds, SECONDS / LOOKS))
            for each in nodes:
                each.look()


@pytest.fixture(scope="module")
def soaked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Soaked]]:
    """Both nodes, soaked side by side; the warm-up is not looked at."""
    folder = tmp_path_factory.mktemp("soak")
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(SoakedNode(folder / name, split=name == "split"))
            for name in ("single", "split")
        ]
        found = [Soaked(node, Load(node, seed=number)) for number, node in enumerate(nodes)]
        soak(found, WARM_UP_SHARE * SECONDS)
        for each in found:
            each.node.admin.revert_all()
            each.looks.clear()
        # What was held open is closed by now, and what was asked has been answered.
        settle(found)
        for each in found:
            each.look_when_quiet()
        soak(found, SECONDS)
        for each in found:
            each.node.admin.revert_all()
            eventually(each.is_as_it_was, within_seconds=QUIET_SECONDS)
            each.look_when_quiet()
        yield found


def settle(nodes: list[Soaked]) -> None:
    """Wait until nothing has changed about threads and descriptors for a second."""

    def state() -> list[tuple[int, int]]:
        looks = [taken_by(pid) for each in nodes for pid in each.node.pids().values()]
        return [(look.threads, look.descriptors) for look in looks]

    before, since = state(), time.monotonic()
    while time.monotonic() - since < 1.0:
        time.sleep(0.05)
        now = state()
        if now != before:
            before, since = now, time.monotonic()


Tell = Callable[[str, object], None]


@pytest.mark.promise("soak")
def test_memory_does_not_grow_with_what_is_asked(
    soaked: list[Soaked], record_property: Tell
) -> None:
    grown_bytes: dict[str, float] = {}
    allowed_bytes: dict[str, float] = {}
    for each in soaked:
        for process, looks in each.looks.items():
            name = f"{each.node.folder.name} {process}"
            half = looks[len(looks) // 2 :]
            slope = growth_bytes_per_operation(half)
            operations = half[-1].operations - half[0].operations
            cpu_ratio = (half[-1].cpu_seconds - half[0].cpu_seconds) / (
                half[-1].at_seconds - half[0].at_seconds
            )
            grown_bytes[name] = slope * operations
            noise = SHORT_NOISE_BYTES if IS_SHORT else NOISE_BYTES
            allowed_bytes[name] = max(MOST_BYTES_PER_OPERATION * operations, noise)
            record_property(
                "measured",
                f"{name}: {grown_bytes[name] / MIB:+.1f} MiB over the last {operations:,} "
                f"operations, {half[-1].resident_bytes / MIB:.0f} MiB, "
                f"{100 * cpu_ratio:.0f} % of a core",
            )
    assert {} == {
        name: (grown, allowed_bytes[name])
        for name, grown in grown_bytes.items()
        if grown > allowed_bytes[name]
    }


@pytest.mark.promise("soak")
def test_threads_and_descriptors_are_what_they_were(
    soaked: list[Soaked], record_property: Tell
) -> None:
    for each in soaked:
        before, after = each.quiet
        for name in before:
            assert is_no_more_than(before[name], after[name]), (name, before, after)
        record_property(
            "measured",
            f"{each.node.folder.name}: "
            + ", ".join(
                f"{name} {before[name].threads} threads and {before[name].descriptors} "
                f"descriptors, then {look.threads} and {look.descriptors}"
                for name, look in after.items()
            ),
        )


@pytest.mark.promise("soak")
def test_the_disk_fills_as_fast_as_is_said(soaked: list[Soaked], record_property: Tell) -> None:
    for each in soaked:
        records = each.records[1] - each.records[0]
        record_bytes = each.grown_bytes("audit.jsonl") / records
        grown_kib = {
            database: each.grown_bytes(database) / 1024
            for database in (*MOST_DATABASE_BYTES, "history.sqlite")
        }
        record_property(
            "measured",
            f"{each.node.folder.name}: audit log {record_bytes:.0f} bytes per record, "
            + ", ".join(f"{name} {kib:+,.0f} KiB" for name, kib in grown_kib.items()),
        )
        assert 0 < record_bytes <= MOST_RECORD_BYTES
        for database, most_bytes in MOST_DATABASE_BYTES.items():
            assert each.bytes_of(database)[1] <= most_bytes


@pytest.mark.promise("soak")
def test_no_counter_fell_and_no_line_of_the_log_tells_of_trouble(
    soaked: list[Soaked], record_property: Tell
) -> None:
    for each in soaked:
        trouble = [
            line
            for line in each.node.log().splitlines()
            if "level=error" in line or "level=warning" in line or "Traceback" in line
        ]
        assert ([], []) == (each.load.counters.fell, trouble)
        asked = ", ".join(f"{count:,} {kind}" for kind, count in sorted(each.load.asked.items()))
        record_property(
            "measured", f"{each.node.folder.name}: {each.load.operations():,} operations: {asked}"
        )
