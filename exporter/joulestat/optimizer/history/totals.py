"""What runs have done and spent in all their time, and what they do besides training."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from joulestat.domain.run import Phase
from joulestat.optimizer.history.answers import Sample
from joulestat.optimizer.history.increments import ENERGY_JOULES, STEP_SECONDS, STEPS
from joulestat.optimizer.history.placement import Target, target_of
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.history.selector import Matcher, any_of, selector
from joulestat.optimizer.history.tracks import RunTracks

RECENT_SECONDS = 3_600.0
"""The phases of the last hour tell what a run is doing now."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Of one run; None where unknown.

    Attributes:
        steps_done: Train steps, whatever the limit.
        joules_spent: In all phases.
        other_joules_spent: In all phases but training.
        other_phase_ratio: Share of the last hour's time that was not training.
    """

    steps_done: float | None = None
    joules_spent: float | None = None
    other_joules_spent: float | None = None
    other_phase_ratio: float | None = None


@dataclass(slots=True)
class _Target:
    steps: float = 0.0
    joules: float = 0.0
    other_joules: float = 0.0


@dataclass(slots=True)
class Counted:
    """What the targets of one run show at its last look, and of phases an hour before."""

    targets: dict[Target, _Target] = field(default_factory=dict)
    phase_seconds: dict[str, float] = field(default_factory=dict)

    def add(self, sample: Sample) -> None:
        """Count one sample of a counter."""
        target = self.targets.setdefault(target_of(sample.labels), _Target())
        metric, phase = sample.labels["__name__"], sample.labels.get("phase", "")
        if metric == ENERGY_JOULES:
            target.joules += sample.value
            target.other_joules += 0.0 if phase == Phase.TRAIN else sample.value
        elif metric == STEPS and phase == Phase.TRAIN:
            target.steps += sample.value
        elif metric == STEP_SECONDS:
            self.phase_seconds[phase] = self.phase_seconds.get(phase, 0.0) + sample.value


class TotalsReader:
    """Reads totals. ``matchers`` are further conditions."""

    def __init__(self, client: PrometheusClient, matchers: Sequence[Matcher]) -> None:
        self._client = client
        self._matchers = tuple(matchers)

    def read(self, runs: Sequence[str], end_seconds: float) -> dict[str, Counted]:
        """Return what is counted of each run at a moment; phases in the hour before it.

        Raises:
            HistoryError: As for any query.
        """
        counted: dict[str, Counted] = {}
        chosen = (any_of("run", runs), *self._matchers)
        shown = selector((STEPS, STEP_SECONDS, ENERGY_JOULES), *chosen)
        for sample in self._client.query(shown, end_seconds):
            counted.setdefault(sample.labels["run"], Counted()).add(sample)
        before = f"sum by(run, phase) ({selector(STEP_SECONDS, *chosen)})"
        for sample in self._client.query(before, end_seconds - RECENT_SECONDS):
            run = counted.get(sample.labels["run"])
            if run is not None:
                phase = sample.labels.get("phase", "")
                run.phase_seconds[phase] = run.phase_seconds.get(phase, 0.0) - sample.value
        return counted

    def read_again(self, run: str, end_seconds: float, span_seconds: float) -> Counted:
        """Return what is counted of a run that moved, ended, or was forgotten in between.

        Of a counter that began anew the server's own increase counts, which is off by up to half
        a percent: more than good enough for what is left to do.
        """
        counted = Counted()
        span = math.ceil(span_seconds)
        most: dict[frozenset[tuple[str, str]], Sample] = {}
        for metric in (STEPS, ENERGY_JOULES):
            shown = f"{selector(metric, any_of('run', [run]), *self._matchers)}[{span}s]"
            for function in ("max_over_time", "increase"):
                for sample in self._client.query(f"{function}({shown})", end_seconds):
                    labels = {**sample.labels, "__name__": metric}
                    key = frozenset(labels.items())
                    value = max(sample.value, most[key].value if key in most else 0.0)
                    most[key] = Sample(labels, value)
        for sample in most.values():
            counted.add(sample)
        return counted


def is_simple(tracks: RunTracks, counted: Counted) -> bool:
    """Tell whether the last look shows all: no target is gone, and no exporter forgot the run."""
    return tracks.keys() <= counted.targets.keys() and all(
        len(set(track.births.values())) <= 1 for track in tracks.values()
    )


def totals_of(counted: Counted, tracks: RunTracks, nodes: Mapping[Target, str]) -> Totals:
    """Return a run's totals.

    Nodes that work at one time count the same steps, so the most of them is the run's; what was
    done on other nodes before is more of it.

    Args:
        counted: What its targets show.
        tracks: When each of them was seen.
        nodes: Which node a target shows.
    """
    if not counted.targets:
        return Totals()
    steps: dict[str, float] = {}
    joules: dict[str, float] = {}
    other_joules: dict[str, float] = {}
    spans: dict[str, tuple[float, float]] = {}
    for target, total in counted.targets.items():
        node = nodes.get(target, "")
        steps[node] = max(total.steps, steps.get(node, 0.0))
        joules[node] = max(total.joules, joules.get(node, 0.0))
        other_joules[node] = max(total.other_joules, other_joules.get(node, 0.0))
        looks = tracks[target].births if target in tracks else {}
        first, last = spans.get(node, (math.inf, -math.inf))
        spans[node] = min([first, *looks]), max([last, *looks])
    done = 0.0
    together = 0.0
    until = -math.inf
    for node in sorted(spans, key=lambda node: spans[node]):
        if spans[node][0] > until:
            done += together
            together = 0.0
        together = max(together, steps[node])
        until = max(until, spans[node][1])
    return Totals(
        done + together,
        sum(joules.values()),
        sum(other_joules.values()),
        _other_ratio(counted.phase_seconds),
    )


def _other_ratio(phase_seconds: Mapping[str, float]) -> float | None:
    """Return the share of other phases; None where no time passed, or a counter fell."""
    total = sum(phase_seconds.values())
    if total <= 0 or min(phase_seconds.values()) < 0:
        return None
    return 1.0 - phase_seconds.get(Phase.TRAIN, 0.0) / total
