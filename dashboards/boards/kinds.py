"""Panels of numbers, lines, bars, bands and words: one maker each, Grafana's core panels alone."""

from collections.abc import Sequence
from typing import Any

from boards.panels import Json, Panel, Query, defaults, steps

LAST: Json = {"calcs": ["lastNotNull"], "fields": "", "values": False}


def stat(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    width: int = 4,
    decimals: int | None = None,
    thresholds: Json | None = None,
    no_value: str = "",
    several: bool | None = None,
) -> Panel:
    """Return big numbers, the last that each query found.

    Args:
        title: What it shows.
        description: How the numbers are made.
        queries: Named ones are shown with their names.
        unit: As Grafana calls it.
        width: Columns of the grid.
        decimals: How many; None leaves it to Grafana.
        thresholds: What colours mean.
        no_value: What it says without a number.
        several: Whether the numbers stand side by side and must be smaller; None where there is
            one for each query.
    """
    extra: Json = {"noValue": no_value} if no_value else {}
    named = any(query.legend for query in queries)
    is_small = len(queries) > 1 if several is None else several
    options: Json = {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": LAST,
        # Else each panel's number is as large as fits, and the shortest looks most important.
        "text": {"titleSize": 13, "valueSize": 20 if is_small else 34},
        "textMode": "value_and_name" if named else "value",
        "wideLayout": True,
    }
    return Panel(
        "stat", title, description, queries, width, 4, options,
        defaults(unit, decimals, thresholds, **extra),
    )  # fmt: skip


def gauge(
    title: str,
    description: str,
    query: Query,
    *,
    thresholds: Json,
    unit: str = "percentunit",
    width: int = 4,
    no_value: str = "",
) -> Panel:
    """Return an arc from 0 to 1."""
    options: Json = {
        "minVizHeight": 75,
        "minVizWidth": 75,
        "orientation": "auto",
        "reduceOptions": LAST,
        "showThresholdLabels": False,
        "showThresholdMarkers": True,
        "sizing": "auto",
    }
    extra = {"max": 1, "min": 0} | ({"noValue": no_value} if no_value else {})
    return Panel(
        "gauge", title, description, [query], width, 4, options,
        defaults(unit, None, thresholds, **extra),
    )  # fmt: skip


def timeseries(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    width: int = 12,
    height: int = 9,
    stacked: bool = False,
    bars: bool = False,
    stepped: bool = False,
    calcs: Sequence[str] = (),
    decimals: int | None = None,
    no_value: str = "",
    **custom: Any,
) -> Panel:
    """Return lines over time, or with ``bars`` one bar for each step.

    A legend with ``calcs`` is a table, of which three lines are seen: for as many series.
    """
    drawn: Json = {
        "drawStyle": "bars" if bars else "line",
        "fillOpacity": 80 if bars else 30 if stacked else 0,
        "lineInterpolation": "stepAfter" if stepped else "linear",
        "lineWidth": 1,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if stacked else "none"},
    }
    if bars or stacked:
        # An area or a bar is read by its size, which needs the zero.
        drawn["axisSoftMin"] = 0
    extra: Json = {"noValue": no_value} if no_value else {}
    return Panel(
        "timeseries", title, description, queries, width, height,
        {"legend": legend(calcs), "tooltip": {"mode": "multi", "sort": "desc"}},
        defaults(unit, decimals, None, custom=drawn | custom, **extra)
        | {"color": {"mode": "palette-classic"}},
    )  # fmt: skip


def legend(calcs: Sequence[str]) -> Json:
    """Return a legend below a graph: a table of those numbers, or without any a list of names."""
    return {
        "calcs": list(calcs),
        "displayMode": "table" if calcs else "list",
        "placement": "bottom",
        "showLegend": True,
    }


def bars(
    title: str,
    description: str,
    query: Query,
    *,
    unit: str,
    width: int = 8,
    height: int = 8,
    decimals: int | None = None,
    no_value: str = "",
) -> Panel:
    """Return one horizontal bar for each series of an instant query, in the query's order."""
    options: Json = {
        "displayMode": "basic",
        "maxVizHeight": 40,
        "minVizHeight": 16,
        "minVizWidth": 8,
        "namePlacement": "auto",
        "orientation": "horizontal",
        "reduceOptions": LAST,
        "showUnfilled": True,
        # Grafana makes room for names of the size that it would choose, not of this one; in narrow
        # bars it would choose about 11.
        "text": {"titleSize": 12, "valueSize": 15},
        "sizing": "auto",
        "valueMode": "color",
    }
    extra: Json = {"noValue": no_value} if no_value else {}
    return Panel(
        "bargauge", title, description, [query], width, height, options,
        defaults(unit, decimals, None, min=0, **extra)
        | {"color": {"fixedColor": "blue", "mode": "fixed"}},
    )  # fmt: skip


def timeline(
    title: str, description: str, query: Query, *, mappings: list[Json], width: int, height: int
) -> Panel:
    """Return one band for each series, coloured by its state."""
    options: Json = {
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "mergeValues": True,
        "rowHeight": 0.8,
        "showValue": "never",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    shown = defaults("none", None, steps(), mappings=mappings)
    return Panel(
        "state-timeline", title, description, [query], width, height, options,
        shown | {"custom": {"fillOpacity": 70, "lineWidth": 0}},
    )  # fmt: skip


def text(title: str, markdown: str, *, width: int, height: int) -> Panel:
    """Return words; variables are filled in."""
    options: Json = {
        "code": {"language": "plaintext", "showLineNumbers": False, "showMiniMap": False},
        "content": markdown,
        "mode": "markdown",
    }
    return Panel("text", title, "What to do with this board.", [], width, height, options)
