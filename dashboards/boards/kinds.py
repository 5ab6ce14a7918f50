"""The kinds of panels that the boards use: one maker each, core panels of Grafana alone."""

from collections.abc import Sequence
from typing import Any

from boards.panels import Json, Panel, Query, defaults, matched, steps

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
    **more: Any,
) -> Panel:
    """Return big numbers, the last that each query found."""
    extra = more | ({"noValue": no_value} if no_value else {})
    named = any(query.legend for query in queries)
    options: Json = {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": LAST,
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
    calcs: Sequence[str] = ("mean", "max"),
    decimals: int | None = None,
    no_value: str = "",
    **custom: Any,
) -> Panel:
    """Return lines over time, or with ``bars`` one bar for each step."""
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
        {"legend": _legend(calcs), "tooltip": {"mode": "multi", "sort": "desc"}},
        defaults(unit, decimals, None, custom=drawn | custom, **extra)
        | {"color": {"mode": "palette-classic"}},
    )  # fmt: skip


def _legend(calcs: Sequence[str]) -> Json:
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
        "text": {"titleSize": 14, "valueSize": 16},
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


def table(
    title: str,
    description: str,
    keys: Sequence[tuple[str, str]],
    columns: Sequence[Query],
    *,
    width: int = 24,
    height: int = 8,
    sort_by: str = "",
    descending: bool = True,
    numeric_key: str = "",
    overrides: Sequence[Json] = (),
    no_value: str = "",
) -> Panel:
    """Return one row for each set of labels, one column for each instant query.

    Args:
        title: What it shows.
        description: How the numbers are made.
        keys: Labels that a row stands for, and what their columns are called.
        columns: Instant queries; all of them must answer with exactly the labels of ``keys``.
        width: Columns of the grid.
        height: Rows of the grid.
        sort_by: Column that the rows are sorted by.
        descending: Which way.
        numeric_key: A key whose text is a number, to be sorted as one.
        overrides: For single columns, by their names.
        no_value: What an empty table says.
    """
    # What an empty table says would otherwise stand in every empty cell, too.
    units = [matched(one.legend, unit=one.unit or "none", noValue="-") for one in columns]
    sorting = [{"desc": descending, "displayName": sort_by}] if sort_by else []
    options: Json = {
        "cellHeight": "sm",
        "footer": {"countRows": False, "fields": "", "reducer": ["sum"], "show": False},
        "showHeader": True,
        "sortBy": sorting,
    }
    extra: Json = {"noValue": no_value} if no_value else {}
    custom: Json = {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False}
    return Panel(
        "table", title, description, columns, width, height, options,
        defaults("none", None, None, custom=custom, **extra),
        [*units, *overrides],
        joined(keys, columns, numeric_key),
    )  # fmt: skip


def trend(
    title: str,
    description: str,
    x: tuple[str, str],
    columns: Sequence[Query],
    *,
    along: str,
    width: int = 8,
    height: int = 9,
    overrides: Sequence[Json] = (),
) -> Panel:
    """Return instant queries drawn over a number that is not time: one point for each row.

    Args:
        title: What it shows.
        description: How the numbers are made.
        x: The label with the numbers, and what it is called.
        columns: Instant queries, which answer with exactly that label.
        along: The column on the horizontal axis: the label's or a query's.
        width: Columns of the grid.
        height: Rows of the grid.
        overrides: For single columns, by their names.
    """
    drawn: Json = {
        "axisPlacement": "auto",
        "drawStyle": "line",
        "fillOpacity": 0,
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "pointSize": 9,
        "showPoints": "always",
        "spanNulls": True,
    }
    options: Json = {"legend": _legend(()), "tooltip": {"mode": "multi", "sort": "none"}}
    units = [matched(query.legend, unit=query.unit) for query in columns]
    return Panel(
        "trend", title, description, columns, width, height, options | {"xField": along},
        defaults("none", None, None, custom=drawn) | {"color": {"mode": "palette-classic"}},
        [*units, *overrides],
        [
            *joined([x], columns, x[1]),
            {"id": "sortBy", "options": {"fields": {}, "sort": [{"desc": False, "field": along}]}},
        ],
    )  # fmt: skip


def joined(keys: Sequence[tuple[str, str]], columns: Sequence[Query], numeric: str) -> list[Json]:
    """Return the transformations that make one table of many instant queries."""
    values = [
        "Value" if len(columns) == 1 else f"Value #{chr(ord('A') + index)}"
        for index in range(len(columns))
    ]
    names = dict(keys) | dict(zip(values, (query.legend for query in columns), strict=True))
    organized: Json = {
        "excludeByName": {"Time": True},
        "includeByName": {},
        "indexByName": {name: index for index, name in enumerate(names)},
        "renameByName": names,
    }
    number: Json = {
        "conversions": [{"destinationType": "number", "targetField": numeric}],
        "fields": {},
    }
    return [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": organized},
        *([{"id": "convertFieldType", "options": number}] if numeric else []),
    ]


def text(title: str, markdown: str, *, width: int, height: int) -> Panel:
    """Return words; variables are filled in."""
    options: Json = {
        "code": {"language": "plaintext", "showLineNumbers": False, "showMiniMap": False},
        "content": markdown,
        "mode": "markdown",
    }
    return Panel("text", title, "What to do with this board.", [], width, height, options)
