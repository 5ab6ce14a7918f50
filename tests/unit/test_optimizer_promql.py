"""The Prometheus client: whole answers or an error, and nothing a label value can steer."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.scripted_server import ScriptedServer, answer_bytes
from joulestat.domain.errors import HistoryError
from joulestat.optimizer.history.promql import MAX_POINTS, PrometheusClient
from joulestat.optimizer.history.selector import (
    MOST_BYTES_AT_ONCE,
    Matcher,
    equals,
    few_at_once,
    one_of,
    selector,
    whole_number,
)

URL = "http://prometheus.test:9090"


def client(answer: Callable[[httpx.Request], httpx.Response], **options: Any) -> PrometheusClient:
    return PrometheusClient(
        options.pop("url", URL),
        transport=httpx.MockTransport(answer),
        **{"sleep": lambda _: None, **options},
    )


def vector(*values: object, **extra: object) -> httpx.Response:
    result = [{"metric": {"n": str(i)}, "value": [1.0, v]} for i, v in enumerate(values)]
    data = {"resultType": "vector", "result": result}
    return httpx.Response(200, json={"status": "success", "data": data, **extra})


def answering(response: httpx.Response) -> PrometheusClient:
    return client(lambda _: response)


def test_an_instant_query_returns_labels_and_values() -> None:
    samples = answering(vector("1.5", "2")).query("up", 10.0)

    assert [({"n": "0"}, 1.5), ({"n": "1"}, 2.0)] == [(s.labels, s.value) for s in samples]


def test_queries_are_posted_as_forms_below_the_path_prefix() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return vector()

    client(answer, url=f"{URL}/monitoring/prometheus/").query("up", 10.5)

    form = parse_qs(seen[0].content.decode())
    assert "POST" == seen[0].method
    assert "/monitoring/prometheus/api/v1/query" == seen[0].url.path
    assert (["up"], ["10.500"]) == (form["query"], form["time"])
    assert ["false"] == form["partial_response"]
    assert "gzip" in seen[0].headers["accept-encoding"]


def test_credentials_and_headers_are_sent() -> None:
    seen: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        return vector()

    client(answer, bearer_token="s3cret", headers={"X-Scope-OrgID": "a"}).query("up", 1.0)
    client(answer, basic_auth=("kim", "pw")).query("up", 1.0)

    assert ("Bearer s3cret", "a") == (seen[0]["authorization"], seen[0]["x-scope-orgid"])
    assert "Basic a2ltOnB3" == seen[1]["authorization"]


@pytest.mark.parametrize(("url", "direct"), [("{}", True), ("http://prometheus.test", False)])
def test_no_proxy_is_asked_for_this_host(
    url: str, *, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = vector("7").json()
    with (
        ScriptedServer(lambda *_: answer_bytes(200, answer)) as prometheus,
        ScriptedServer(lambda *_: answer_bytes(200, answer)) as proxy,
    ):
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, proxy.url)
        with PrometheusClient(url.format(prometheus.url)) as asked:
            assert [7.0] == [sample.value for sample in asked.query("x", 1.0)]

    assert (int(direct), int(not direct)) == (len(prometheus.received), len(proxy.received))


def test_a_redirect_is_an_error_and_carries_no_token_away() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url.host))
        return httpx.Response(307, headers={"location": "http://elsewhere.test/"})

    with pytest.raises(HistoryError, match=r"redirects to http://elsewhere\.test/"):
        client(answer, bearer_token="s3cret").query("up", 1.0)
    assert ["prometheus.test"] == asked


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "x", None, []])
def test_a_value_that_is_no_finite_number_is_an_error(value: object) -> None:
    with pytest.raises(HistoryError, match="answered"):
        answering(vector("1", value)).query("up", 1.0)


@pytest.mark.parametrize(
    ("extra", "text"),
    [({"warnings": ["store 3 is away"]}, "store 3 is away"), ({"isPartial": True}, "in part")],
)
def test_a_partial_answer_is_an_error(extra: dict[str, object], text: str) -> None:
    with pytest.raises(HistoryError, match=text):
        answering(vector("1", **extra)).query("up", 1.0)


def test_an_info_is_no_error() -> None:
    answer = vector("1", infos=["PromQL info: metric might not be a counter"])

    assert 1 == len(answering(answer).query("up", 1.0))


def test_a_refusal_is_read_from_the_body_before_the_status() -> None:
    body = {"status": "error", "errorType": "execution", "error": "would load too many samples"}
    refused = answering(httpx.Response(422, json=body))

    with pytest.raises(HistoryError, match=r"execution: would load too many samples.*--window"):
        refused.query("up", 1.0)


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(401, text="Unauthorized"),
        httpx.Response(502, text="<html>bad gateway</html>"),
        httpx.Response(200, text='{"status":"success","data":{"resultType":"vec'),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"status": "success"}),
        httpx.Response(500, json={"status": "success", "data": {}}),
        httpx.Response(
            200, json={"status": "success", "data": {"resultType": "scalar", "result": [1, "1"]}}
        ),
    ],
    ids=["no-access", "html", "truncated", "no-object", "no-data", "status", "scalar"],
)
def test_anything_but_a_complete_query_result_is_an_error(response: httpx.Response) -> None:
    with pytest.raises(HistoryError, match=r"Prometheus at http://prometheus\.test:9090"):
        answering(response).query("up", 1.0)


def test_a_body_cut_off_on_the_wire_is_an_error() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.RemoteProtocolError("peer closed connection", request=request)

    with pytest.raises(HistoryError, match="peer closed connection"):
        client(answer).query("up", 1.0)


def test_an_error_does_not_show_the_password_in_the_url() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(HistoryError) as caught:
        client(answer, url="http://kim:pw123@prometheus.test").query("up", 1.0)
    assert "pw123" not in str(caught.value)


@pytest.mark.parametrize("url", ["prometheus:9090", "ftp://host", "http://", "http://h/?a=b", "h"])
def test_a_url_that_cannot_be_asked_is_refused_at_once(url: str) -> None:
    with pytest.raises(HistoryError, match=r"http://"):
        PrometheusClient(url)


def matrix(request: httpx.Request) -> httpx.Response:
    """Answer as Prometheus does: every grid point, both ends included; refuse too many."""
    form = {key: values[0] for key, values in parse_qs(request.content.decode()).items()}
    start, end, step = (float(form[key]) for key in ("start", "end", "step"))
    if (end - start) / step > MAX_POINTS:
        return httpx.Response(400, json={"status": "error", "error": "exceeded maximum resolution"})
    times = [start + i * step for i in range(int((end - start) / step + 1e-9) + 1)]
    result = [{"metric": {}, "values": [[t, "1"] for t in times]}]
    data = {"resultType": "matrix", "result": result}
    return httpx.Response(200, json={"status": "success", "data": data})


@pytest.mark.parametrize(
    ("span", "step"), [(30_000, 1), (86_400 * 3, 60), (10, 60), (0, 1), (86_400, 1), (100_000, 7)]
)
def test_a_long_range_is_split_without_doubling_or_missing_a_point(span: int, step: int) -> None:
    series = client(matrix).query_range("up", 1000.0, 1000.0 + span, step)

    expected = [1000.0 + i * step for i in range(span // step + 1)]
    assert expected == [at for at, _ in series[0].points]


def test_stale_markers_among_raw_samples_are_left_out() -> None:
    data = {
        "resultType": "matrix",
        "result": [{"metric": {}, "values": [[1, "5"], [2, "NaN"], [3, "6"]]}],
    }
    raw = answering(httpx.Response(200, json={"status": "success", "data": data}))

    assert ((1.0, 5.0), (3.0, 6.0)) == raw.query_raw("up[60s]", 3.0)[0].points


def test_the_servers_clock_is_asked() -> None:
    asked: list[dict[str, list[str]]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(parse_qs(request.content.decode()))
        return vector("1795000000.5")

    assert 1_795_000_000.5 == client(answer).now_seconds()
    assert "time" not in asked[0]


def test_a_label_value_stays_a_value() -> None:
    hostile = 'x"} or vector(1) # \\ \n'

    assert r'{__name__="up",run="x\"} or vector(1) # \\ \n"}' == selector(
        "up", equals("run", hostile)
    )


def test_alternatives_are_literal() -> None:
    assert r'{__name__=~"a_total|b_total",gpu_uuid=~"GPU-1\\.5\\|x|.*"}'.replace(
        ".*", r"\\.\\*"
    ) == selector(["a_total", "b_total"], one_of("gpu_uuid", ["GPU-1.5|x", ".*"]))


@given(st.lists(st.text(alphabet="ab.*é-", max_size=64), max_size=200))
@settings(deadline=None)
def test_long_lists_of_values_are_asked_for_in_lots_that_a_server_takes(values: list[str]) -> None:
    lots = list(few_at_once(values))

    assert values == [value for lot in lots for value in lot]
    assert all(len(str(one_of("x", lot)).encode()) <= MOST_BYTES_AT_ONCE + 10 for lot in lots)


def test_whole_numbers_leave_transition_and_mixed_out() -> None:
    assert 'power_limit_watts=~"[0-9]+"' == str(whole_number("power_limit_watts"))


@given(st.text())
@settings(deadline=None)
def test_any_value_reads_back_as_itself(value: str) -> None:
    quoted = str(equals("run", value)).removeprefix("run=")

    # PromQL's quoting and JSON's agree on what is escaped here; other characters go as they are.
    assert value == json.loads(quoted, strict=False)


@pytest.mark.parametrize("name", ["", "a b", 'a="x"', "1a", "a-b", "é"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(HistoryError, match="is not a Prometheus"):
        Matcher(name, "=", "x")
    with pytest.raises(HistoryError, match="is not a Prometheus"):
        selector(name)
