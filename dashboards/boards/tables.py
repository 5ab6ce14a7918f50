"""Panels of several instant queries joined row by row: a table, and a trend over a number."""

from collections.abc import Sequence

from boards.kinds import legend
from boards.panels import Json, Panel, Query, defaults, matched


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
        columns: Instant queries; all of them must answer with exactly the labels of ``keys``. The
            values of one without a name are not shown.
        width: Columns of the grid.
        height: Rows of the grid.
        sort_by: Column that the rows are sorted by.
        descending: Which way.
        numeric_key: A key whose text is a number, to be sorted as one.
        overrides: For single columns, by their names.
        no_value: What an empty table says.
    """
    # What an empty table says would otherwise stand in every empty cell, too.
    units = [
        matched(one.legend, unit=one.unit or "none", noValue="-") for one in columns if one.legend
    ]
    sorting = [{"desc": descending, "displayName": sort_by}] if sort_by else []
    options: Json = {
        "cellHeight": "sm",
        "footer": {"countRows": False, "fields": "", "reducer": ["sum"], "show": False},
        "showHeader": True,
        "sortBy": sorting,
    }
    extra: Json = {"noValue": no_value} if no_value else {}
    # Grafana's own least width of 150 pixels pushes the last of ten columns out of sight.
    custom: Json = {
        "align": "auto",
        "cellOptions": {"type": "auto"},
        "inspect": False,
        "minWidth": 80,
    }
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
    width: int = 12,
    height: int = 10,
    unit: str = "none",
    apart: str = "",
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
        unit: Of values whose column has none.
        apart: The column whose values are drawn, each point as a series of its own that is called
            as the label says; empty for one series for each query.
        overrides: For single columns, by their names.
    """
    drawn: Json = {
        # Without an axis at the right the last mark of the horizontal one is cut off.
        "axisPlacement": "right" if apart else "auto",
        "drawStyle": "points" if apart else "line",
        "fillOpacity": 0,
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "pointSize": 14 if apart else 9,
        "showPoints": "always",
        "spanNulls": True,
    }
    options: Json = {"legend": legend(()), "tooltip": {"mode": "multi", "sort": "none"}}
    units = [matched(query.legend, unit=query.unit) for query in columns if query.unit]
    ascending: Json = {"fields": {}, "sort": [{"desc": False, "field": along}]}
    return Panel(
        "trend", title, description, columns, width, height, options | {"xField": along},
        defaults(unit, None, None, custom=drawn) | {"color": {"mode": "palette-classic"}},
        [*units, *overrides],
        [
            *joined([x], columns, "" if apart else x[1]),
            *(_a_column_each(x[1], along, apart) if apart else ()),
            {"id": "sortBy", "options": ascending},
        ],
    )  # fmt: skip


def _a_column_each(name: str, along: str, values: str) -> list[Json]:
    """Return the transformations that give each row's value a column of its own name."""
    matrix: Json = {
        "columnField": name, "emptyValue": "null", "rowField": along, "valueField": values,
    }  # fmt: skip
    # Older Grafanas call the first column by both fields, and take its numbers for text.
    renamed: Json = {
        "excludeByName": {},
        "includeByName": {},
        "indexByName": {},
        "renameByName": {f"{along}\\{name}": along},
    }
    return [
        {"id": "groupingToMatrix", "options": matrix},
        {"id": "organize", "options": renamed},
        _as_number(along),
    ]


def _as_number(column: str) -> Json:
    conversions = [{"destinationType": "number", "targetField": column}]
    return {"id": "convertFieldType", "options": {"conversions": conversions, "fields": {}}}


def joined(keys: Sequence[tuple[str, str]], columns: Sequence[Query], numeric: str) -> list[Json]:
    """Return the transformations that make one table of many instant queries."""
    values = [
        "Value" if len(columns) == 1 else f"Value #{chr(ord('A') + index)}"
        for index in range(len(columns))
    ]
    titles = dict(zip(values, (query.legend for query in columns), strict=True))
    unnamed = {value: True for value, title in titles.items() if not title}
    names = dict(keys) | {value: title for value, title in titles.items() if title}
    organized: Json = {
        "excludeByName": {"Time": True} | unnamed,
        "includeByName": {},
        "indexByName": {name: index for index, name in enumerate(names)},
        "renameByName": names,
    }
    return [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": organized},
        *([_as_number(numeric)] if numeric else []),
    ]
