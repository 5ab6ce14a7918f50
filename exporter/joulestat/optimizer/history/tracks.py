"""Reads a run's counters from Prometheus, node by node, as stored values on a grid of times."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from joulestat.domain.run import Phase
from joulestat.optimizer.history.increments import COUNTERS, STEPS, CounterKey, NodeTrack
from joulestat.optimizer.history.placement import Target, nodes_of, target_of
from joulestat.optimizer.history.promql import Labels, Point, PrometheusClient
from joulestat.optimizer.history.selector import Matcher, equals, one_of, selector, whole_number

RUN_START = "joulestat_run_start_timestamp_seconds"
RUN_GPU = "joulestat_run_gpu"

LOOKBACK_SECONDS = 300.0
"""Prometheus repeats a series' last value for this long, unless it was marked stale."""
RETENTION_SECONDS = 900.0
"""The exporter shows an ended run for this long: a node that vanishes sooner did not end."""
RAW_AT_MOST_SECONDS = 3_600.0
"""Raw samples are read over an hour at most: more can take a production server down."""

GRID_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600)
MAX_POINTS_IN_ALL = 2_000_000
MAX_POINTS_PER_SERIES = 50_000
LIKELY_SERIES = 30
"""Ten limits of one node: the least to reckon with before it is known."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Times to look at: start, start + step, ... and end. Unix seconds."""

    start_seconds: float
    end_seconds: float
    step_seconds: float


@dataclass(frozen=True, slots=True)
class Tracks:
    """All nodes of a run.

    Attributes:
        by_node: Counters by name of the node.
        nodes: Which node a target shows.
    """

    by_node: Mapping[str, NodeTrack]
    nodes: Mapping[Target, str]


class TrackReader:
    """Reads one run's counters. ``matchers`` select the run."""

    def __init__(self, client: PrometheusClient, matchers: Sequence[Matcher]) -> None:
        self._client = client
        self._matchers = tuple(matchers)
        self._conditions = (
            *matchers,
            equals("phase", Phase.TRAIN.value),
            # Leaves out "transition" and "mixed": there no one limit was in force.
            whole_number("power_limit_watts"),
        )

    def n_series(self, at_seconds: float) -> int:
        """Return how many counters the run shows at this moment."""
        return len(self._client.query(selector(COUNTERS, *self._conditions), at_seconds))

    def read(self, grid: Grid) -> Tracks:
        """Read counters and starts on the grid, closed by the values at its very end.

        Raises:
            HistoryError: As for any query.
        """
        found: list[tuple[Labels, Sequence[Point]]] = []
        for expression in (
            selector(COUNTERS, *self._conditions),
            selector(RUN_START, *self._matchers),
        ):
            series = self._client.query_range(
                expression, grid.start_seconds, grid.end_seconds, grid.step_seconds
            )
            found += [(item.labels, item.points) for item in series]
            closing = self._client.query(expression, grid.end_seconds)
            at_seconds = round(grid.end_seconds, 3)
            found += [(item.labels, ((at_seconds, item.value),)) for item in closing]
        nodes = self._nodes({target_of(labels) for labels, _ in found}, grid)
        tracks: dict[str, NodeTrack] = {}
        for labels, points in found:
            node = nodes[target_of(labels)]
            track = tracks.setdefault(node, NodeTrack(node))
            if labels.get("__name__") == RUN_START:
                track.note_births(points)
            else:
                track.note(_key(labels), points)
        return Tracks(tracks, nodes)

    def read_raw(
        self, targets: Sequence[Target], after: float, until: float
    ) -> dict[CounterKey, list[Point]]:
        """Return the stored samples of a node, whichever targets show them, merged by time.

        Args:
            targets: The targets that show the node.
            after: Unix time; samples at it are left out.
            until: Unix time; samples at it are in.
        """
        after = max(after, until - RAW_AT_MOST_SECONDS)
        # One second more, and the edges cut here: whether a range includes its left end
        # differs between Prometheus 2 and 3.
        span = math.ceil(until - after) + 1
        samples: dict[CounterKey, list[Point]] = {}
        for target in targets:
            exact = [equals(name, value) for name, value in sorted(target)]
            shown = selector(COUNTERS, *self._conditions, *exact)
            for series in self._client.query_raw(f"{shown}[{span}s]", until):
                inside = [point for point in series.points if after < point[0] <= until]
                samples.setdefault(_key(series.labels), []).extend(inside)
        return {key: sorted(points) for key, points in samples.items()}

    def devices(self, at_seconds: float) -> tuple[str, ...]:
        """Return the UUIDs of the devices that the run holds at this moment, in order."""
        samples = self._client.query(selector(RUN_GPU, *self._matchers), at_seconds)
        return tuple(sorted({sample.labels["gpu_uuid"] for sample in samples}))

    def holders(self, gpu_uuids: Sequence[str], at_seconds: float) -> list[str]:
        """Return the runs that hold any of these devices at this moment, in order of name."""
        if not gpu_uuids:
            return []
        held = self._client.query(selector(RUN_GPU, one_of("gpu_uuid", gpu_uuids)), at_seconds)
        return sorted({sample.labels["run"] for sample in held})

    def _nodes(self, targets: set[Target], grid: Grid) -> dict[Target, str]:
        claims: dict[Target, set[str]] = {}
        if len(targets) > 1:
            span = math.ceil(grid.end_seconds - grid.start_seconds)
            shown = f"last_over_time({selector(RUN_GPU, *self._matchers)}[{span}s])"
            for sample in self._client.query(shown, grid.end_seconds):
                claims.setdefault(target_of(sample.labels), set()).add(sample.labels["gpu_uuid"])
        return nodes_of(targets, claims)


def grid_step_seconds(span_seconds: float, n_series: int, interval_seconds: float | None) -> float:
    """Return how densely to look: as densely as it is scraped, unless that is too much to carry.

    30 series over a day scraped every 15 s: 15 s. Over 30 days: 60 s.
    """
    points = min(MAX_POINTS_PER_SERIES, MAX_POINTS_IN_ALL / max(n_series, LIKELY_SERIES))
    finest = max(span_seconds / points, min(interval_seconds or 1.0, LOOKBACK_SECONDS / 5))
    return float(next((step for step in GRID_SECONDS if step >= finest), GRID_SECONDS[-1]))


def broken_evidence(tracks: Mapping[str, NodeTrack], step_seconds: float) -> list[str]:
    """Name what makes sums over nodes wrong: a missing counter, a node that went dark."""
    problems = []
    last_seen = {node: max(track.values, default=0.0) for node, track in tracks.items()}
    newest = max(last_seen.values(), default=0.0)
    patience = max(LOOKBACK_SECONDS, 2 * step_seconds)
    for node, track in tracks.items():
        seen = {metric for values in track.values.values() for metric, _ in values}
        missing = sorted(set(COUNTERS) - seen)
        if STEPS in seen and missing:
            problems.append(f"{node} shows steps of the run, but no {' and no '.join(missing)}")
        dark_seconds = newest - last_seen[node]
        if last_seen[node] and patience < dark_seconds < RETENTION_SECONDS:
            problems.append(
                f"{node} has not been scraped for {dark_seconds:.0f} s although the run goes on"
            )
    return problems


def _key(labels: Labels) -> CounterKey:
    return labels["__name__"], int(labels["power_limit_watts"])
