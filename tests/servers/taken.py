"""What a process takes, as /proc tells, and how that grew."""

import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from servers.attacks import descriptors, resident_kib

MIB = 1024.0 * 1024.0
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Taken:
    """One look at a process.

    Attributes:
        at_seconds: CLOCK_MONOTONIC.
        operations: How many it had been asked for until then.
        resident_bytes: Memory in use.
        threads: How many there were.
        descriptors: How many files it had open.
        cpu_seconds: Time on a core since its start.
    """

    at_seconds: float
    operations: int
    resident_bytes: int
    threads: int
    descriptors: int
    cpu_seconds: float


def taken_by(pid: int, operations: int = 0) -> Taken:
    """Look at a process that lives."""
    # The name, in parentheses, may have blanks; utime and stime are the 14th and 15th of all.
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Taken(
        time.monotonic(),
        operations,
        1024 * resident_kib(pid),
        int(after_name[17]),
        descriptors(pid),
        (int(after_name[11]) + int(after_name[12])) / _TICKS_PER_SECOND,
    )


def growth_bytes_per_operation(looks: Sequence[Taken]) -> float:
    """Return the slope of memory over operations, by least squares; 0 where there were none."""
    if looks[0].operations == looks[-1].operations:
        return 0.0
    slope, _ = statistics.linear_regression(
        [float(each.operations) for each in looks], [float(each.resident_bytes) for each in looks]
    )
    return slope


def file_bytes(folder: Path) -> dict[str, int]:
    """Return the size of every file in a folder, by its name in it."""
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
