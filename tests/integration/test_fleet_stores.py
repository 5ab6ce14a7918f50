"""Mimir and Thanos as their documentation says they answer, before a real Prometheus."""

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from fakes.gateway import ALWAYS, forms, gateway
from fakes.scripted_server import ScriptedServer, answer_bytes
from joulestat.cli.optimize import optimize
from joulestat.domain.errors import HistoryError
from joulestat.optimizer.history.promql import PrometheusClient
from servers.prometheus import PrometheusServer
from servers.training_history import TrainingHistory, Truth, openmetrics

TRUTH = {300: Truth(91.2, 0.31), 230: Truth(78.3, 0.322), 165: Truth(69.9, 0.371)}
SWEPT = TrainingHistory("swept", TRUTH, [(watts, 75.0) for watts in TRUTH], n_nodes=2)
PAIR = TrainingHistory(
    "pair", TRUTH, [(watts, 75.0) for watts in TRUTH], n_nodes=2, first_node=10, replicas=2
)
QUESTION = ("--at", str(SWEPT.end_seconds - 0.5), "--min-seconds", "60s", "--output", "json")

pytestmark = pytest.mark.prometheus


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = PrometheusServer(tmp_path_factory.mktemp("prometheus"))
    # Replicas of which no GPU tells that they show the same node.
    told_apart_by_nothing = "\n".join(
        line.replace('run="pair"', 'run="blind"')
        for line in PAIR.lines()
        if "joulestat_run_gpu{" not in line
    )
    server.backfill(openmetrics(SWEPT))
    server.backfill(openmetrics(PAIR))
    server.backfill(told_apart_by_nothing + "\n# EOF\n")
    with server:
        yield server.url


def ask(url: str, *arguments: str, run: str = "swept") -> Result:
    command = ["--prometheus.url", url, "--run", run, *QUESTION, *arguments]
    return CliRunner().invoke(optimize, command)


def test_mimir_is_asked_below_its_prefix_and_for_the_tenant_in_every_request(
    prometheus: str,
) -> None:
    with gateway(prometheus, "/prometheus", tenant="gpu") as mimir:
        header = ("--prometheus.header", "X-Scope-OrgID:gpu")
        done = ask(f"{mimir.url}/prometheus", *header)
        direct = ask(prometheus)

        assert 0 == done.exit_code, done.stderr
        assert direct.stdout == done.stdout
        assert {"gpu"} == {request.headers["x-scope-orgid"] for request in mimir.received}
        without = ask(f"{mimir.url}/prometheus")

    assert 1 == without.exit_code
    assert "answered HTTP 401 and no JSON; check the URL, its path and the credentials" in (
        without.stderr
    )


def test_thanos_gets_its_parameters_with_every_query(prometheus: str) -> None:
    def strict(form: dict[str, list[str]]) -> bytes | None:
        # By its documentation these are true, true and automatic unless they are sent.
        if form.get("partial_response") != ["false"]:
            return answer_bytes(200, {"status": "success", "warnings": ["a store is away"]})
        return None

    with gateway(prometheus, "/query", answer=strict) as thanos:
        replica = ("--prometheus.param", "replicaLabels[]=replica")
        twice = (*replica, "--prometheus.param", "replicaLabels[]=prometheus_replica")
        done = ask(f"{thanos.url}/query/", *twice)

        assert 0 == done.exit_code, done.stderr
        for form in forms(thanos):
            assert ALWAYS | {"nocache": ["1"]} == {
                name: form.get(name) for name in (*ALWAYS, "nocache")
            }
            assert ["replica", "prometheus_replica"] == form["replicaLabels[]"]


@pytest.mark.parametrize("parameter", ["dedup=false", "partial_response=true", "query=up"])
def test_what_would_make_half_an_answer_cannot_be_set(prometheus: str, parameter: str) -> None:
    done = ask(prometheus, "--prometheus.param", parameter)

    assert 2 == done.exit_code
    assert "is set by joulestat itself" in done.stderr


def test_a_partial_answer_is_refused_with_the_servers_reason(prometheus: str) -> None:
    def partial(form: dict[str, list[str]]) -> bytes | None:
        if "joulestat_run_gpu" not in form["query"][0]:
            return None
        data = {"resultType": "vector", "result": []}
        reason = "No StoreAPIs matched: receive-2 is down"
        return answer_bytes(200, {"status": "success", "data": data, "warnings": [reason]})

    with gateway(prometheus, "", answer=partial) as thanos:
        done = ask(thanos.url)

    assert (1, "") == (done.exit_code, done.stdout)
    assert "answered in part: No StoreAPIs matched: receive-2 is down" in done.stderr


@pytest.mark.parametrize(
    ("status", "pauses"), [(422, []), (429, [3.0, 3.0, 3.0]), (503, [3.0, 3.0, 3.0])]
)
def test_a_server_that_wants_a_pause_gets_it_and_one_that_goes_on_refusing_is_quoted(
    status: int, pauses: list[float]
) -> None:
    error = {"status": "error", "errorType": "execution", "error": "the tenant is over its limit"}
    script = answer_bytes(status, error, Retry_After="3")
    waited: list[float] = []
    with (
        ScriptedServer(lambda *_: script) as server,
        PrometheusClient(server.url, sleep=waited.append) as client,
        pytest.raises(HistoryError, match=f"{status}.*the tenant is over its limit"),
    ):
        client.query("up", 1.0)

    assert pauses == waited
    assert 1 + len(pauses) == len(server.received)


def test_a_server_that_was_busy_is_asked_the_same_again(prometheus: str) -> None:
    busy = [True]

    def answer(_: dict[str, list[str]]) -> bytes | None:
        error = {"status": "error", "error": "too many outstanding requests"}
        return answer_bytes(429, error, Retry_After="0") if busy and busy.pop() else None

    with gateway(prometheus, "", answer=answer) as mimir:
        assert 0 == ask(mimir.url).exit_code
        assert mimir.received[0].body == mimir.received[1].body


def test_replicas_that_show_the_same_gpus_are_one_node(prometheus: str) -> None:
    done, single = ask(prometheus, run="pair"), ask(prometheus)
    decided, expected = json.loads(done.stdout), json.loads(single.stdout)

    assert ("hold", 230) == (decided["decision"], decided["power_limit_watts"])
    for point, alone in zip(decided["points"], expected["points"], strict=True):
        assert point["joules_per_step"] == pytest.approx(alone["joules_per_step"], rel=1e-6)
        assert point["steps"] == pytest.approx(alone["steps"], rel=0.02)


def test_replicas_of_which_nothing_tells_are_refused_with_the_cure(prometheus: str) -> None:
    done = ask(prometheus, run="blind")
    decided = json.loads(done.stdout)

    assert "none" == decided["decision"]
    for part in (
        "is shown 2 times, which differ in replica",
        "no GPU tells whether they are one machine",
        "--query.replica-label=replica",
        "--match 'replica=0'",
    ):
        assert part in decided["reason"]
    chosen = json.loads(ask(prometheus, "--match", "replica=0", run="blind").stdout)
    assert "is shown 2 times" not in chosen["reason"]
