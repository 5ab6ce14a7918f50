"""How queries travel: sent again where that may help, in halves where they are too much."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from joulestat.domain.errors import HistoryError, HistoryUnreachable, QueryTooLarge
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.history.query_record import QueryRecord
from joulestat.optimizer.history.wire import RETRY_AFTER_SECONDS

URL = "http://prometheus.test:9090"
EMPTY = {"status": "success", "data": {"resultType": "vector", "result": []}}


class Server:
    """Answers with these in turn, the last one for good, and remembers what was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers = list(answers)
        self.forms: list[dict[str, str]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        form = parse_qs(request.content.decode())
        self.forms.append({name: values[0] for name, values in form.items()})
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def client(
    server: Callable[[httpx.Request], httpx.Response], pauses: list[float], **options: Any
) -> PrometheusClient:
    return PrometheusClient(
        URL, transport=httpx.MockTransport(server), sleep=pauses.append, **options
    )


@pytest.mark.parametrize(
    "passing",
    [
        httpx.ConnectError("refused"),
        httpx.RemoteProtocolError("peer closed connection"),
        httpx.ConnectTimeout("no route"),
        httpx.Response(429, text="slow down"),
        httpx.Response(502, text="<html>bad gateway</html>"),
        httpx.Response(503, text="starting"),
        httpx.Response(504, text="gateway timeout"),
    ],
    ids=str,
)
def test_what_may_pass_is_asked_again_after_a_pause(passing: httpx.Response | Exception) -> None:
    pauses: list[float] = []
    server = Server(passing, passing, httpx.Response(200, json=EMPTY))

    assert [] == client(server, pauses).query("up", 1.0)
    assert list(RETRY_AFTER_SECONDS[:2]) == pauses


def test_a_server_that_is_away_is_asked_four_times() -> None:
    pauses: list[float] = []
    server = Server(httpx.ConnectError("refused"))

    with pytest.raises(HistoryUnreachable, match="refused"):
        client(server, pauses).query("up", 1.0)
    assert (4, list(RETRY_AFTER_SECONDS)) == (len(server.forms), pauses)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 500])
def test_what_will_not_pass_is_asked_once(status: int) -> None:
    pauses: list[float] = []
    body = {"status": "error", "errorType": "bad_data", "error": "no such thing"}
    server = Server(httpx.Response(status, json=body))

    with pytest.raises(HistoryError, match=f"HTTP {status}, bad_data: no such thing"):
        client(server, pauses).query("up", 1.0)
    assert (1, []) == (len(server.forms), pauses)


@pytest.mark.parametrize(("asked", "waited"), [("3", 3.0), ("600", 10.0), ("soon", 0.2)])
def test_a_server_may_ask_for_a_longer_pause_within_reason(asked: str, waited: float) -> None:
    pauses: list[float] = []
    busy = httpx.Response(429, headers={"Retry-After": asked})

    client(Server(busy, httpx.Response(200, json=EMPTY)), pauses).query("up", 1.0)

    assert [waited] == pauses


def test_a_query_that_took_too_long_is_not_sent_again() -> None:
    """Prometheus says 503 for that; sent again it would take as long again."""
    pauses: list[float] = []
    body = {"status": "error", "errorType": "timeout", "error": "query timed out"}
    server = Server(httpx.Response(503, json=body))

    with pytest.raises(QueryTooLarge, match="--window"):
        client(server, pauses).query("up", 1.0)
    assert (1, []) == (len(server.forms), pauses)


class Modest:
    """Answers ranges of a few points, and refuses longer ones as one of the servers does."""

    def __init__(self, most_points: int, refusal: httpx.Response | Exception) -> None:
        self._most_points = most_points
        self._refusal = refusal
        self.n_asked = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.n_asked += 1
        form = {key: values[0] for key, values in parse_qs(request.content.decode()).items()}
        start, end, step = (float(form[key]) for key in ("start", "end", "step"))
        n_points = round((end - start) / step) + 1
        if n_points > self._most_points:
            if isinstance(self._refusal, Exception):
                raise self._refusal
            return self._refusal
        result = [{"metric": {}, "values": [[start + i * step, "1"] for i in range(n_points)]}]
        data = {"resultType": "matrix", "result": result}
        return httpx.Response(200, json={"status": "success", "data": data})


def refusal(status: int, kind: str, text: str) -> httpx.Response:
    return httpx.Response(status, json={"status": "error", "errorType": kind, "error": text})


TOO_MUCH = [
    refusal(422, "execution", "query processing would load too many samples into memory"),
    refusal(400, "bad_data", "exceeded maximum resolution of 11,000 points per timeseries"),
    refusal(422, "execution", "expanding series: context deadline exceeded"),
    refusal(422, "422", "too many points for the given step=1, start=1 and end=9"),
    refusal(422, "bad_data", "the query time range exceeds the limit (query length: 720h)"),
    refusal(503, "timeout", "query timed out in expression evaluation"),
    httpx.ReadTimeout("60 s"),
]


@pytest.mark.parametrize("refused", TOO_MUCH, ids=str)
@pytest.mark.parametrize("n_points", [1, 2, 16, 17, 100])
def test_a_range_that_is_too_much_is_asked_for_in_halves(
    refused: httpx.Response | Exception, n_points: int
) -> None:
    asked = client(Modest(16, refused), [])
    (series,) = asked.query_range("up", 1_000.0, 1_000.0 + 15.0 * (n_points - 1), 15.0)

    assert [1_000.0 + 15.0 * i for i in range(n_points)] == [at for at, _ in series.points]


def test_halving_has_an_end() -> None:
    server = Modest(0, TOO_MUCH[0])

    with pytest.raises(QueryTooLarge, match="too many samples"):
        client(server, []).query_range("up", 0.0, 10_000.0, 1.0)
    assert server.n_asked <= 6


def test_only_what_changes_is_told_of_a_range_and_of_some_series_all() -> None:
    values = [[1, "5"], [2, "5"], [3, "7"], [4, "7"]]
    result = [{"metric": {"__name__": name}, "values": values} for name in ("a", "b")]
    data = {"resultType": "matrix", "result": result}
    server = Server(httpx.Response(200, json={"status": "success", "data": data}))
    a, b = client(server, []).query_changes("x", 1.0, 4.0, 1.0, 2, {"__name__": "b"})

    assert ((1.0, 5.0), (3.0, 7.0)) == a.points
    assert ((1.0, 5.0), (2.0, 5.0), (3.0, 7.0), (4.0, 7.0)) == b.points


def test_a_value_that_is_no_number_is_an_error_among_changes_too() -> None:
    result = [{"metric": {}, "values": [[1, "5"], [2, "NaN"]]}]
    data = {"resultType": "matrix", "result": result}
    server = Server(httpx.Response(200, json={"status": "success", "data": data}))

    with pytest.raises(HistoryError, match="nan"):
        list(client(server, []).query_changes("x", 1.0, 2.0, 1.0, 1))


def test_answers_of_many_series_are_asked_for_in_parts() -> None:
    server = Modest(11_000, TOO_MUCH[0])
    list(client(server, []).query_changes("up", 0.0, 1_000.0, 1.0, 1_000))

    assert 11 == server.n_asked


def test_every_query_is_told_to_the_transcript() -> None:
    told: list[QueryRecord] = []
    clock = iter([10.0, 10.25, 20.0, 20.5])
    stats = {"samples": {"totalQueryableSamples": 1234}}
    vector = {"resultType": "vector", "result": [{"metric": {}, "value": [1, "2"]}], "stats": stats}
    pairs = [[1, "5"], [2, "5"]]
    matrix = {"resultType": "matrix", "result": [{"metric": {}, "values": pairs}]}
    answers = [httpx.Response(200, json={"status": "success", "data": d}) for d in (vector, matrix)]
    server = Server(*answers)
    asked = client(server, [], on_query=told.append, monotonic=lambda: next(clock))
    asked.query("up", 1.0)
    asked.query_range("up", 1.0, 2.0, 1.0)

    sizes = [len(answer.content) for answer in answers]
    assert [
        QueryRecord("up", "/api/v1/query", 0.0, None, 0.25, 1, 1, sizes[0], 1234),
        QueryRecord("up", "/api/v1/query_range", 1.0, 1.0, 0.5, 1, 2, sizes[1], None),
    ] == told
    assert ["true", "true"] == [form["stats"] for form in server.forms]


def test_every_query_says_how_long_it_may_take() -> None:
    server = Server(httpx.Response(200, json=EMPTY))
    client(server, [], timeout_seconds=7.0).query("up", 1.0)

    assert "7s" == server.forms[0]["timeout"]


def test_files_that_hold_no_certificates_are_named(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("nothing of the kind")

    for options in ({"ca_file": wrong}, {"client_certificate": (wrong, None)}):
        with pytest.raises(HistoryError, match=r"wrong\.pem"):
            PrometheusClient("https://prometheus.test", **options)  # type: ignore[arg-type]
    with pytest.raises(HistoryError, match=r"missing\.pem"):
        PrometheusClient("https://prometheus.test", ca_file=tmp_path / "missing.pem")


def test_a_proxy_that_is_none_is_refused() -> None:
    with pytest.raises(HistoryError, match="ftp://proxy"):
        PrometheusClient(URL, proxy="ftp://proxy.test")


def test_nobody_is_believed_without_a_certificate() -> None:
    """There is no way to ask for it: a context that checks nothing is never made."""
    with PrometheusClient("https://prometheus.test") as asked:
        pool = asked._wire._http._transport._pool  # type: ignore[attr-defined]
        context = pool._ssl_context

    assert (ssl.CERT_REQUIRED, True) == (context.verify_mode, context.check_hostname)
