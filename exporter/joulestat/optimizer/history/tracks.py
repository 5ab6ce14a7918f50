"""Reads runs' counters from Prometheus, as stored values at the times of a grid."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from joulestat.domain.run import Phase
from joulestat.optimizer.history.answers import Labels, Point
from joulestat.optimizer.history.increments import (
    ALWAYS_SHOWN,
    COUNTERS,
    ENERGY_JOULES,
    STEPS,
    CounterKey,
    NodeTrack,
)
from joulestat.optimizer.history.looks import Grid
from joulestat.optimizer.history.placement import Target, target_of
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.history.selector import (
    Matcher,
    any_of,
    equals,
    selector,
    whole_number,
)

RUN_START = "joulestat_run_start_timestamp_seconds"

LOOKBACK_SECONDS = 300.0
"""Prometheus repeats a series' last value for this long, unless it was marked stale."""
RETENTION_SECONDS = 900.0
"""The exporter shows an ended run for this long: a node that vanishes sooner did not end."""
ENOUGH_LOOKS = 8
"""A limit with steps at more looks than these lasts; others are looked into anyway."""
RAW_AT_MOST_SECONDS = 3_600.0
"""Raw samples are read over an hour at most: more can take a production server down."""


@dataclass(slots=True)
class TargetTrack:
    """What one target showed of a run.

    Attributes:
        series: Points by counter and Unix time, those at which a value is new.
        births: When the run began, by Unix time of looking, all looks.
    """

    series: dict[CounterKey, dict[float, float]] = field(default_factory=dict)
    births: dict[float, float] = field(default_factory=dict)


RunTracks = dict[Target, TargetTrack]
"""What all targets showed of one run."""


class TrackReader:
    """Reads the counters of a few runs at once. ``matchers`` are further conditions."""

    def __init__(self, client: PrometheusClient, matchers: Sequence[Matcher]) -> None:
        self._client = client
        self._matchers = tuple(matchers)

    def n_series(self, runs: Sequence[str], at_seconds: float) -> dict[str, int]:
        """Return how many counters each run shows at this moment."""
        counted = f"count by(run) ({selector(COUNTERS, *self._conditions(runs))})"
        return {
            sample.labels.get("run", ""): round(sample.value)
            for sample in self._client.query(counted, at_seconds)
        }

    def add(
        self,
        tracks: Mapping[str, RunTracks],
        grid: Grid,
        n_series: int,
        limits: Sequence[int] | None = None,
        metrics: Sequence[str] = COUNTERS,
    ) -> None:
        """Look at the counters and starts of all these runs at the times of a grid.

        Args:
            tracks: What is known of each run so far; what is seen is added.
            grid: When to look.
            n_series: How many counters the runs have together, about.
            limits: Counters of these power limits alone, because the others stood still then;
                None for all.
            metrics: Which counters.

        Raises:
            HistoryError: As for any query.
        """
        runs = list(tracks)
        started = _stored(selector(RUN_START, any_of("run", runs), *self._matchers))
        counted = _stored(selector(metrics, *self._conditions(runs, limits)))
        span = (grid.start_seconds, grid.end_seconds, grid.step_seconds)
        # In one query: of the starts every point counts, because they tell when a node was seen.
        asked = f"{started} or {counted}"
        every = {"__name__": RUN_START}
        for series in self._client.query_changes(asked, *span, n_series + len(runs), every):
            track = _of(tracks, series.labels)
            if series.labels["__name__"] == RUN_START:
                track.births.update(series.points)
            else:
                track.series.setdefault(_key(series.labels), {}).update(series.points)

    def read_raw(
        self, run: str, targets: Sequence[Target], after: float, until: float
    ) -> dict[CounterKey, list[Point]]:
        """Return the stored samples of a node, whichever targets show them, merged by time.

        Args:
            run: Which run.
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
            shown = selector(COUNTERS, *self._conditions([run]), *exact)
            for series in self._client.query_raw(f"{shown}[{span}s]", until):
                inside = [point for point in series.points if after < point[0] <= until]
                samples.setdefault(_key(series.labels), []).extend(inside)
        return {key: sorted(points) for key, points in samples.items()}

    def _conditions(
        self, runs: Sequence[str], limits: Sequence[int] | None = None
    ) -> Iterator[Matcher]:
        yield any_of("run", runs)
        yield from self._matchers
        yield equals("phase", Phase.TRAIN.value)
        # Leaves out "transition" and "mixed": there no one limit was in force.
        if limits is None:
            yield whole_number("power_limit_watts")
        else:
            yield any_of("power_limit_watts", [str(watts) for watts in limits])


def node_track(
    node: str, targets: Sequence[TargetTrack], metrics: Collection[str] = COUNTERS
) -> NodeTrack:
    """Return what was seen of a node through all targets that show it.

    Where two scrapers saw it, the later look is the larger. Each counts for as long as it sees
    the run, with what it saw last.

    Args:
        node: Its name.
        targets: What they showed.
        metrics: Which counters.
    """
    track = NodeTrack(node)
    for target in targets:
        track.note_births(target.births.items())
        for key, points in target.series.items():
            if key[0] not in metrics:
                continue
            seen = points.items()
            track.note(key, seen if len(targets) == 1 else _filled(target.births, dict(seen)))
    return track


def limits_that_grew(
    tracks: Iterable[RunTracks], start_seconds: float, end_seconds: float
) -> list[int] | None:
    """Return the power limits whose counters moved between two looks, or about then.

    None where a run was begun anew in between: then any of them may have fallen and risen again.
    """
    grew: set[int] = set()
    for track in (track for run in tracks for track in run.values()):
        births = {birth for at, birth in track.births.items() if at <= end_seconds}
        if len(births) > 1:
            return None
        for (_, limit), points in track.series.items():
            if limit not in grew:
                before = [at for at in points if at <= start_seconds]
                after = [at for at in points if start_seconds < at <= end_seconds]
                if after and (not before or points[max(after)] != points[max(before)]):
                    grew.add(limit)
    return sorted(grew)


def lasting_limits(tracks: Iterable[RunTracks]) -> list[int] | None:
    """Return the power limits under which steps were seen to be made at many looks.

    None where a run was begun anew in between: then all counters matter all the time.
    """
    lasting: set[int] = set()
    for track in (track for run in tracks for track in run.values()):
        if len(set(track.births.values())) > 1:
            return None
        for (metric, limit), points in track.series.items():
            if metric == STEPS and len(points) > ENOUGH_LOOKS:
                lasting.add(limit)
    return sorted(lasting)


def limits_without_energy(tracks: RunTracks) -> list[int]:
    """Return the power limits whose steps were looked at when their energy was not."""
    missed: set[int] = set()
    for track in tracks.values():
        for (metric, limit), points in track.series.items():
            if metric == STEPS:
                energy = track.series.get((ENERGY_JOULES, limit), {})
                before = 0.0
                for at_seconds in sorted(points):
                    if points[at_seconds] != before and at_seconds not in energy:
                        missed.add(limit)
                    before = points[at_seconds]
    return sorted(missed)


def _filled(births: Mapping[float, float], points: Mapping[float, float]) -> list[Point]:
    """Return a value for every look from the first one on, until the run is begun anew."""
    filled: list[Point] = []
    value: float | None = None
    before: float | None = None
    for at_seconds in sorted(births.keys() | points.keys()):
        birth = births.get(at_seconds, before)
        if birth != before:
            value = None
        value = points.get(at_seconds, value)
        if value is not None:
            filled.append((at_seconds, value))
        before = birth
    return filled


def broken_evidence(tracks: Mapping[str, NodeTrack], step_seconds: float) -> list[str]:
    """Name what makes sums over nodes wrong: a missing counter, a node that went dark.

    Args:
        tracks: By name of the node.
        step_seconds: Between the last looks.
    """
    problems = []
    last_seen = {
        node: max(track.values.keys() | track.births.keys(), default=0.0)
        for node, track in tracks.items()
    }
    newest = max(last_seen.values(), default=0.0)
    patience = max(LOOKBACK_SECONDS, 2 * step_seconds)
    for node, track in tracks.items():
        seen = {metric for values in track.values.values() for metric, _ in values}
        missing = sorted(set(ALWAYS_SHOWN) - seen)
        if STEPS in seen and missing:
            problems.append(f"{node} shows steps of the run, but no {' and no '.join(missing)}")
        dark_seconds = newest - last_seen[node]
        if last_seen[node] and patience < dark_seconds < RETENTION_SECONDS:
            problems.append(
                f"{node} has not been scraped for {dark_seconds:.0f} s although the run goes on"
            )
    return problems


def _stored(shown: str) -> str:
    """Ask for the last sample of five minutes and no older one.

    Of a plain selector VictoriaMetrics shows what is as old as the step.
    """
    return f"last_over_time({shown}[{LOOKBACK_SECONDS:.0f}s])"


def _of(tracks: Mapping[str, RunTracks], labels: Labels) -> TargetTrack:
    return tracks[labels["run"]].setdefault(target_of(labels), TargetTrack())


def _key(labels: Labels) -> CounterKey:
    return labels["__name__"], int(labels["power_limit_watts"])
