"""From rows of panels to one dashboard: places, ids, variables, annotations, links."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from boards.panels import DATASOURCE, Json, Panel

SCHEMA_VERSION = 39
"""Of Grafana 10.4. Newer ones migrate upward; an older one would read a newer file unmigrated."""

TAG = "joulestat"
GRID_COLUMNS = 24


@dataclass(frozen=True, slots=True)
class Row:
    """A heading and its panels, laid from left to right, then below.

    Attributes:
        title: The heading.
        panels: In order of reading.
        collapsed: Whether they are shown only on demand.
    """

    title: str
    panels: Sequence[Panel]
    collapsed: bool = False


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of a board, filled by a query.

    Attributes:
        name: As queries use it.
        label: As people see it.
        query: ``label_values(...)``.
        multi: Whether several values may be chosen, and all.
    """

    name: str
    label: str
    query: str
    multi: bool = False

    def json(self) -> Json:
        """Return it as Grafana reads it."""
        shown: Json = {
            "datasource": DATASOURCE,
            "definition": self.query,
            "hide": 0,
            "includeAll": self.multi,
            "label": self.label,
            "multi": self.multi,
            "name": self.name,
            "options": [],
            "query": {
                "qryType": 1,
                "query": self.query,
                "refId": "PrometheusVariableQueryEditor-VariableQuery",
            },
            "refresh": 2,
            "regex": "",
            "skipUrlSync": False,
            "sort": 1,
            "type": "query",
        }
        every = {"selected": True, "text": ["All"], "value": ["$__all"]}
        return shown | ({"allValue": ".+", "current": every} if self.multi else {"current": {}})


@dataclass(frozen=True, slots=True)
class Annotation:
    """Moments that are marked on all panels with a time axis.

    Attributes:
        name: As people see it.
        expr: PromQL that is above 0 at these moments.
        title: Of a mark; labels in ``{{ }}``.
        color: Of the marks.
        shown: Whether it is on when the board is opened.
        step: Seconds between looks, as Grafana writes it.
    """

    name: str
    expr: str
    title: str
    color: str
    shown: bool = True
    step: str = "60s"

    def json(self) -> Json:
        """Return it as Grafana reads it."""
        return {
            "datasource": DATASOURCE,
            "enable": self.shown,
            "expr": self.expr,
            "hide": False,
            "iconColor": self.color,
            "name": self.name,
            "step": self.step,
            "titleFormat": self.title,
        }


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard.

    Attributes:
        uid: Its address, which links and people keep.
        title: As people see it.
        description: What it answers.
        since: Where the time range begins when it is opened, as Grafana writes it.
        variables: Besides the data source.
        rows: From top to bottom.
        annotations: Marks on time axes.
    """

    uid: str
    title: str
    description: str
    since: str
    variables: Sequence[Variable]
    rows: Sequence[Row]
    annotations: Sequence[Annotation] = field(default=())

    @property
    def file_name(self) -> str:
        """What its file is called."""
        return f"{self.uid}.json"

    def text(self) -> str:
        """Return its file's text."""
        return json.dumps(self.json(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"

    def json(self) -> Json:
        """Return it as Grafana reads it."""
        return {
            "annotations": {"list": [_BUILT_IN, *(a.json() for a in self.annotations)]},
            "description": self.description,
            "editable": False,
            "fiscalYearStartMonth": 0,
            "graphTooltip": 1,
            "id": None,
            "links": [_RELATED],
            "panels": _laid_out(self.rows),
            "refresh": "30s",
            "schemaVersion": SCHEMA_VERSION,
            "tags": [TAG],
            "templating": {"list": [_DATASOURCE, *(one.json() for one in self.variables)]},
            "time": {"from": self.since, "to": "now"},
            "timepicker": {},
            "timezone": "browser",
            "title": self.title,
            "uid": self.uid,
            "version": 1,
            "weekStart": "",
        }


_DATASOURCE: Json = {
    "current": {},
    "hide": 0,
    "includeAll": False,
    "label": "Data source",
    "multi": False,
    "name": "datasource",
    "options": [],
    "query": "prometheus",
    "refresh": 1,
    "regex": "",
    "skipUrlSync": False,
    "type": "datasource",
}

_BUILT_IN: Json = {
    "builtIn": 1,
    "datasource": {"type": "grafana", "uid": "-- Grafana --"},
    "enable": True,
    "hide": True,
    "iconColor": "rgba(0, 211, 255, 1)",
    "name": "Annotations & Alerts",
    "type": "dashboard",
}

_RELATED: Json = {
    "asDropdown": True,
    "icon": "external link",
    "includeVars": True,
    "keepTime": True,
    "tags": [TAG],
    "targetBlank": False,
    "title": "GPU energy",
    "tooltip": "The other boards, with the same time range",
    "type": "dashboards",
    "url": "",
}


def _laid_out(rows: Sequence[Row]) -> list[Json]:
    """Return all panels in Grafana's order: those of a collapsed row lie inside of it."""
    shown: list[Json] = []
    y = 0
    number = 1
    for row in rows:
        heading: Json = {
            "collapsed": row.collapsed,
            "gridPos": {"h": 1, "w": GRID_COLUMNS, "x": 0, "y": y},
            "id": number,
            "panels": [],
            "title": row.title,
            "type": "row",
        }
        panels, bottom = _placed(row.panels, number + 1, y + 1)
        number += 1 + len(panels)
        if row.collapsed:
            shown.append(heading | {"panels": panels})
            y += 1
        else:
            shown += [heading, *panels]
            y = bottom
    return shown


def _placed(panels: Sequence[Panel], number: int, y: int) -> tuple[list[Json], int]:
    """Return panels with their places, and where the next row begins."""
    placed: list[Json] = []
    x = line_height = 0
    for panel in panels:
        if x + panel.width > GRID_COLUMNS:
            x, y, line_height = 0, y + line_height, 0
        placed.append(panel.json(number + len(placed), x, y))
        x += panel.width
        line_height = max(line_height, panel.height)
    return placed, y + line_height


def drill_down(title: str, uid: str, *variables: str) -> Json:
    """Return a data link to another board, which keeps its data source and time range.

    Args:
        title: What the link is called.
        uid: The other board.
        variables: ``name=value`` for the other board's variables; values may be Grafana's.
    """
    chosen = "".join(f"&var-{one}" for one in variables)
    url = f"/d/{uid}?${{datasource:queryparam}}{chosen}&${{__url_time_range}}"
    return {"targetBlank": False, "title": title, "url": url}
