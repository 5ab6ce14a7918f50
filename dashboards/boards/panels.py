"""What a board is made of: queries and panels, with what a person would set by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

Json = dict[str, Any]

DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
"""Every panel and query names the variable, so that a board works with any Prometheus."""

JOULES_PER_WATT_HOUR = 3600
"""Metrics are in joules, boards in watt-hours, which Grafana scales to kWh and MWh."""

GREEN, YELLOW, ORANGE, RED, BLUE = "green", "#EAB839", "orange", "red", "blue"


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression of a panel.

    Attributes:
        expr: PromQL with Grafana's variables.
        legend: How a series is called; labels in ``{{ }}``. For a table its column's name.
        instant: Ask for the end of the time range alone.
        step: Least seconds between points, as Grafana writes it; empty for the panel's own.
        unit: Of a table's column; empty elsewhere.
    """

    expr: str
    legend: str = ""
    instant: bool = False
    step: str = ""
    unit: str = ""

    def json(self, ref_id: str, *, as_table: bool) -> Json:
        """Return it as a target of a panel."""
        target: Json = {
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": self.expr,
            "format": "table" if as_table else "time_series",
            "instant": self.instant,
            "legendFormat": self.legend or "__auto",
            "range": not self.instant,
            "refId": ref_id,
        }
        return target | ({"interval": self.step} if self.step else {})


def now(expr: str, legend: str = "", unit: str = "") -> Query:
    """Return a query for the end of the time range alone."""
    return Query(expr, legend, instant=True, unit=unit)


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel, without its place, which the board gives it.

    Attributes:
        kind: Grafana's name of the panel type.
        title: What it shows.
        description: How the numbers are made.
        queries: In order; their refIds are A, B, ...
        width: Columns of 24.
        height: Rows of Grafana's grid.
        options: Of the panel type.
        defaults: Field configuration for all series.
        overrides: Field configuration for some.
        transformations: In order.
    """

    kind: str
    title: str
    description: str
    queries: Sequence[Query]
    width: int
    height: int
    options: Json
    defaults: Json = field(default_factory=dict)
    overrides: Sequence[Json] = ()
    transformations: Sequence[Json] = ()

    @property
    def as_table(self) -> bool:
        """Whether its queries answer tables, not series."""
        return self.kind in {"table", "trend"}

    def json(self, number: int, x: int, y: int) -> Json:
        """Return it as Grafana reads it, at a place of the grid."""
        shown: Json = {
            "datasource": DATASOURCE,
            "description": self.description,
            "fieldConfig": {"defaults": self.defaults, "overrides": list(self.overrides)},
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "id": number,
            "options": self.options,
            "targets": [
                query.json(chr(ord("A") + index), as_table=self.as_table)
                for index, query in enumerate(self.queries)
            ],
            "title": self.title,
            "transformations": list(self.transformations),
            "type": self.kind,
        }
        return {key: value for key, value in shown.items() if value or key not in OPTIONAL}

    def linked(self, *links: Json) -> "Panel":
        """Return it with data links on all of its values."""
        return replace(self, defaults={**self.defaults, "links": list(links)})

    def with_overrides(self, *overrides: Json) -> "Panel":
        """Return it with further overrides."""
        return replace(self, overrides=[*self.overrides, *overrides])


OPTIONAL = frozenset({"targets", "transformations"})


def steps(*later: tuple[float, str], first: str = GREEN) -> Json:
    """Return thresholds: a colour below the first value, and one from each value on."""
    marks: list[Json] = [{"color": first, "value": None}]
    return {
        "mode": "absolute",
        "steps": marks + [{"color": color, "value": value} for value, color in later],
    }


NO_THRESHOLD = steps()
PLAIN_COLOR: Json = {"fixedColor": "text", "mode": "fixed"}
"""Colours mean something only where a threshold exists."""


def matched(name: str, **properties: Any) -> Json:
    """Return an override for the series or column of that name; ``a__b`` is Grafana's ``a.b``."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [
            {"id": key.replace("__", "."), "value": value} for key, value in properties.items()
        ],
    }


def mapping(texts: Mapping[str, tuple[str, str]]) -> list[Json]:
    """Return value mappings: what a value is called, and its colour."""
    options = {
        value: {"color": color, "index": index, "text": text}
        for index, (value, (text, color)) in enumerate(texts.items())
    }
    return [{"options": options, "type": "value"}]


def defaults(unit: str, decimals: int | None, thresholds: Json | None, **more: Any) -> Json:
    """Return the field configuration that all panels share."""
    shared: Json = {
        "color": {"mode": "thresholds"} if thresholds else PLAIN_COLOR,
        "mappings": [],
        "thresholds": thresholds or NO_THRESHOLD,
        "unit": unit,
    }
    return shared | ({} if decimals is None else {"decimals": decimals}) | more
