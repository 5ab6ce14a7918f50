"""Whether a run is alive and its samples are new enough to act on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from joulestat.optimizer.history.placement import Target, target_of
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.history.selector import Matcher, selector
from joulestat.optimizer.history.tracks import LOOKBACK_SECONDS, RUN_START

RUN_END = "joulestat_run_end_timestamp_seconds"

FRESH_SECONDS = 60.0
FRESH_SCRAPES = 5
"""The newest sample may be this old, or this many scrape intervals, whichever is longer."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """How a run's exporters are scraped, as of one moment.

    Attributes:
        age_seconds: Age of the newest sample by target; empty when nothing is scraped.
        interval_seconds: Seconds between scrapes, None when nothing is scraped.
        ended: Whether every target that shows the run says that it is over.
    """

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


def read_pulse(
    client: PrometheusClient, matchers: Sequence[Matcher], at_seconds: float, birth_seconds: float
) -> Pulse:
    """Read how a run's exporters are scraped.

    The start's gauge is asked because every node shows it for as long as it shows the run.

    Args:
        client: Where to ask.
        matchers: Select the run.
        at_seconds: As of this Unix time.
        birth_seconds: Unix time at which the run began.
    """
    shown = selector(RUN_START, *matchers)
    ages = {
        target_of(sample.labels): at_seconds - sample.value
        for sample in client.query(f"timestamp({shown})", at_seconds)
    }
    counted = client.query(f"count_over_time({shown}[{LOOKBACK_SECONDS:.0f}s])", at_seconds)
    most = max((sample.value for sample in counted), default=0.0)
    seen_seconds = min(LOOKBACK_SECONDS, max(1.0, at_seconds - birth_seconds))
    ends = {
        target_of(sample.labels)
        for sample in client.query(selector(RUN_END, *matchers), at_seconds)
    }
    return Pulse(
        age_seconds=ages,
        interval_seconds=seen_seconds / most if ages and most else None,
        ended=bool(ages) and ages.keys() <= ends,
    )


def is_fresh(age_seconds: float | None, interval_seconds: float | None) -> bool:
    """Tell whether samples of this age may be acted on; an unknown age may not."""
    if age_seconds is None:
        return False
    return age_seconds <= max(FRESH_SCRAPES * (interval_seconds or 0.0), FRESH_SECONDS)
