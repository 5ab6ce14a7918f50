"""What the benches share: a row of the table, and how long a call takes."""

import time
from collections.abc import Callable
from dataclasses import dataclass

REPEATS = 5
"""The fastest of these counts: noise on a busy machine only ever adds time."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        what: What was measured, for people: "scrape of 8 GPUs, 3 runs".
        value: What came out.
        unit: Of ``value`` and ``goal``: "us", "MB", "requests/s".
        goal: What it should stay below, or above for a rate; None where there is no promise.
    """

    what: str
    value: float
    unit: str
    goal: float | None = None


def microseconds_per_call(work: Callable[[], object], *, at_least_seconds: float = 0.1) -> float:
    """Return the wall time of one call in us: the fastest of five rounds.

    Args:
        work: What to call; its result is thrown away.
        at_least_seconds: How long each round lasts; the number of calls follows from it.
    """
    calls = 1
    while (seconds := _round_seconds(work, calls)) < at_least_seconds:
        calls = max(calls * 2, int(calls * at_least_seconds / max(seconds, 1e-9)))
    return min(seconds, *(_round_seconds(work, calls) for _ in range(REPEATS - 1))) / calls * 1e6


def _round_seconds(work: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        work()
    return time.perf_counter() - start
