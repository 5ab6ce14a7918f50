"""What was read of one run so far, and the history that it makes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from joulestat.domain.plan import Window
from joulestat.optimizer.history.about import About
from joulestat.optimizer.history.facts import UNKNOWN_LIMITS, Limits, RunHistory, Slice
from joulestat.optimizer.history.increments import COUNTERS, STEPS, CounterKey, NodeTrack, slices_of
from joulestat.optimizer.history.looks import Grid
from joulestat.optimizer.history.placement import (
    Target,
    maybe_doubled,
    nodes_of,
    present_placement,
)
from joulestat.optimizer.history.pulse import Pulse, is_fresh
from joulestat.optimizer.history.totals import Counted, totals_of
from joulestat.optimizer.history.tracks import (
    LOOKBACK_SECONDS,
    RunTracks,
    broken_evidence,
    node_track,
)

MOST_RESETS = 40
"""As often is a run read sample by sample where its counters were forgotten."""

ReadRawOf = Callable[
    [Sequence[Target], float, float], Mapping[CounterKey, Sequence[tuple[float, float]]]
]
"""Reads the stored samples of some targets after one moment and up to another."""


@dataclass(slots=True)
class Gathered:
    """One run as far as it was read.

    Attributes:
        run: Its name.
        pulse: How it is scraped.
        start_seconds: Unix time from which it is looked at.
        n_series: How many counters it shows.
        tracks: Its counters.
        grids: When they were looked at.
        about: What it says of itself at its last look.
        claims_ever: Devices that it ever held, by target, where that was asked.
        counted: What it did in all its time.
        problems: What went wrong in reading, for people.
    """

    run: str
    pulse: Pulse
    start_seconds: float
    n_series: int
    tracks: RunTracks = field(default_factory=dict)
    grids: list[Grid] = field(default_factory=list)
    about: About = field(default_factory=About)
    claims_ever: Mapping[Target, set[str]] = field(default_factory=dict)
    counted: Counted = field(default_factory=Counted)
    problems: list[str] = field(default_factory=list)
    _by_node: dict[str, NodeTrack] = field(default_factory=dict)
    _nodes: dict[Target, str] = field(default_factory=dict)

    def looked(self, grid: Grid) -> None:
        """Take note that the counters were looked at."""
        self.grids.append(grid)
        self._by_node = {}
        self._nodes = {}

    @property
    def is_claimed(self) -> bool:
        """Whether it is known of every target which devices it showed, or there is but one."""
        return len(self.tracks) < 2 or self.tracks.keys() <= self.claims.keys()

    @property
    def claims(self) -> dict[Target, set[str]]:
        """The devices that it holds or held, by target."""
        return {**self.claims_ever, **self.about.claims}

    def nodes(self) -> dict[Target, str]:
        """Return the node behind each target."""
        if not self._nodes:
            self._nodes = nodes_of(self.tracks, self.claims)
        return self._nodes

    def node_tracks(self) -> dict[str, NodeTrack]:
        """Return the counters of each node, whichever targets show it."""
        if not self._by_node:
            self._by_node = self._tracks(COUNTERS)
        return self._by_node

    def step_tracks(self) -> list[NodeTrack]:
        """Return each node's counters of steps alone: enough to tell where to look again."""
        return list(self._tracks((STEPS,)).values())

    def _tracks(self, metrics: Sequence[str]) -> dict[str, NodeTrack]:
        targets: dict[str, list[Target]] = {}
        for target, node in self.nodes().items():
            targets.setdefault(node, []).append(target)
        return {
            node: node_track(node, [self.tracks[target] for target in members], metrics)
            for node, members in targets.items()
        }

    def slices(self, read_raw: ReadRawOf) -> list[Slice]:
        """Return what all nodes did, in time order, as long as they are the run's present ones."""
        nodes = self.nodes()
        n_resets = 0
        slices: list[Slice] = []
        for node, track in self.node_tracks().items():
            targets = [target for target, name in nodes.items() if name == node]

            def read_some(
                after: float, until: float, targets: Sequence[Target] = targets
            ) -> Mapping[CounterKey, Sequence[tuple[float, float]]]:
                nonlocal n_resets
                n_resets += 1
                return read_raw(targets, after, until) if n_resets <= MOST_RESETS else {}

            slices += slices_of(track, self.start_seconds, read_some)
        if n_resets > MOST_RESETS:
            self.problems.append(
                f"its counters began anew {n_resets} times, more than the {MOST_RESETS} that are "
                "read sample by sample; ask for less history with --window"
            )
        slices.sort(key=lambda item: item.end_seconds)
        return _without_unused(present_placement(slices, _tolerance(slices)))


def _tolerance(slices: Sequence[Slice]) -> float:
    """Return how far nodes of one run may seem apart: as far as their first and last looks are."""
    first: dict[str, Slice] = {}
    last: dict[str, Slice] = {}
    for item in slices:
        if item.steps:
            first.setdefault(item.node, item)
            last[item.node] = item
    edges = [*first.values(), *last.values()]
    widest = max((item.end_seconds - item.start_seconds for item in edges), default=0.0)
    return max(LOOKBACK_SECONDS, 2 * widest)


def _without_unused(slices: Sequence[Slice]) -> list[Slice]:
    """Leave out samples or tokens where none was ever pushed: then they are not known to be 0."""
    samples = any(item.samples for item in slices)
    tokens = any(item.tokens for item in slices)
    if samples and tokens:
        return list(slices)
    return [
        Slice(
            item.node,
            item.power_limit_watts,
            item.start_seconds,
            item.end_seconds,
            item.steps,
            item.joules,
            item.step_seconds,
            item.samples if samples else None,
            item.tokens if tokens else None,
        )
        for item in slices
    ]


def history_of(
    read: Gathered,
    slices: Sequence[Slice],
    gpu_uuids: tuple[str, ...],
    *,
    limits: Limits = UNKNOWN_LIMITS,
    holders: Mapping[str, set[str]],
) -> RunHistory:
    """Return the history that what was read of a run makes, but for model and prices.

    Args:
        read: What was read.
        slices: What it did.
        gpu_uuids: Its devices.
        limits: Theirs.
        holders: The runs that hold each device.
    """
    pulse, nodes = read.pulse, read.nodes()
    tracks = read.node_tracks()
    looks = [at for track in read.tracks.values() for at in track.births]
    age = pulse.oldest_node_seconds(nodes, {item.node for item in slices})
    fresh = is_fresh(age, pulse.interval_seconds)
    totals = totals_of(read.counted, read.tracks, nodes)
    shared = {run for uuid in gpu_uuids for run in holders.get(uuid, ())} - {read.run}
    finest = min((grid.step_seconds for grid in read.grids), default=0.0)
    return RunHistory(
        run=read.run,
        slices=tuple(slices),
        window=Window(min(looks), max(looks)) if looks else None,
        gpu_uuids=gpu_uuids,
        instances_by_gpu=read.about.instances_by_gpu,
        job=read.about.job,
        limits=limits,
        live=fresh and bool(read.about.claims) and not pulse.ended,
        fresh=fresh,
        ended=pulse.ended,
        sample_age_seconds=age,
        shared_with=tuple(sorted(shared)),
        steps_done=totals.steps_done,
        joules_spent=totals.joules_spent,
        other_joules_spent=totals.other_joules_spent,
        planned_steps=read.about.planned_steps,
        energy_budget_joules=read.about.energy_budget_joules,
        other_phase_ratio=totals.other_phase_ratio,
        problems=(
            *broken_evidence(tracks, finest),
            *maybe_doubled(read.tracks, read.claims),
            *read.problems,
        ),
    )
