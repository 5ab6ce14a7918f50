"""Reads back from Prometheus what a run did under which power limit.

Prometheus is the only memory: every call reads everything anew and remembers nothing, so a
decision can be repeated later by anyone, and killing the optimizer loses nothing.
"""

import math
from collections.abc import Sequence
from functools import partial

from joulestat.domain.plan import Window
from joulestat.optimizer.history.facts import RunHistory, Slice
from joulestat.optimizer.history.increments import slices_of
from joulestat.optimizer.history.limits import read_limits
from joulestat.optimizer.history.placement import present_placement
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.history.pulse import Pulse, is_fresh, read_pulse
from joulestat.optimizer.history.selector import Matcher, equals, selector
from joulestat.optimizer.history.tracks import (
    LOOKBACK_SECONDS,
    RUN_START,
    Grid,
    TrackReader,
    Tracks,
    broken_evidence,
    grid_step_seconds,
)

RUN_LAST_PUSH = "joulestat_run_last_push_timestamp_seconds"

LONGEST_HISTORY_SECONDS = 30 * 86_400.0
"""How far back a run's start is looked for unless told otherwise."""


class PrometheusHistory:
    """Reads runs from one Prometheus. Not for several threads at once."""

    def __init__(self, client: PrometheusClient, matchers: Sequence[Matcher] = ()) -> None:
        """Read with this client, only series that also meet the matchers."""
        self._client = client
        self._matchers = tuple(matchers)

    def now_seconds(self) -> float:
        """Return Prometheus' own Unix time.

        Raises:
            HistoryError: As for any query.
        """
        return self._client.now_seconds()

    def runs(self, at_seconds: float) -> list[str]:
        """Return the names of the runs that are shown at this moment, in order.

        Raises:
            HistoryError: As for any query.
        """
        expression = f"group by(run) ({selector(RUN_START, *self._matchers)})"
        samples = self._client.query(expression, at_seconds)
        return sorted({sample.labels.get("run", "") for sample in samples} - {""})

    def read(self, run: str, at_seconds: float, window_seconds: float | None = None) -> RunHistory:
        """Return a run's history up to a moment.

        Args:
            run: Name of the run; any text is safe.
            at_seconds: Unix time; nothing later is looked at.
            window_seconds: How far back to look; None for the whole run, 30 days at most.

        Raises:
            HistoryError: Prometheus gave no answer, or one that cannot be trusted.
        """
        matchers = (equals("run", run), *self._matchers)
        span = window_seconds or LONGEST_HISTORY_SECONDS
        # The earliest: an exporter that lost its state gives a run a new beginning.
        births = self._over_time("min_over_time", RUN_START, matchers, span, at_seconds)
        if not births:
            return RunHistory(run)
        pulse = read_pulse(self._client, matchers, at_seconds, min(births))
        end = at_seconds
        if not pulse.age_seconds:
            # Over long ago: a fine grid over the time since would find nothing.
            pushes = self._over_time("max_over_time", RUN_LAST_PUSH, matchers, span, at_seconds)
            end = min(at_seconds, max(pushes, default=at_seconds) + LOOKBACK_SECONDS)
        # From before its birth, so that its counters' first values count whole.
        start = math.floor(max(at_seconds - span, min(*births, end - LOOKBACK_SECONDS) - 1.0))
        reader = TrackReader(self._client, matchers)
        step = grid_step_seconds(end - start, reader.n_series(end), pulse.interval_seconds)
        return self._read_grid(run, reader, Grid(start, end, step), pulse)

    def _read_grid(self, run: str, reader: TrackReader, grid: Grid, pulse: Pulse) -> RunHistory:
        tracks = reader.read(grid)
        slices = _slices(tracks, reader, grid)
        times = [at_seconds for track in tracks.by_node.values() for at_seconds in track.values]
        last_start = max((item.start_seconds for item in slices if item.steps), default=None)
        held = reader.devices(grid.end_seconds)
        uuids = held or (() if last_start is None else reader.devices(last_start))
        age = pulse.oldest_node_seconds(tracks.nodes, {item.node for item in slices})
        fresh = is_fresh(age, pulse.interval_seconds)
        return RunHistory(
            run=run,
            slices=tuple(slices),
            window=Window(min(times), max(times)) if times else None,
            gpu_uuids=uuids,
            limits=read_limits(
                self._client, uuids, grid.start_seconds, grid.end_seconds, grid.step_seconds
            ),
            live=fresh and bool(held) and not pulse.ended,
            fresh=fresh,
            ended=pulse.ended,
            sample_age_seconds=age,
            shared_with=tuple(
                name for name in reader.holders(uuids, grid.end_seconds) if name != run
            ),
            problems=tuple(broken_evidence(tracks.by_node, grid.step_seconds)),
        )

    def _over_time(
        self,
        function: str,
        metric: str,
        matchers: Sequence[Matcher],
        span: float,
        at_seconds: float,
    ) -> list[float]:
        expression = f"{function}({selector(metric, *matchers)}[{math.ceil(span)}s])"
        return [sample.value for sample in self._client.query(expression, at_seconds)]


def _slices(tracks: Tracks, reader: TrackReader, grid: Grid) -> list[Slice]:
    """Return what all nodes did, in time order, as long as they are the run's present ones."""
    slices: list[Slice] = []
    for node, track in tracks.by_node.items():
        targets = [target for target, name in tracks.nodes.items() if name == node]
        slices += slices_of(track, grid.start_seconds, partial(reader.read_raw, targets))
    slices.sort(key=lambda item: item.end_seconds)
    return present_placement(slices, max(LOOKBACK_SECONDS, 2 * grid.step_seconds))
