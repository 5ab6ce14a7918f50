"""The lives of a run's counters: from where an exporter began to count it at 0 to where it ends.

``joulestat_run_start_timestamp_seconds`` comes with every scrape of a run's counters. While it
stands, the counters go on, over restarts of the exporter, too; where it changes, they were born
at 0 anew. So the energy of a life is the most that its counters ever showed, however many
scrapers saw them, and the energy of a run is the sum of its lives. No fall has to be guessed at.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from joulestat.optimizer.history.answers import Point
from joulestat.optimizer.history.placement import Target

_MILLISECOND = 0.001
"""Prometheus stores times in whole milliseconds."""


@dataclass(frozen=True, slots=True)
class Life:
    """One life of a run's counters as one target showed it.

    Attributes:
        target: Where it was scraped.
        birth_seconds: When the run began there, by the exporter's clock. Its identity.
        last_seconds: Unix time of its last sample.
        shown_seconds: Unix time at which that sample is the last one: of a look, where one shows
            it, so that many targets can be asked at once.
        reach_seconds: How far back from there its own samples lie, and no other life's.
    """

    target: Target
    birth_seconds: float
    last_seconds: float
    shown_seconds: float
    reach_seconds: float


def changes(looks: Sequence[Point]) -> list[float]:
    """Return the looks that show another life than the look before.

    Args:
        looks: When a target was seen and the run's start as it showed it, in order of time.
    """
    return [after[0] for before, after in pairwise(looks) if after[1] != before[1]]


def edges(looks: Sequence[Point]) -> list[float]:
    """Return the looks before which a life began or ended: the first and the last of each."""
    around = [
        at
        for before, after in pairwise(looks)
        if after[1] != before[1]
        for at in (before[0], after[0])
    ]
    return sorted({looks[0][0], *around, looks[-1][0]}) if looks else []


def lives_of(
    target: Target, looks: Sequence[Point], samples: Iterable[Point], step_seconds: float
) -> list[Life]:
    """Return the lives that a target showed, in order of their births.

    Args:
        target: Which.
        looks: When it was seen and the run's start then. A look shows the last sample of the
            step before it.
        samples: The run's start sample by sample, in the steps before all edges.
        step_seconds: Between looks.
    """
    first: dict[float, float] = {}
    last: dict[float, float] = {}
    for at_seconds, birth in samples:
        first[birth] = min(at_seconds, first.get(birth, at_seconds))
        last[birth] = max(at_seconds, last.get(birth, at_seconds))
    shown: dict[float, float] = {}
    for at_seconds, birth in looks:
        # Only where a server shows less sample by sample than it does at a look.
        first.setdefault(birth, at_seconds - step_seconds)
        last.setdefault(birth, at_seconds)
        shown[birth] = at_seconds
    lives: list[Life] = []
    for birth in sorted(last):
        asked = max(last[birth], shown.get(birth, last[birth]))
        reach = min(step_seconds, asked - first[birth] + _MILLISECOND)
        lives.append(Life(target, birth, last[birth], asked, reach))
    return lives
