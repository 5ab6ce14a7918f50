"""Whether runs are alive, since when, and whether their samples are new enough to act on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from joulestat.optimizer.history.placement import Target, target_of
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.history.selector import Matcher, any_of, selector
from joulestat.optimizer.history.tracks import LOOKBACK_SECONDS, RUN_START

RUN_END = "joulestat_run_end_timestamp_seconds"
RUN_LAST_PUSH = "joulestat_run_last_push_timestamp_seconds"

FRESH_SECONDS = 60.0
FRESH_SCRAPES = 5
"""The newest sample may be this old, or this many scrape intervals, whichever is longer."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """How a run's exporters are scraped, as of one moment.

    Attributes:
        birth_seconds: Unix time at which the run began, the earliest that any exporter told: one
            that lost its state gives a run a new beginning.
        end_seconds: Unix time after which there is nothing to look at.
        age_seconds: Age of the newest sample by target; empty when nothing is scraped.
        interval_seconds: Seconds between scrapes, None where unknown.
        ended: Whether every target that shows the run says that it is over.
    """

    birth_seconds: float
    end_seconds: float
    age_seconds: Mapping[Target, float]
    interval_seconds: float | None
    ended: bool

    def oldest_node_seconds(self, nodes: Mapping[Target, str], present: set[str]) -> float | None:
        """Return the age of the newest sample of the quietest node; None if one is not seen.

        Args:
            nodes: Which node a target shows.
            present: The nodes that the run is on.
        """
        ages: dict[str, float] = {}
        for target, age_seconds in self.age_seconds.items():
            node = nodes.get(target, "")
            ages[node] = min(age_seconds, ages.get(node, age_seconds))
        if not ages or present - ages.keys():
            return None
        return max(age for node, age in ages.items() if node in present or not present)


class PulseReader:
    """Reads how runs are scraped. ``matchers`` are further conditions."""

    def __init__(self, client: PrometheusClient, matchers: Sequence[Matcher]) -> None:
        self._client = client
        self._matchers = tuple(matchers)

    def read(self, runs: Sequence[str], at_seconds: float, span_seconds: float) -> dict[str, Pulse]:
        """Return the pulse of each run that was shown at all, by name.

        The start's gauge is asked because every node shows it for as long as it shows the run.

        Args:
            runs: Names.
            at_seconds: As of this Unix time.
            span_seconds: How far back to look.

        Raises:
            HistoryError: As for any query.
        """
        births: dict[str, float] = {}
        for run, value in self._over_time(
            "min_over_time", RUN_START, runs, at_seconds, span_seconds
        ):
            births[run] = min(value, births.get(run, value))
        if not births:
            return {}
        shown = self._selector(RUN_START, runs)
        ages: dict[str, dict[Target, float]] = {}
        for sample in self._client.query(f"timestamp({shown})", at_seconds):
            targets = ages.setdefault(sample.labels["run"], {})
            targets[target_of(sample.labels)] = at_seconds - sample.value
        ends: dict[str, set[Target]] = {}
        for sample in self._client.query(self._selector(RUN_END, runs), at_seconds):
            ends.setdefault(sample.labels["run"], set()).add(target_of(sample.labels))
        counts = self._most_scrapes(runs, at_seconds)
        pulses: dict[str, Pulse] = {}
        for run, birth in births.items():
            if run in ages:
                interval = _interval(counts.get(run), at_seconds - birth)
                ended = ages[run].keys() <= ends.get(run, set())
                pulses[run] = Pulse(birth, at_seconds, ages[run], interval, ended)
            else:
                pulses[run] = self._last_pulse(run, birth, at_seconds, span_seconds)
        return pulses

    def _last_pulse(self, run: str, birth: float, at_seconds: float, span_seconds: float) -> Pulse:
        """Return the pulse of a run that is not shown: looking on after its end finds nothing."""
        pushes = self._over_time("max_over_time", RUN_LAST_PUSH, [run], at_seconds, span_seconds)
        last = max((value for _, value in pushes), default=at_seconds)
        counts = self._most_scrapes([run], min(last, at_seconds))
        end = min(at_seconds, last + LOOKBACK_SECONDS)
        return Pulse(birth, end, {}, _interval(counts.get(run), last - birth), ended=False)

    def _most_scrapes(self, runs: Sequence[str], at_seconds: float) -> dict[str, float]:
        """Return how often each run's best scraped target was scraped in five minutes."""
        shown = self._selector(RUN_START, runs)
        counted = f"max by(run) (count_over_time({shown}[{LOOKBACK_SECONDS:.0f}s]))"
        return {
            sample.labels.get("run", ""): sample.value
            for sample in self._client.query(counted, at_seconds)
        }

    def _over_time(
        self, function: str, metric: str, runs: Sequence[str], at_seconds: float, span: float
    ) -> list[tuple[str, float]]:
        shown = f"{function}({self._selector(metric, runs)}[{math.ceil(span)}s])"
        return [
            (sample.labels["run"], sample.value) for sample in self._client.query(shown, at_seconds)
        ]

    def _selector(self, metric: str, runs: Sequence[str]) -> str:
        return selector(metric, any_of("run", runs), *self._matchers)


def is_fresh(age_seconds: float | None, interval_seconds: float | None) -> bool:
    """Tell whether samples of this age may be acted on; an unknown age may not."""
    if age_seconds is None:
        return False
    return age_seconds <= max(FRESH_SCRAPES * (interval_seconds or 0.0), FRESH_SECONDS)


def _interval(n_scrapes: float | None, age_seconds: float) -> float | None:
    """Return the seconds between scrapes of the last five minutes, or of less after a birth."""
    return min(LOOKBACK_SECONDS, max(1.0, age_seconds)) / n_scrapes if n_scrapes else None
