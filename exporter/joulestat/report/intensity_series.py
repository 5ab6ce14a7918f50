"""Reads the intensity of electricity over time from PromQL: anyone's series, or the exporters'."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from joulestat.domain.errors import HistoryError
from joulestat.optimizer.history.about import CARBON, PRICE, PUE, tariff_of
from joulestat.optimizer.history.answers import Labels, Point, Series
from joulestat.optimizer.history.placement import Target
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.history.selector import Matcher, selector
from joulestat.report.carbon import Course, Intensity, Stretch
from joulestat.report.facts import RunEnergy

LOOK_SECONDS = 300.0
"""An intensity is looked at this often, and what was seen holds for as long around it."""

_ZONES = ("exported_zone", "zone")
"""Prometheus renames the exporter's own label where its target has one of that name, too."""


class IntensityReader:
    """Reads intensities for the time of one run."""

    def __init__(
        self, client: PrometheusClient, energy: RunEnergy, nodes: Mapping[Target, str]
    ) -> None:
        """Ask this client.

        Args:
            client: Where to ask.
            energy: What the run took, and when.
            nodes: The node behind each target that showed it.
        """
        self._client = client
        self._nodes = nodes
        self._start_seconds = min(
            (portion.start_seconds for portion in energy.portions), default=energy.start_seconds
        )
        self._end_seconds = max(
            (portion.end_seconds for portion in energy.portions), default=energy.end_seconds
        )

    def of_expression(self, expression: str, source: str) -> Intensity:
        """Return what an expression says: one series for all, or one for each of the run's nodes.

        Raises:
            HistoryError: No or a wrong answer; values below 0; several series that are not told
                apart by labels of the run's targets.
        """
        found = self._range(expression)
        if len(found) == 1:
            return Intensity(source, {}, tuple(_course(found[0].points)), _zone(found[0].labels))
        by_node = self._by_node(found)
        if found and by_node is None:
            raise HistoryError(
                f"{expression!r} answers {len(found)} series, and they are not one for each node "
                "of the run; make it one, for example with avg(...) or a selector of the zone"
            )
        return Intensity(source, by_node or {})

    def of_exporters(self, matchers: Sequence[Matcher], source: str) -> Intensity | None:
        """Return what the exporters of the run were configured with; None where with nothing.

        Raises:
            HistoryError: As for any query.
        """
        shown = f"last_over_time({selector(CARBON, *matchers)}[{LOOK_SECONDS:.0f}s])"
        mine = [series for series in self._range(shown) if self._nodes_of(series.labels)]
        if not mine:
            return None
        zones = {_zone(series.labels) for series in mine}
        return Intensity(
            source,
            {
                node: tuple(_course(_merged(s for s in mine if node in self._nodes_of(s.labels))))
                for node in set(self._nodes.values())
            },
            zone=zones.pop() if len(zones) == 1 else "",
        )

    def pue_ratio(self, matchers: Sequence[Matcher]) -> float | None:
        """Return the PUE that the run's exporters showed last; None where they do not agree.

        Raises:
            HistoryError: As for any query.
        """
        shown = selector((PUE, PRICE, CARBON), *matchers)
        # An hour, because what was seen last may be as old as the steps of the looks are long.
        samples = self._client.query(f"last_over_time({shown}[1h])", self._end_seconds)
        return tariff_of(samples, self._nodes.keys()).pue_ratio

    def _range(self, expression: str) -> list[Series]:
        """Evaluate over the time of the run, five minutes apart and at its end."""
        start = math.floor(self._start_seconds / LOOK_SECONDS) * LOOK_SECONDS
        found: dict[frozenset[tuple[str, str]], dict[float, float]] = {}
        for series in self._client.query_range(expression, start, self._end_seconds, LOOK_SECONDS):
            found.setdefault(frozenset(series.labels.items()), {}).update(series.points)
        for sample in self._client.query(expression, self._end_seconds):
            points = found.setdefault(frozenset(sample.labels.items()), {})
            points[self._end_seconds] = sample.value
        if any(value < 0 for points in found.values() for value in points.values()):
            raise HistoryError(
                f"{expression!r} has values below 0: it is no intensity in g per kWh"
            )
        return [Series(dict(labels), tuple(sorted(p.items()))) for labels, p in found.items()]

    def _nodes_of(self, labels: Labels) -> set[str]:
        """Return the run's nodes that a series is of: all labels of the scrape are the same."""
        own = {n: v for n, v in labels.items() if n not in ("__name__", *_ZONES)}
        shown_by = frozenset(own.items())
        return {node for target, node in self._nodes.items() if shown_by <= target}

    def _by_node(self, found: Sequence[Series]) -> dict[str, Course] | None:
        """Return the course of each node; None where a node has none, or several."""
        by_node: dict[str, Course] = {}
        for node in set(self._nodes.values()):
            mine = [series for series in found if node in self._nodes_of(series.labels)]
            if len(mine) != 1:
                return None
            by_node[node] = tuple(_course(mine[0].points))
        return by_node


def _merged(found: Iterable[Series]) -> list[Point]:
    """Return the points of one exporter, whichever scrapers saw it."""
    points: dict[float, float] = {}
    for series in found:
        points.update(series.points)
    return sorted(points.items())


def _course(points: Sequence[Point]) -> Iterator[Stretch]:
    """Yield the stretches that looks make: each holds until the next one, five minutes at most.

    So it does before it, where nothing else was seen: a run begins before it is scraped.
    """
    known_until = float("-inf")
    for number, (at_seconds, value) in enumerate(points):
        after = points[number + 1][0] if number + 1 < len(points) else float("inf")
        end = min(after, at_seconds + LOOK_SECONDS)
        yield Stretch(max(known_until, at_seconds - LOOK_SECONDS), end, value)
        known_until = end


def _zone(labels: Labels) -> str:
    return next((labels[name] for name in _ZONES if name in labels), "")
