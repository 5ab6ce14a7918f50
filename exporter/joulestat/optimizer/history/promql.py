"""A small client of the Prometheus query API that never takes half an answer for a whole one.

Written for this purpose because the published clients drop warnings, duplicate samples at chunk
edges and put long queries into the URL. Works against Prometheus 2 and 3, VictoriaMetrics, Mimir
and Thanos; what is peculiar to one of them is said where it matters.
"""

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from joulestat.domain.errors import QueryTooLarge
from joulestat.optimizer.history.answers import (
    Labels,
    Point,
    Sample,
    Series,
    changes_of,
    checked_result,
    labels_of,
    point_of,
)
from joulestat.optimizer.history.query_parameters import WHOLE_AND_RAW
from joulestat.optimizer.history.query_record import OnQuery, QueryRecord, samples_touched
from joulestat.optimizer.history.wire import Sleep, Wire, wait

__all__ = ["Labels", "Point", "PrometheusClient", "Sample", "Series"]

MAX_POINTS = 11_000
"""Prometheus refuses a range query with ``(end - start) / step`` above this."""

LONGEST_REQUEST_SECONDS = 32 * 86_400.0
"""One request covers a month at most; a server that allows less is asked for halves."""

MOST_POINTS_IN_ANSWER = 100_000
"""An answer has about this many points at most, 20 MB once read, where their number is known."""

MAX_HALVINGS = 5
"""A range that is too much is asked for in 32 parts at most."""

_Grid = tuple[float, float, float]


class PrometheusClient:
    """Asks one Prometheus-compatible server. Use it as a context manager; one thread at a time.

    Every query is bounded: the server is told when to give up, ranges are split, and so are those
    that it refuses as too much.
    """

    def __init__(
        self,
        url: str,
        *,
        bearer_token: str | None = None,
        basic_auth: tuple[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        parameters: Sequence[tuple[str, str]] = (),
        timeout_seconds: float = 60.0,
        ca_file: Path | None = None,
        client_certificate: tuple[Path, Path | None] | None = None,
        proxy: str | None = None,
        on_query: OnQuery | None = None,
        monotonic: Callable[[], float] | None = None,
        sleep: Sleep = wait,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Prepare to ask; nothing is sent yet.

        Args:
            url: Where the API lives, path prefix included, without ``/api/v1``.
            bearer_token: Sent as ``Authorization: Bearer``.
            basic_auth: User name and password.
            headers: Further headers, for example ``X-Scope-OrgID`` for Mimir.
            parameters: Further ones of every query, none of ``query_parameters.OWN``; a name may
                come several times.
            timeout_seconds: For one request, on both sides; with a clock, at most twice that for
                a whole answer, however slowly it comes.
            ca_file: PEM file of the authorities to believe; None for the system's.
            client_certificate: PEM files of the certificate to show and of its key, None where
                that is in the same file.
            proxy: URL of the proxy to go through; None for the environment's, for other hosts.
            on_query: Told of every query, one at a time, by the thread that asked; takes a clock.
            monotonic: Clock that tells how long they took and may take, seconds.
            sleep: Waits before a query is sent again.
            transport: Replaces the network, for tests.

        Raises:
            HistoryError: The URL, a certificate or the proxy cannot be used.
        """
        sent = {**(headers or {})}
        if bearer_token is not None:
            sent["Authorization"] = f"Bearer {bearer_token}"
        self._parameters: dict[str, list[str]] = {}
        for name, value in parameters:
            self._parameters.setdefault(name, []).append(value)
        self._timeout = f"{max(1, round(timeout_seconds))}s"
        self._tell = None if on_query is None or monotonic is None else (on_query, monotonic)
        self._telling = threading.Lock()
        self._wire = Wire(
            url,
            headers=sent,
            basic_auth=basic_auth,
            timeout_seconds=timeout_seconds,
            ca_file=ca_file,
            client_certificate=client_certificate,
            proxy=proxy,
            transport=transport,
            sleep=sleep,
            monotonic=monotonic,
        )
        self.place = self._wire.place

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self._wire.close()

    def now_seconds(self) -> float:
        """Return the server's Unix time: samples carry its clock, and no other matters.

        Raises:
            HistoryError: As for ``query``.
        """
        return self.query("vector(time())", None)[0].value

    def query(self, expression: str, at_seconds: float | None) -> list[Sample]:
        """Evaluate at one moment, None for the server's now, and return the instant vector.

        Raises:
            HistoryError: No answer, an error, a warning, a partial answer or a value that is no
                finite number.
        """
        form = {"query": expression}
        if at_seconds is not None:
            form["time"] = _time(at_seconds)
        result = self._ask("query", form, "vector")
        return [Sample(labels_of(item), point_of(item.get("value"))[1]) for item in result]

    def query_raw(self, range_selector: str, at_seconds: float) -> list[Series]:
        """Return the stored samples of a range selector such as ``metric[60s]``.

        Only for minutes: raw samples of a long range can take a production server down. Stale
        markers, which VictoriaMetrics shows as NaN, are left out.

        Raises:
            HistoryError: As for ``query``.
        """
        form = {"query": range_selector, "time": _time(at_seconds)}
        return [
            Series(
                labels_of(item),
                tuple(point_of(pair) for pair in item.get("values", ()) if "NaN" not in pair),
            )
            for item in self._ask("query", form, "matrix")
        ]

    def query_range(
        self, expression: str, start_seconds: float, end_seconds: float, step_seconds: float
    ) -> list[Series]:
        """Evaluate on the grid start, start + step, ... up to and including end.

        Long ranges are split into requests whose grids continue each other, so that no point is
        doubled or missing at an edge.

        Raises:
            HistoryError: As for ``query``.
        """
        merged: dict[frozenset[tuple[str, str]], list[Point]] = {}
        for item in self._ask_range(expression, (start_seconds, end_seconds, step_seconds), 1):
            points = merged.setdefault(frozenset(labels_of(item).items()), [])
            points.extend(point_of(pair) for pair in item.get("values", ()))
        return [Series(dict(labels), tuple(points)) for labels, points in merged.items()]

    def query_changes(
        self,
        expression: str,
        start_seconds: float,
        end_seconds: float,
        step_seconds: float,
        n_series: int,
        whole: Mapping[str, str] | None = None,
    ) -> Iterator[Series]:
        """Yield the points of a grid at which a value is new, the first one of each included.

        A series may come in several pieces, in order of time.

        Args:
            expression: What to evaluate.
            start_seconds: Unix time of the first point.
            end_seconds: Unix time of the last.
            step_seconds: Between them.
            n_series: How many series there may be, so that no answer becomes too large.
            whole: Labels of series of which all points are wanted.

        Raises:
            HistoryError: As for ``query``.
        """
        grid = (start_seconds, end_seconds, step_seconds)
        for item in self._ask_range(expression, grid, max(1, n_series)):
            labels, pairs = labels_of(item), item.get("values", ())
            every = whole is not None and whole.items() <= labels.items()
            yield Series(labels, tuple(changes_of(pairs, every=every)))

    def _ask_range(self, expression: str, grid: _Grid, n_series: int) -> Iterator[dict[str, Any]]:
        """Yield the elements of the results of all requests that the range takes."""
        step = grid[2]
        for first, last in _requests(grid, MOST_POINTS_IN_ANSWER // n_series):
            for part in self._ask_part(expression, (first, last, step), MAX_HALVINGS):
                yield from part

    def _ask_part(
        self, expression: str, grid: _Grid, halvings: int
    ) -> Iterator[list[dict[str, Any]]]:
        first, last, step = grid
        form = {
            "query": expression,
            "start": _time(first),
            "end": _time(last),
            "step": _time(step),
        }
        try:
            yield self._ask("query_range", form, "matrix")
        except QueryTooLarge:
            n_steps = round((last - first) / step)
            if n_steps < 1 or not halvings:
                raise
            middle = first + n_steps // 2 * step
            yield from self._ask_part(expression, (first, middle, step), halvings - 1)
            yield from self._ask_part(expression, (middle + step, last, step), halvings - 1)

    def _ask(self, endpoint: str, form: Mapping[str, str], kind: str) -> list[dict[str, Any]]:
        """Send one query and return its result, complete or not at all."""
        form = {**form, **WHOLE_AND_RAW, "timeout": self._timeout}
        result: list[dict[str, Any]]
        if self._tell is None:
            result = checked_result(self._sent(endpoint, form), kind, self.place)["result"]
            return result
        on_query, monotonic = self._tell
        begin_seconds = monotonic()
        response = self._sent(endpoint, {**form, "stats": "true"})
        answer = checked_result(response, kind, self.place)
        record = _record(endpoint, form, monotonic() - begin_seconds, response, answer)
        with self._telling:
            on_query(record)
        result = answer["result"]
        return result

    def _sent(self, endpoint: str, form: Mapping[str, str]) -> httpx.Response:
        return self._wire.send(endpoint, {**self._parameters, **form})


def _record(
    endpoint: str,
    form: Mapping[str, str],
    seconds: float,
    response: httpx.Response,
    answer: Mapping[str, Any],
) -> QueryRecord:
    return QueryRecord(
        expression=form["query"],
        endpoint=f"/api/v1/{endpoint}",
        span_seconds=float(form.get("end", 0)) - float(form.get("start", 0)),
        step_seconds=float(form["step"]) if "step" in form else None,
        seconds=seconds,
        n_series=len(answer["result"]),
        n_points=sum(len(item.get("values", (None,))) for item in answer["result"]),
        n_bytes=len(response.content),
        n_samples_touched=samples_touched(answer),
    )


def _requests(grid: _Grid, most_points: int) -> Iterator[tuple[float, float]]:
    """Yield the first and the last grid point of each request."""
    start, end, step = grid
    longest = math.floor(LONGEST_REQUEST_SECONDS / step)
    per_request = max(1, min(MAX_POINTS, most_points, longest))
    n_points = math.floor((end - start) / step + 1e-9) + 1
    for first in range(0, n_points, per_request):
        last = min(first + per_request, n_points) - 1
        yield start + first * step, start + last * step


def _time(seconds: float) -> str:
    return f"{seconds:.3f}"
