"""When and where a run was seen: looks at its start, on a grid that leaves no time out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from joulestat.optimizer.history.answers import Point
from joulestat.optimizer.history.looks import Grid
from joulestat.optimizer.history.placement import Target, target_of
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.history.selector import Matcher, equals, selector
from joulestat.optimizer.history.tracks import RUN_START
from joulestat.report.lives import edges

SEARCH_STEP_SECONDS = 3_600.0
SEARCHED_SECONDS = (30 * 86_400.0, 400 * 86_400.0)
"""A run is looked for in the month before a moment, then in thirteen."""

STEPS_SECONDS = (5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0)
"""Of whole hours, so that no step lies across the turn of one; an hour at most, because
intensities of electricity come by the hour, and samples are read one by one over a step."""
MOST_LOOKS = 1_000


@dataclass(slots=True)
class Sighting:
    """When a run was seen.

    Attributes:
        grid: At which times it was looked for.
        looks: What each target showed: times, and the run's start as it stood then.
        samples: The run's start sample by sample, where lives of its counters began or ended.
    """

    grid: Grid
    looks: dict[Target, list[Point]] = field(default_factory=dict)
    samples: dict[Target, list[Point]] = field(default_factory=dict)


class SightingReader:
    """Finds a run. ``matchers`` are further conditions on its series."""

    def __init__(self, client: PrometheusClient, run: str, matchers: Sequence[Matcher]) -> None:
        self._client = client
        self._shown = selector(RUN_START, equals("run", run), *matchers)
        self._since_seconds: float | None = None

    def read(self, at_seconds: float, since_seconds: float | None = None) -> Sighting | None:
        """Return when the run was seen up to a moment; None where it never was.

        Args:
            at_seconds: Unix time; nothing later is looked at.
            since_seconds: Unix time; what began before it is another run of the name. None where
                there is none such.

        Raises:
            HistoryError: As for any query.
        """
        self._since_seconds = since_seconds
        found = self._found(at_seconds)
        if found is None:
            return None
        begin, end = found
        step = next(
            (step for step in STEPS_SECONDS if (end - begin) / step <= MOST_LOOKS),
            STEPS_SECONDS[-1],
        )
        grid = Grid(math.floor(begin / step) * step, end, step)
        sighting = Sighting(grid, self._looks(grid))
        self._read_samples(sighting)
        return sighting

    def _found(self, at_seconds: float) -> tuple[float, float] | None:
        """Return moments before the first and at or after the last sample of the run."""
        for span in SEARCHED_SECONDS:
            grid = Grid(at_seconds - span, at_seconds, SEARCH_STEP_SECONDS)
            looks = [point for points in self._looks(grid).values() for point in points]
            if not looks:
                continue
            begin = min(at for at, _ in looks) - SEARCH_STEP_SECONDS
            born = min(birth for _, birth in looks)
            if born >= at_seconds - span or span == SEARCHED_SECONDS[-1]:
                return begin, max(at for at, _ in looks)
        return None

    def _looks(self, grid: Grid) -> dict[Target, list[Point]]:
        """Return what each target showed at the times of a grid, its end included."""
        shown = f"last_over_time({self._shown}[{grid.step_seconds:.0f}s])"
        looks: dict[Target, dict[float, float]] = {}
        span = (grid.start_seconds, grid.end_seconds, grid.step_seconds)
        for series in self._client.query_changes(shown, *span, 1, {}):
            looks.setdefault(target_of(series.labels), {}).update(self._mine(series.points))
        for sample in self._client.query(shown, grid.end_seconds):
            end = self._mine([(grid.end_seconds, sample.value)])
            looks.setdefault(target_of(sample.labels), {}).update(end)
        return {target: sorted(points.items()) for target, points in looks.items() if points}

    def _mine(self, points: Sequence[Point]) -> list[Point]:
        """Leave out what is of an earlier run of the name."""
        since = self._since_seconds
        return [point for point in points if since is None or point[1] >= since]

    def _read_samples(self, sighting: Sighting) -> None:
        """Read sample by sample where lives began or ended, all targets of one look at once."""
        wanted: dict[float, set[Target]] = {}
        for target, looks in sighting.looks.items():
            for at_seconds in edges(looks):
                wanted.setdefault(at_seconds, set()).add(target)
        span = f"{sighting.grid.step_seconds:.0f}s"
        for at_seconds, targets in wanted.items():
            for series in self._client.query_raw(f"{self._shown}[{span}]", at_seconds):
                target = target_of(series.labels)
                if target in targets:
                    sighting.samples.setdefault(target, []).extend(self._mine(series.points))
