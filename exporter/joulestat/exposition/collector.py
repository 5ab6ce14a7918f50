"""The same families through prometheus_client: the reference, and a way into other registries."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as ClientMetric
from prometheus_client.registry import Collector

from joulestat.domain.snapshot import Snapshot
from joulestat.exposition.catalogue import MetricType
from joulestat.exposition.constants import Constants
from joulestat.exposition.gather import Family, Gatherer


class SnapshotCollector(Collector):
    """Collects the latest snapshot. May be called from any thread."""

    def __init__(self, constants: Constants, latest: Callable[[], Snapshot | None]) -> None:
        """Remember where snapshots come from.

        Args:
            constants: What no tick changes.
            latest: Called once per collection; None collects nothing.
        """
        self._gatherer = Gatherer(constants)
        self._latest = latest

    def collect(self) -> Iterator[ClientMetric]:
        """Yield every family of the latest snapshot."""
        snapshot = self._latest()
        if snapshot is not None:
            yield from map(_client_metric, self._gatherer.families(snapshot))


def registry(constants: Constants, latest: Callable[[], Snapshot | None]) -> CollectorRegistry:
    """Return a registry with this collector and nothing else: no process or platform metrics."""
    own = CollectorRegistry()
    own.register(SnapshotCollector(constants, latest))
    return own


def _client_metric(family: Family) -> ClientMetric:
    metric = family.metric
    if metric.type is MetricType.HISTOGRAM:
        buckets, _, total = family.series
        histogram = HistogramMetricFamily(metric.name, metric.help, unit=metric.unit)
        pairs = [(labels[0], count) for labels, count in buckets.samples]
        histogram.add_metric([], pairs, total.samples[0][1])
        return histogram
    kind = CounterMetricFamily if metric.type is MetricType.COUNTER else GaugeMetricFamily
    made = kind(metric.name, metric.help, labels=metric.labels, unit=metric.unit)
    for labels, value in family.series[0].samples:
        # prometheus_client cannot write a page with half of a surrogate pair on it.
        made.add_metric([text.encode("utf-8", "replace").decode() for text in labels], value)
    return made
