"""When to look at a run's counters: seldom over weeks, often where something happened.

A run of 30 days scraped every 15 s has 172,800 scrapes. What is worth knowing of them fits into a
few hundred looks: the last hour scrape by scrape, the rest in 240 equal parts, and of those parts
finely only the ones in which the power limit changed, counters were forgotten, or a limit was in
force that has few looks of its own otherwise.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from joulestat.optimizer.history.increments import STEPS, NodeTrack, was_reset

DENSE_SECONDS = (1, 2, 5, 10, 15, 30, 60)
RECENT_SECONDS = 3_600.0
MOST_RECENT_LOOKS = 720
"""The last hour is looked at scrape by scrape, because probes are watched through it; where that
is scraped more often than every 5 s, the last 720 scrapes."""

MOST_COARSE_LOOKS = 240
LEAST_COARSE_LOOKS = 60
MOST_DENSE_LOOKS = 480
"""A run with fewer scrapes is looked at scrape by scrape, all of it."""
MOST_PARTS = 32
"""A part is looked into this finely at once; longer ones in two goes."""
MOST_CELLS = 24
MOST_SPANS = 8
"""How many parts are looked into in one go, and in how many queries."""
MOST_POINTS = 1_000_000
"""About as many points are read of one run, whatever its history looks like."""

ENOUGH_SLICES = 8
"""A limit with as many parts of its own has its error bar."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Times to look at: start, start + step, ... and end. Unix seconds."""

    start_seconds: float
    end_seconds: float
    step_seconds: float


@dataclass(frozen=True, slots=True)
class Cell:
    """The time between two looks at a node, of which something is to be known better.

    Attributes:
        start_seconds: Unix time of the earlier look.
        end_seconds: Unix time of the later one.
        urgency: What is looked into first has the lowest.
    """

    start_seconds: float
    end_seconds: float
    urgency: tuple[int, int, float]


@dataclass(frozen=True, slots=True)
class Plan:
    """How to look at one run. Runs with equal plans can be looked at together.

    Attributes:
        end_seconds: Unix time of the last look.
        step_seconds: Between looks at all of its time.
        n_recent: How many of the last scrapes are looked at one by one; 0 where all are.
        finer_steps_seconds: How finely to look into parts, one go after the other.
    """

    end_seconds: float
    step_seconds: float
    n_recent: int = 0
    finer_steps_seconds: tuple[float, ...] = ()

    def grids(self, start_seconds: float) -> list[Grid]:
        """Return what to look at first, from this Unix time or a little earlier."""
        n_looks = max(1, math.ceil((self.end_seconds - start_seconds) / self.step_seconds))
        grids = [_back(self.end_seconds, n_looks, self.step_seconds)]
        if self.n_recent:
            grids.append(_back(self.end_seconds, self.n_recent, self.finer_steps_seconds[-1]))
        return grids


def plan_looks(
    start_seconds: float, end_seconds: float, n_series: int, interval_seconds: float | None
) -> Plan:
    """Return how to look at a run.

    All times are whole dense steps before the end, so that no look is wasted beside another.
    Never more than 480 looks at first, 720 of the last hour and 24 x 32 in each of two goes; a run
    of thousands of series has fewer.

    Args:
        start_seconds: Unix time before the run's first sample.
        end_seconds: Unix time of the last look.
        n_series: How many counters the run has.
        interval_seconds: Between its scrapes; None where unknown.
    """
    dense = _dense_step(interval_seconds)
    n_dense = max(1, math.ceil((end_seconds - start_seconds) / dense))
    affordable = MOST_POINTS / max(n_series, 1)
    if n_dense <= min(MOST_DENSE_LOOKS, affordable):
        return Plan(end_seconds, dense)
    n_looks = min(max(affordable / 4, LEAST_COARSE_LOOKS), MOST_COARSE_LOOKS)
    # In steps of a half more, so that runs of about one age have one plan.
    factor = 2
    while factor < n_dense / n_looks:
        factor += factor // 2
    middle = 1 if factor <= MOST_PARTS else math.ceil(math.sqrt(factor))
    recent = min(math.floor(RECENT_SECONDS / dense), MOST_RECENT_LOOKS)
    return Plan(
        end_seconds,
        step_seconds=dense * middle * math.ceil(factor / middle),
        # Of the last hour only the counters that moved are read, a few limits of many.
        n_recent=round(min(recent, max(affordable, LEAST_COARSE_LOOKS))),
        finer_steps_seconds=(dense,) if middle == 1 else (dense * middle, dense),
    )


def _back(end_seconds: float, n_steps: int, step_seconds: float) -> Grid:
    return Grid(end_seconds - n_steps * step_seconds, end_seconds, step_seconds)


def _dense_step(interval_seconds: float | None) -> float:
    """Return the scrape interval or a little more; a minute at most, for Prometheus's lookback."""
    interval = 1.0 if interval_seconds is None else interval_seconds
    # A scrape that was missed or came late makes the interval look longer than it is.
    return float(next((step for step in DENSE_SECONDS if step >= 0.75 * interval), 60))


def cells_of(tracks: Iterable[NodeTrack], start_seconds: float) -> list[Cell]:
    """Return what should be looked into, most urgent first.

    Args:
        tracks: All nodes of a run.
        start_seconds: Unix time at which the run is looked at from.
    """
    tracks = list(tracks)
    worked: dict[tuple[float, float], set[int]] = {}
    urgent: set[tuple[float, float]] = set()
    for track in tracks:
        own, forgotten = _worked(track, start_seconds)
        urgent |= forgotten
        if len(tracks) > 1 and own:
            # Which nodes the run was on at one time is told by their first and last steps.
            urgent |= {min(own), max(own)}
        for span, limits in own.items():
            worked.setdefault(span, set()).update(limits)
    alone = Counter(limit for limits in worked.values() if len(limits) == 1 for limit in limits)
    cells = [Cell(*span, (0, 0, -span[1])) for span in urgent]
    for span, limits in worked.items():
        scarcest = min(alone[limit] for limit in limits)
        if span not in urgent and (len(limits) > 1 or scarcest < ENOUGH_SLICES):
            cells.append(Cell(*span, (1, min(scarcest, ENOUGH_SLICES), -span[1])))
    return sorted(cells, key=lambda cell: cell.urgency)


def _worked(
    track: NodeTrack, start_seconds: float
) -> tuple[dict[tuple[float, float], set[int]], set[tuple[float, float]]]:
    """Return the limits under which steps were made between looks, and where counters fell."""
    worked: dict[tuple[float, float], set[int]] = {}
    forgotten: set[tuple[float, float]] = set()
    known: dict[tuple[str, int], float] = {}
    birth: float | None = None
    seen: float | None = None
    for at in sorted(track.values.keys() | track.births.keys()):
        values = track.values.get(at, {})
        new_birth = track.births.get(at, birth)
        begin = max(start_seconds, min(at, new_birth or at)) if seen is None else seen
        limits = {
            key[1]
            for key, value in values.items()
            if key[0] == STEPS and value != known.get(key, 0.0)
        }
        if limits:
            worked[begin, at] = limits
        if seen is not None and was_reset(known, values, birth, new_birth):
            forgotten.add((begin, at))
        known.update(values)
        birth, seen = new_birth, at
    return worked, forgotten


def finer_grids(
    cells: Sequence[Cell], step_seconds: float, end_seconds: float, n_series: int
) -> list[Grid]:
    """Return where to look again, this finely: eight grids at most.

    Args:
        cells: What should be looked into, most urgent first.
        step_seconds: How finely.
        end_seconds: Unix time that all looks are whole steps away from.
        n_series: How many counters the run has.
    """
    taken: list[tuple[int, int]] = []
    most_parts = min(MOST_CELLS * MOST_PARTS, MOST_POINTS / max(n_series, 1) / 4)
    for cell in cells:
        # In whole steps before the end, later one first.
        last = math.floor((end_seconds - cell.end_seconds) / step_seconds + 1e-6)
        first = math.ceil((end_seconds - cell.start_seconds) / step_seconds - 1e-6)
        if first - last < 2:
            continue
        merged = _merged([*taken, (last, first)])
        if len(merged) <= MOST_SPANS and sum(b - a for a, b in merged) <= most_parts:
            taken = merged
    return [
        Grid(end_seconds - first * step_seconds, end_seconds - last * step_seconds, step_seconds)
        for last, first in taken
    ]


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join spans that touch."""
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged
