"""Reads the intensity of electricity over time from a CSV file, as grid data comes."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from math import isfinite
from pathlib import Path

from joulestat.domain.errors import ConfigError
from joulestat.report.carbon import Intensity, Stretch

LONE_ROW_SECONDS = 3_600.0
"""One row alone holds for an hour."""

FLAG = "--carbon.csv"


def read_intensity_file(path: Path, column: str | None, source: str) -> Intensity:
    """Return the intensities that a file holds.

    The first line names the columns. The first column is the time from which a row's value holds,
    with a zone or, where the heading says UTC, without; or Unix seconds. A row holds until the
    next one, but not longer than rows are apart as a rule: an hour that is missing stays missing.

    Args:
        path: Of the file.
        column: Heading of the column with g CO2-equivalent per kWh; None for the only other one.
        source: Where the figures are from, for people.

    Raises:
        ConfigError: It cannot be read, or a row is no time and number.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(
            f"{path} cannot be read as CSV: {error}", field=FLAG, value=path, place=str(path)
        ) from error
    if len(rows) < 2:
        raise _refused(path, 1, "", "a heading, and rows of a time and g CO2e per kWh")
    heading = [cell.strip() for cell in rows[0]]
    index = _column(path, heading, column)
    points = sorted(_points(path, rows, index, naive_is_utc="utc" in heading[0].lower()))
    return Intensity(source, {}, tuple(_stretches(points)))


def _column(path: Path, heading: Sequence[str], column: str | None) -> int:
    if column is not None and column in heading[1:]:
        return heading.index(column, 1)
    if column is None and len(heading) == 2:
        return 1
    names = ", ".join(repr(name) for name in heading[1:])
    raise ConfigError(
        f"{path} has the columns {names}; say with --carbon.csv-column which is g CO2e per kWh",
        field="--carbon.csv-column",
        value=column or "",
        place=str(path),
        allowed=names,
    )


def _points(
    path: Path, rows: Sequence[Sequence[str]], index: int, *, naive_is_utc: bool
) -> Iterator[tuple[float, float]]:
    """Yield Unix seconds and g/kWh of each row that has a value."""
    for number, row in enumerate(rows[1:], start=2):
        value = row[index].strip() if index < len(row) else ""
        if not value:
            continue
        at_seconds = _seconds(row[0].strip(), naive_is_utc=naive_is_utc)
        if at_seconds is None:
            raise _refused(path, number, row[0], "a time with a zone, such as 2026-11-23T14:00:00Z")
        try:
            grams = float(value)
        except ValueError:
            grams = float("nan")
        if not isfinite(grams) or grams < 0:
            raise _refused(path, number, value, "g CO2e per kWh, 0 or more")
        yield at_seconds, grams


def _seconds(text: str, *, naive_is_utc: bool) -> float | None:
    """Return Unix seconds; None where the text is no time, or one without a zone."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        if not naive_is_utc:
            return None
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()


def _stretches(points: Sequence[tuple[float, float]]) -> Iterator[Stretch]:
    starts = [at for at, _ in points]
    apart = Counter(round(after - before) for before, after in pairwise(starts))
    apart.pop(0, None)
    usual = float(apart.most_common(1)[0][0]) if apart else LONE_ROW_SECONDS
    for number, (at, grams) in enumerate(points):
        after = points[number + 1][0] if number + 1 < len(points) else float("inf")
        if after > at:
            yield Stretch(at, min(after, at + usual), grams)


def _refused(path: Path, number: int, value: str, allowed: str) -> ConfigError:
    return ConfigError(
        f"{path}, row {number}: {value!r} is not {allowed}",
        field=FLAG,
        value=value,
        place=f"{path}, row {number}",
        allowed=allowed,
    )
