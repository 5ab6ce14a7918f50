"""A small client of the Prometheus query API that never takes half an answer for a whole one.

Written for this purpose because the published clients drop warnings, duplicate samples at chunk
edges and put long queries into the URL. Works against Prometheus 2 and 3, VictoriaMetrics, Mimir
and Thanos; what is peculiar to one of them is said where it matters.
"""

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self

import httpx

from joulestat.domain.errors import HistoryError

MAX_POINTS = 11_000
"""Prometheus refuses a range query with ``(end - start) / step`` above this."""

LONGEST_REQUEST_SECONDS = 86_400.0
"""One request covers a day at most: Mimir limits query length, and answers stay small."""

WHOLE_AND_RAW = {
    "nocache": "1",  # VictoriaMetrics: else anything within 30 s of now is answered as of then
    "dedup": "true",  # Thanos
    "partial_response": "false",  # Thanos: its default is a silently partial answer
    "max_source_resolution": "0s",  # Thanos: a downsampled counter is an average, not a counter
}
"""Sent with every query. Servers ignore what they do not know."""

Labels = Mapping[str, str]
Point = tuple[float, float]
"""Unix seconds and value."""

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


class PrometheusClient:
    """Asks one Prometheus-compatible server. Use it as a context manager; one thread at a time."""

    def __init__(
        self,
        url: str,
        *,
        bearer_token: str | None = None,
        basic_auth: tuple[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Prepare to ask; nothing is sent yet.

        Args:
            url: Where the API lives, path prefix included, without ``/api/v1``.
            bearer_token: Sent as ``Authorization: Bearer``.
            basic_auth: User name and password.
            headers: Further headers, for example ``X-Scope-OrgID`` for Mimir.
            timeout_seconds: For one request, on both sides.
            transport: Replaces the network, for tests.

        Raises:
            HistoryError: The URL is none that can be asked.
        """
        self.place, self._base_url = _checked_url(url)
        sent = {**(headers or {})}
        if bearer_token is not None:
            sent["Authorization"] = f"Bearer {bearer_token}"
        self._timeout = f"{max(1, round(timeout_seconds))}s"
        self._http = httpx.Client(
            auth=basic_auth,
            headers=sent,
            timeout=timeout_seconds,
            transport=transport,
            # A proxy of the environment has a loopback of its own.
            trust_env=not _is_loopback(httpx.URL(url).host),
        )

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
        self._http.close()

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
        return [Sample(_labels(item), _point(item.get("value"))[1]) for item in result]

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
                _labels(item),
                tuple(_point(pair) for pair in item.get("values", ()) if "NaN" not in pair),
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
        for first, last in _requests(start_seconds, end_seconds, step_seconds):
            form = {
                "query": expression,
                "start": _time(first),
                "end": _time(last),
                "step": _time(step_seconds),
            }
            for item in self._ask("query_range", form, "matrix"):
                points = merged.setdefault(frozenset(_labels(item).items()), [])
                points.extend(_point(pair) for pair in item.get("values", ()))
        return [Series(dict(labels), tuple(points)) for labels, points in merged.items()]

    def _ask(self, endpoint: str, form: Mapping[str, str], kind: str) -> list[dict[str, Any]]:
        """Send one query and return its result, complete or not at all.

        POST, because queries grow longer than URLs may be. Redirects are not followed: they would
        carry the credentials to another host.
        """
        form = {**form, **WHOLE_AND_RAW, "timeout": self._timeout}
        try:
            response = self._http.post(f"{self._base_url}/api/v1/{endpoint}", data=form)
        except (httpx.HTTPError, UnicodeError) as error:  # no name of a host
            raise HistoryError(
                f"Prometheus at {self.place} gave no answer ({error or type(error).__name__}); "
                "check the URL and that it runs"
            ) from error
        data = _checked_data(response, self.place)
        result = data.get("result")
        if data.get("resultType") != kind or not isinstance(result, list):
            raise HistoryError(
                f"Prometheus at {self.place} answered a {data.get('resultType')!r}, not a {kind}"
            )
        return result


def _checked_url(url: str) -> tuple[str, str]:
    """Return the URL for people (no password in it) and the URL to ask."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise HistoryError(f"{url!r} is not a URL: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query:
        raise HistoryError(
            f"{url!r} cannot be asked; give http:// or https://, a host and, where Prometheus "
            "lives below one, a path, for example http://127.0.0.1:9090"
        )
    shown = parsed.copy_with(username=None, password=None)
    return str(shown), str(parsed).rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _checked_data(response: httpx.Response, place: str) -> dict[str, Any]:
    """Return the ``data`` of a complete answer.

    The body is read before the status: Prometheus sends its error text with 400, 422 and 503.
    """
    if response.is_redirect:
        raise HistoryError(
            f"Prometheus at {place} redirects to {response.headers.get('location')}; "
            "redirects are not followed, give the final URL"
        )
    try:
        payload = response.json()
    except ValueError as error:
        raise HistoryError(
            f"Prometheus at {place} answered HTTP {response.status_code} and no JSON; "
            "check the URL, its path and the credentials"
        ) from error
    if not isinstance(payload, dict):
        raise HistoryError(f"Prometheus at {place} answered JSON that is no query result")
    if payload.get("status") != "success" or response.status_code != httpx.codes.OK:
        raise HistoryError(_refusal(payload, response.status_code, place))
    warnings = list(payload.get("warnings") or ())
    if warnings or payload.get("isPartial"):
        raise HistoryError(
            f"Prometheus at {place} answered in part: {'; '.join(map(str, warnings)) or 'partial'}"
        )
    for info in payload.get("infos") or ():
        _log.info("event=promql_info text=%r", info)
    data = payload.get("data")
    return data if isinstance(data, dict) else {}


def _refusal(payload: Mapping[str, Any], status: int, place: str) -> str:
    text = str(payload.get("error") or "no reason given")
    hint = ""
    if "too many samples" in text or "deadline exceeded" in text or "timed out" in text:
        hint = "; ask for less history with --window"
    kind = payload.get("errorType") or "error"
    return f"Prometheus at {place} refused the query: HTTP {status}, {kind}: {text}{hint}"


def _requests(start: float, end: float, step: float) -> Iterator[tuple[float, float]]:
    """Yield the first and the last grid point of each request."""
    per_request = max(1, min(MAX_POINTS, math.floor(LONGEST_REQUEST_SECONDS / step)))
    n_points = math.floor((end - start) / step + 1e-9) + 1
    for first in range(0, n_points, per_request):
        last = min(first + per_request, n_points) - 1
        yield start + first * step, start + last * step


def _labels(item: Mapping[str, Any]) -> Labels:
    metric = item.get("metric")
    return metric if isinstance(metric, dict) else {}


def _point(pair: Any) -> Point:
    """Return (time, value), or raise: NaN and infinity are no evidence."""
    try:
        at_seconds, value = float(pair[0]), float(pair[1])
    except (TypeError, ValueError, LookupError) as error:
        raise HistoryError(f"Prometheus answered {pair!r} where a sample was expected") from error
    if not (math.isfinite(at_seconds) and math.isfinite(value)):
        raise HistoryError(f"Prometheus answered the value {value}; the series behind it is broken")
    return round(at_seconds, 3), value


def _time(seconds: float) -> str:
    return f"{seconds:.3f}"
