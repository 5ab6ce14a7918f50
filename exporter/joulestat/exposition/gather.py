"""Gather the samples of all metrics, and keep whatever goes wrong small.

A sample that is no finite number is dropped, a family that fails is left out, and the rest of
the page is served. Each is logged once per metric.
"""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from joulestat.domain.snapshot import TICK_BUCKETS_SECONDS, Snapshot
from joulestat.exposition.catalogue import CATALOGUE, Metric, MetricType
from joulestat.exposition.constants import Constants
from joulestat.exposition.families import ROWS, Scene

Samples = list[tuple[tuple[str, ...], float]]
"""Label values, in the order of the names, and a finite value."""

BUCKET_LABELS = (*(str(bound) for bound in TICK_BUCKETS_SECONDS), "+Inf")

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Series:
    """Samples that share a name: all of a counter or gauge, a third of a histogram."""

    name: str
    label_names: tuple[str, ...]
    samples: Samples


@dataclass(frozen=True, slots=True)
class Family:
    """One metric's samples; a histogram has the series bucket, count and sum, in this order."""

    metric: Metric
    series: tuple[Series, ...]


class Gatherer:
    """Makes families of snapshots. May be called from any thread."""

    def __init__(self, constants: Constants) -> None:
        self._constants = constants
        self._complained: set[str] = set()

    def families(self, snapshot: Snapshot) -> Iterator[Family]:
        """Yield the families that have samples, in the order of the catalogue."""
        scene = Scene(snapshot, self._constants)
        for name, metric in CATALOGUE.items():
            try:
                family = self._family(name, metric, scene)
            except Exception:  # noqa: BLE001 - one family must not cost the page
                self._complain(metric, "failed", with_traceback=True)
                continue
            if family.series[0].samples:
                yield family

    def _family(self, name: str, metric: Metric, scene: Scene) -> Family:
        if metric.type is MetricType.HISTOGRAM:
            return Family(metric, _tick_duration(metric, scene.snapshot))
        width = len(metric.labels)
        samples: Samples = []
        for labels, value in ROWS[name](scene):
            if value is None:
                continue
            if len(labels) != width:
                raise ValueError(f"{metric.name} takes {metric.labels}, got {labels}")
            if math.isfinite(value):
                samples.append((labels, float(value)))
            else:
                self._complain(metric, f"value={value}")
        return Family(metric, (Series(metric.name, metric.labels, samples),))

    def _complain(self, metric: Metric, what: str, *, with_traceback: bool = False) -> None:
        if metric.name not in self._complained:
            self._complained.add(metric.name)
            _LOG.error(
                "event=metric_left_out metric=%s reason=%r",
                metric.name,
                what,
                exc_info=with_traceback,
            )


def _tick_duration(metric: Metric, snapshot: Snapshot) -> tuple[Series, ...]:
    ticks = snapshot.ticks
    counts = [float(count) for count in accumulate(ticks.buckets)]
    buckets: Samples = [((le,), count) for le, count in zip(BUCKET_LABELS, counts, strict=True)]
    if not math.isfinite(ticks.sum_seconds):
        raise ValueError(f"{metric.name} has the sum {ticks.sum_seconds}")
    return (
        Series(f"{metric.name}_bucket", ("le",), buckets),
        # The last bucket holds everything: so count and +Inf can never disagree.
        Series(f"{metric.name}_count", (), [((), counts[-1])]),
        Series(f"{metric.name}_sum", (), [((), float(ticks.sum_seconds))]),
    )
