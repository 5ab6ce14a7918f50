"""Reads a few runs at once: what is asked for all of them together, and what for each."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from joulestat.optimizer.history.about import RUN_GPU, AboutReader, tariff_of
from joulestat.optimizer.history.answers import Sample
from joulestat.optimizer.history.facts import RunHistory, Slice
from joulestat.optimizer.history.gathered import Gathered, history_of
from joulestat.optimizer.history.heat import HeatReader, with_heat
from joulestat.optimizer.history.increments import STEPS
from joulestat.optimizer.history.limits import limits_of, on_one_scale, read_devices
from joulestat.optimizer.history.looks import Grid, Plan, cells_of, finer_grids, plan_looks
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.history.pulse import Pulse, PulseReader
from joulestat.optimizer.history.selector import Matcher, equals, selector
from joulestat.optimizer.history.totals import TotalsReader, is_simple
from joulestat.optimizer.history.tracks import (
    LOOKBACK_SECONDS,
    TrackReader,
    lasting_limits,
    limits_that_grew,
    limits_without_energy,
)

LONGEST_HISTORY_SECONDS = 30 * 86_400.0
"""How far back a run's start is looked for unless told otherwise."""

MOST_SERIES = 1_500
"""As many counters are read at once, unless one run alone has more."""
BRIEF_SECONDS = 21_600.0
"""Less than this is looked at in one go, whatever it holds."""
LIKELY_SERIES = 30
"""Counters to reckon with where a run shows none right now."""


class BatchReader:
    """Reads runs as of one moment. ``matchers`` are further conditions."""

    def __init__(
        self,
        client: PrometheusClient,
        matchers: Sequence[Matcher],
        at_seconds: float,
        window_seconds: float | None,
    ) -> None:
        self._client = client
        self._matchers = tuple(matchers)
        self._at_seconds = at_seconds
        self._span = window_seconds or LONGEST_HISTORY_SECONDS
        self._pulses = PulseReader(client, matchers)
        self._tracks = TrackReader(client, matchers)
        self._about = AboutReader(client, matchers)
        self._totals = TotalsReader(client, matchers)
        self._heat = HeatReader(client)
        self._tariffs: list[Sample] | None = None

    def read(self, runs: Sequence[str]) -> dict[str, RunHistory]:
        """Return the history of each run, by name.

        About 20 queries for all of them, and for each run at most 16 that look more finely, 40
        where its counters were forgotten, and a few if its nodes changed or its GPUs got hot.

        Raises:
            HistoryError: As for any query, and for all runs.
        """
        histories = {run: RunHistory(run) for run in runs}
        pulses = self._pulses.read(runs, self._at_seconds, self._span)
        ends: dict[float, list[str]] = {}
        for run, pulse in pulses.items():
            ends.setdefault(pulse.end_seconds, []).append(run)
        for end, ended in ends.items():
            n_series = self._tracks.n_series(ended, end)
            reads = [
                Gathered(
                    run, pulses[run], self._start(pulses[run]), n_series.get(run, LIKELY_SERIES)
                )
                for run in ended
            ]
            for plan, part in _alike(reads):
                self._gather(part, plan)
                histories.update(self._histories(part, end))
        return histories

    def _start(self, pulse: Pulse) -> float:
        """Return when to look first: before the run's birth, so that first values count whole."""
        begun = min(pulse.birth_seconds, pulse.end_seconds - LOOKBACK_SECONDS) - 1.0
        return math.floor(max(self._at_seconds - self._span, begun))

    def _gather(self, reads: Mapping[str, Gathered], plan: Plan) -> None:
        """Look at the counters of all runs together, then more finely into parts of each."""
        end = plan.end_seconds
        for run, about in self._about.read(list(reads), end).items():
            reads[run].about = about
        start = min(read.start_seconds for read in reads.values())
        n_series = sum(read.n_series for read in reads.values())
        grids = plan.grids(start)
        self._look_over([*reads.values()], grids[0], n_series)
        for grid in grids[1:]:
            self._look([*reads.values()], grid, n_series)
        for read in reads.values():
            for step_seconds in plan.finer_steps_seconds:
                cells = cells_of(read.step_tracks(), read.start_seconds)
                for grid in finer_grids(cells, step_seconds, end, read.n_series):
                    self._look([read], grid, read.n_series)
            missed = limits_without_energy(read.tracks)
            if missed:
                tracks = {read.run: read.tracks}
                self._tracks.add(tracks, grids[0], read.n_series, missed)
                read.looked(grids[0])
        for run, counted in self._totals.read(list(reads), end).items():
            read = reads[run]
            simple = is_simple(read.tracks, counted)
            read.counted = counted if simple else self._totals.read_again(run, end, self._span)

    def _look_over(self, reads: Sequence[Gathered], grid: Grid, n_series: int) -> None:
        """Look at all of the runs' time: at steps, and at all else of the limits that lasted.

        Of the others all else is looked at when they are looked into; so most of the samples of
        a long run need not be touched. Where counting does not begin at the run's birth, or
        begins anew, everything is looked at.
        """
        tracks = {read.run: read.tracks for read in reads}
        whole = any(read.pulse.birth_seconds < read.start_seconds for read in reads)
        short = grid.end_seconds - grid.start_seconds < BRIEF_SECONDS
        lasting: list[int] | None = None
        if not (whole or short):
            self._tracks.add(tracks, grid, n_series, None, (STEPS,))
            lasting = lasting_limits(tracks.values())
        if lasting is None or lasting:
            self._tracks.add(tracks, grid, n_series, lasting)
        for read in reads:
            self._claim(read)
            read.looked(grid)

    def _claim(self, read: Gathered) -> None:
        """See to it that it is known which devices each target showed."""
        if not read.is_claimed and not read.claims_ever:
            end = read.pulse.end_seconds
            read.claims_ever = self._about.claims_ever(read.run, read.start_seconds, end)

    def _look(self, reads: Sequence[Gathered], grid: Grid, n_series: int) -> None:
        """Look at the counters that are known to have moved."""
        tracks = [read.tracks for read in reads]
        limits = limits_that_grew(tracks, grid.start_seconds, grid.end_seconds)
        if limits is None or limits:
            self._tracks.add({read.run: read.tracks for read in reads}, grid, n_series, limits)
            for read in reads:
                self._claim(read)
                read.looked(grid)

    def _histories(
        self, reads: Mapping[str, Gathered], end: float
    ) -> Iterator[tuple[str, RunHistory]]:
        """Yield each run's history by its name."""
        slices = {
            run: read.slices(partial(self._tracks.read_raw, run)) for run, read in reads.items()
        }
        uuids = {run: self._uuids(read, slices[run]) for run, read in reads.items()}
        every = sorted({uuid for held in uuids.values() for uuid in held})
        start = min(read.start_seconds for read in reads.values())
        devices = read_devices(self._client, every, start, end)
        holders = self._about.holders(every, end)
        hot = self._heat.ever(every, start, end)
        for run, read in reads.items():
            node_of = read.nodes()
            nodes = {
                uuid: node_of.get(target, "")
                for target, claimed in read.claims.items()
                for uuid in claimed
            }
            limits = limits_of(devices, uuids[run], nodes)
            mine = {uuid: is_hot for uuid, is_hot in hot.items() if uuid in uuids[run]}
            scaled = on_one_scale(slices[run], _references(limits.reference_by_gpu, nodes))
            warmed = with_heat(scaled, self._heat.read(mine, read.grids), _by_node(nodes))
            history = history_of(read, warmed, uuids[run], limits=limits, holders=holders)
            yield (
                run,
                replace(
                    history,
                    gpu_model=devices.model(uuids[run]),
                    tariff=tariff_of(self._shown_tariffs(), read.tracks.keys()),
                ),
            )

    def _uuids(self, read: Gathered, slices: Sequence[Slice]) -> tuple[str, ...]:
        """Return the devices that a run holds, or held when it made its last steps."""
        last = max((item.start_seconds for item in slices if item.steps), default=None)
        if read.about.gpu_uuids or last is None:
            return read.about.gpu_uuids
        shown = selector(RUN_GPU, equals("run", read.run), *self._matchers)
        return tuple(sorted({s.labels["gpu_uuid"] for s in self._client.query(shown, last)}))

    def _shown_tariffs(self) -> list[Sample]:
        if self._tariffs is None:
            self._tariffs = self._about.tariffs(self._at_seconds)
        return self._tariffs


def _alike(reads: Sequence[Gathered]) -> Iterator[tuple[Plan, dict[str, Gathered]]]:
    """Yield the runs in parts that are looked at at the same times, not too many counters each.

    So a run's history is the same whichever others it is read with.
    """
    by_plan: dict[Plan, list[dict[str, Gathered]]] = {}
    for read in reads:
        end, interval = read.pulse.end_seconds, read.pulse.interval_seconds
        plan = plan_looks(read.start_seconds, end, read.n_series, interval)
        parts = by_plan.setdefault(plan, [{}])
        if parts[-1] and sum(r.n_series for r in parts[-1].values()) + read.n_series > MOST_SERIES:
            parts.append({})
        parts[-1][read.run] = read
    for plan, parts in by_plan.items():
        yield from ((plan, part) for part in parts)


def _references(by_gpu: Mapping[str, int], nodes: Mapping[str, str]) -> dict[str, int]:
    """Return each node's reference limit; none of a node whose devices do not agree."""
    found: dict[str, set[int]] = {}
    for uuid, watts in by_gpu.items():
        found.setdefault(nodes.get(uuid, ""), set()).add(watts)
    return {node: watts.pop() for node, watts in found.items() if len(watts) == 1}


def _by_node(nodes: Mapping[str, str]) -> dict[str, list[str]]:
    uuids: dict[str, list[str]] = {}
    for uuid, node in nodes.items():
        uuids.setdefault(node, []).append(uuid)
    return uuids
