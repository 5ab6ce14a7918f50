"""Answers of the Prometheus query API, taken whole or not at all."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import httpx

from joulestat.domain.errors import HistoryError, QueryTooLarge

Labels = Mapping[str, str]
Point = tuple[float, float]
"""Unix seconds and value."""

_TOO_LARGE = (
    "too many samples",  # Prometheus: --query.max-samples
    "maximum resolution",  # Prometheus: 11,000 points
    "too many points",  # VictoriaMetrics: -search.maxPointsPerTimeseries
    "deadline exceeded",
    "timed out",
    "timeout exceeded",
    "more than -search.max",  # VictoriaMetrics
    "query length",  # Cortex
    "query time range exceeds",  # Mimir
    "query processing would",
)
"""What a server says that would answer a shorter range."""

_JSON = "json"
"""Part of the content type of every server's answers; what says nothing is taken at its word."""

_log = logging.getLogger("joulestat.optimizer")


@dataclass(frozen=True, slots=True)
class Sample:
    """One element of an instant vector."""

    labels: Labels
    value: float


@dataclass(frozen=True, slots=True)
class Series:
    """One time series, points in time order."""

    labels: Labels
    points: tuple[Point, ...]


def checked_result(response: httpx.Response, kind: str, place: str) -> dict[str, Any]:
    """Return the ``data`` of a complete answer whose result is of this kind.

    The body is read before the status: Prometheus sends its error text with 400, 422 and 503.

    Raises:
        QueryTooLarge: The server would answer a shorter range.
        HistoryError: An error, a warning, a partial answer, or something else than an answer.
    """
    if response.is_redirect:
        raise HistoryError(
            f"Prometheus at {place} redirects to {response.headers.get('location')}; "
            "redirects are not followed, give the final URL"
        )
    content_type = response.headers.get("content-type", _JSON)
    try:
        payload = response.json() if _JSON in content_type.lower() else None
    except (ValueError, RecursionError):
        payload = None
    if payload is None:
        raise HistoryError(
            f"Prometheus at {place} answered HTTP {response.status_code} and no JSON; "
            "check the URL, its path and the credentials"
        )
    if not isinstance(payload, dict):
        raise HistoryError(f"Prometheus at {place} answered JSON that is no query result")
    if payload.get("status") != "success" or response.status_code != httpx.codes.OK:
        raise _refusal(payload, response.status_code, place)
    warnings = list(payload.get("warnings") or ())
    if warnings or payload.get("isPartial"):
        raise HistoryError(
            f"Prometheus at {place} answered in part: {'; '.join(map(str, warnings)) or 'partial'}"
        )
    for info in payload.get("infos") or ():
        _log.info("event=promql_info text=%r", info)
    found = payload.get("data")
    found = found if isinstance(found, dict) else {}
    if found.get("resultType") != kind or not isinstance(found.get("result"), list):
        raise HistoryError(
            f"Prometheus at {place} answered a {found.get('resultType')!r}, not a {kind}"
        )
    _check_series(found["result"], place)
    return found


def _check_series(result: Sequence[Any], place: str) -> None:
    """Refuse a result that shows one series twice: whichever is right, their sum is not.

    Raises:
        HistoryError: It does, or it is no list of series.
    """
    seen: set[tuple[tuple[str, str], ...]] = set()
    for item in result:
        metric = item.get("metric") if isinstance(item, dict) else None
        if not isinstance(metric, dict):
            raise HistoryError(f"Prometheus at {place} answered something else than series")
        labels = tuple(sorted(metric.items()))
        if labels in seen:
            raise HistoryError(
                f"Prometheus at {place} answered one series twice, {metric}; look for replicas "
                "that are not deduplicated, or a proxy that joins answers of several servers"
            )
        seen.add(labels)


def labels_of(item: Mapping[str, Any]) -> Labels:
    """Return the labels of one element of a result."""
    metric = item.get("metric")
    return _Labels(metric) if isinstance(metric, dict) else _Labels()


class _Labels(dict[str, str]):
    """Labels of a series; that one is missing which was asked for is an answer's fault."""

    def __missing__(self, name: str) -> str:
        raise HistoryError(
            f"Prometheus answered a series without the label {name!r}, which is not what was "
            "asked; see that no proxy mixes up answers and no relabelling drops labels"
        )


def point_of(pair: Any) -> Point:
    """Return (time, value), or raise: NaN and infinity are no evidence.

    Raises:
        HistoryError: It is none of finite numbers.
    """
    try:
        at_seconds, value = float(pair[0]), float(pair[1])
    except (TypeError, ValueError, LookupError) as error:
        raise HistoryError(f"Prometheus answered {pair!r} where a sample was expected") from error
    if not (isfinite(at_seconds) and isfinite(value)):
        raise HistoryError(_broken(value))
    return round(at_seconds, 3), value


def _broken(value: float) -> str:
    return f"Prometheus answered the value {value}; the series behind it is broken"


def changes_of(pairs: Iterable[Sequence[Any]], *, every: bool = False) -> list[Point]:
    """Return the first point and those whose value differs from the one before.

    Most of a run's counters stand still most of the time. Texts are compared, which costs a
    tenth of reading numbers.

    Args:
        pairs: Times and values as they came.
        every: Return all points after all.

    Raises:
        HistoryError: As for ``point_of``.
    """
    changes: list[Point] = []
    before: Any = None
    try:
        for pair in pairs:
            text = pair[1]
            if text != before:
                # As in ``point_of``, written out: this is most of what reading costs.
                value = float(text)
                if not isfinite(value):
                    raise HistoryError(_broken(value))
                changes.append((round(float(pair[0]), 3), value))
                before = text
            elif every:
                changes.append((round(float(pair[0]), 3), changes[-1][1]))
    except (TypeError, ValueError, LookupError) as error:
        raise HistoryError("Prometheus answered a series that is no list of samples") from error
    return changes


def _refusal(payload: Mapping[str, Any], status: int, place: str) -> HistoryError:
    text = str(payload.get("error") or "no reason given")
    kind = payload.get("errorType") or "error"
    told = f"Prometheus at {place} refused the query: HTTP {status}, {kind}: {text}"
    if kind == "timeout" or any(known in text for known in _TOO_LARGE):
        return QueryTooLarge(f"{told}; ask for less history with --window")
    return HistoryError(told)
