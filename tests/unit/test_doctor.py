"""What the doctor makes of what it sees; how it sees a running exporter is an integration test."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest
from click.testing import CliRunner

from fakes.clock import FakeClock
from fakes.scripted_server import Received, ScriptedServer, answer_bytes
from joulestat.cli.checks import Finding, Verdict
from joulestat.cli.checks.control import check_admin
from joulestat.cli.checks.exporter import Page, check_exporter
from joulestat.cli.checks.history import check_prometheus
from joulestat.cli.checks.host import check_devices, check_installation, check_privilege
from joulestat.cli.doctor import doctor
from joulestat.config import Config
from joulestat.optimizer.promql import PrometheusClient

NOW = 1_795_000_000.0
URL = "http://127.0.0.1:10400"
UUID = "GPU-1"
PAGE = Page(version="", up={UUID: True})
EVERYTHING = "CapEff:\t000001ffffffffff\n"
NOTHING = "CapEff:\t0000000000000000\n"
ONLY_SYS_ADMIN = "CapEff:\t0000000000200000\n"


def verdicts(findings: list[Finding]) -> dict[str, Verdict]:
    return {finding.check: finding.verdict for finding in findings}


def sample(labels: Mapping[str, str], value: float) -> dict[str, object]:
    return {"metric": labels, "value": [NOW, str(value)]}


class Prometheus:
    """A Prometheus's answers, by the metric that is asked for."""

    def __init__(
        self, *, ticked_ago: float = 1.0, interval: float = 15.0, uuid: str = UUID
    ) -> None:
        here = {"instance": "node-1:10400", "job": "joulestat"}
        self.vectors = {
            "vector(time())": [sample({}, NOW)],
            "joulestat_last_tick_timestamp_seconds": [sample(here, NOW - ticked_ago)],
            "joulestat_gpu_info": [sample({**here, "gpu_uuid": uuid}, 1)],
        }
        times = [NOW - 2.0 - interval * back for back in range(4, -1, -1)]
        self.matrix = [{"metric": here, "values": [[at, str(at)] for at in times]}]

    def answer(self, request: httpx.Request) -> httpx.Response:
        (query,) = parse_qs(request.content.decode())["query"]
        data: dict[str, object]
        if query.endswith("s]"):
            data = {"resultType": "matrix", "result": self.matrix}
        else:
            data = {"resultType": "vector", "result": self.vectors.get(query, [])}
        return httpx.Response(200, json={"status": "success", "data": data})

    def findings(self, page: Page | None = PAGE) -> dict[str, Finding]:
        transport = httpx.MockTransport(self.answer)
        with PrometheusClient("http://prometheus:9090", transport=transport) as client:
            return {each.check: each for each in check_prometheus(client, page, URL)}


def test_a_prometheus_that_scrapes_this_exporter_lately_is_well() -> None:
    findings = Prometheus().findings()

    assert {"Prometheus", "scraping", "newest scrape", "newest reading", "scrape interval"} == set(
        findings
    )
    assert {Verdict.OK} == {each.verdict for each in findings.values()}
    assert "15 s" == findings["scrape interval"].found


def test_a_prometheus_that_scrapes_no_exporter_is_told_what_to_scrape() -> None:
    prometheus = Prometheus()
    prometheus.vectors["joulestat_last_tick_timestamp_seconds"] = []

    finding = prometheus.findings()["scraping"]

    assert Verdict.FAIL is finding.verdict
    assert "targets: ['127.0.0.1:10400']" in finding.cure


def test_a_target_that_does_not_answer_is_told_from_one_that_is_missing() -> None:
    prometheus = Prometheus()
    prometheus.vectors["joulestat_last_tick_timestamp_seconds"] = []
    prometheus.vectors['up{job=~".*joulestat.*"} == 0'] = [sample({"instance": "node-1:10400"}, 0)]

    finding = prometheus.findings()["scraping"]

    assert Verdict.FAIL is finding.verdict
    assert "node-1:10400" in finding.found


def test_a_prometheus_that_scrapes_only_other_exporters_fails() -> None:
    finding = Prometheus(uuid="GPU-elsewhere").findings()["scraping"]

    assert Verdict.FAIL is finding.verdict
    assert f"not the one at {URL}" in finding.found


def test_without_an_exporter_here_any_that_is_scraped_counts() -> None:
    assert Verdict.OK is Prometheus(uuid="GPU-elsewhere").findings(None)["scraping"].verdict


@pytest.mark.parametrize("ticked_ago", [46.0, -46.0])
def test_readings_too_old_or_from_the_future_fail(ticked_ago: float) -> None:
    assert Verdict.FAIL is Prometheus(ticked_ago=ticked_ago).findings()["newest reading"].verdict


def test_three_missed_scrapes_of_a_slow_rhythm_are_no_failure_but_the_rhythm_is_noted() -> None:
    findings = Prometheus(ticked_ago=100.0, interval=60.0).findings()

    assert Verdict.OK is findings["newest reading"].verdict
    assert Verdict.WARN is findings["scrape interval"].verdict


def test_a_prometheus_that_does_not_answer_fails_with_a_cure() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    transport = httpx.MockTransport(refuse)
    with PrometheusClient("http://prometheus:9090", transport=transport) as client:
        (finding,) = check_prometheus(client, PAGE, URL)

    assert Verdict.FAIL is finding.verdict
    assert finding.cure


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(EVERYTHING, Verdict.OK), (ONLY_SYS_ADMIN, Verdict.OK), (NOTHING, Verdict.WARN)],
)
def test_setting_limits_takes_the_capability_whoever_one_is(status: str, verdict: Verdict) -> None:
    assert verdict is check_privilege(status).verdict


def test_the_host_itself_says_what_it_may() -> None:
    assert "privilege" == check_privilege().check


def test_every_extra_is_looked_at() -> None:
    assert {
        "joulestat": Verdict.OK,
        "extra server": Verdict.OK,
        "extra optimizer": Verdict.OK,
    } == verdicts(check_installation())


@pytest.mark.parametrize(
    ("backend", "verdict"), [("simulated", Verdict.OK), ("none", Verdict.WARN)]
)
def test_a_backend_without_a_driver_is_taken_as_meant(
    tmp_path: Path, backend: str, verdict: Verdict
) -> None:
    config = Config(state_path=tmp_path, backend=backend)

    assert {"driver": verdict} == verdicts(check_devices(config, FakeClock(), seen_by_exporter=0))


def scripted(pages: Mapping[str, bytes]) -> ScriptedServer:
    return ScriptedServer(
        lambda request, _: pages.get(request.path.partition("?")[0], answer_bytes(404))
    )


def text(body: str, status: int = 200) -> bytes:
    head = f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


def metrics(*, version: str, up: Mapping[str, int]) -> str:
    lines = [f'joulestat_build_info{{version="{version}"}} 1']
    lines += [f'joulestat_gpu_up{{gpu_uuid="{uuid}"}} {value}' for uuid, value in up.items()]
    return "\n".join([*lines, ""])


def test_an_exporter_that_does_not_answer_fails() -> None:
    with scripted({}) as server:
        url = server.url
    findings, page = check_exporter(url)

    assert {"exporter": Verdict.FAIL} == verdicts(findings)
    assert page is None


def test_an_address_that_is_none_fails_before_anything_is_asked() -> None:
    findings, page = check_exporter("ftp://nowhere")

    assert {"exporter": Verdict.FAIL} == verdicts(findings)
    assert page is None


@pytest.mark.parametrize("page", ["<html>hello</html>", "up 1\n", ""])
def test_something_else_at_the_address_is_told_from_an_exporter(page: str) -> None:
    with scripted({"/readyz": text("ready\n"), "/metrics": text(page)}) as server:
        findings, _ = check_exporter(server.url)

    assert {"exporter": Verdict.FAIL} == verdicts(findings)


def test_an_old_version_a_stalled_tick_and_a_lost_gpu_are_three_findings() -> None:
    pages = {
        "/readyz": text("not ready: no fresh reading of the GPUs\n", 503),
        "/metrics": text(metrics(version="0.0.1", up={"GPU-1": 1, "GPU-2": 0})),
    }
    with scripted(pages) as server:
        findings, page = check_exporter(server.url)

    assert {
        "exporter": Verdict.WARN,
        "ticking": Verdict.FAIL,
        "exporter's GPUs": Verdict.WARN,
    } == verdicts(findings)
    assert page is not None
    assert {"GPU-1": True, "GPU-2": False} == page.up


def gpu(*, writable: bool, holder: str | None = None) -> dict[str, object]:
    return {
        "gpu_uuid": UUID,
        "power_limit_watts": 300.0,
        "writable": writable,
        "lease": None if holder is None else {"holder": holder},
    }


def admin(gpus: list[dict[str, object]], lease: bytes) -> ScriptedServer:
    return scripted(
        {
            "/v1/gpus": answer_bytes(200, {"gpus": gpus}),
            f"/v1/gpus/{UUID}/lease": lease,
        }
    )


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(201, Verdict.OK), (409, Verdict.OK), (403, Verdict.FAIL), (503, Verdict.FAIL)],
)
def test_a_dry_run_tells_what_the_token_may_do(status: int, verdict: Verdict) -> None:
    with admin([gpu(writable=True)], answer_bytes(status, {"title": "so it is"})) as server:
        findings = check_admin(server.url, "token")
        asked = [received for received in server.received if received.method != "GET"]

    assert verdict is verdicts(findings)["admin role"]
    assert ["PUT"] == [received.method for received in asked]
    assert all(received.path.endswith("?dry_run=true") for received in asked)


def test_gpus_that_nobody_can_limit_are_a_failure_and_some_of_them_a_warning() -> None:
    granted = answer_bytes(201, {})
    with admin([gpu(writable=False)], granted) as server:
        none_of_them = verdicts(check_admin(server.url, "token"))
    with admin([gpu(writable=True, holder="kim"), gpu(writable=False)], granted) as server:
        some_of_them = check_admin(server.url, "token")

    assert Verdict.FAIL is none_of_them["control"]
    assert Verdict.WARN is verdicts(some_of_them)["control"]
    assert "held now by kim" in some_of_them[-1].found


def test_a_wrong_token_fails() -> None:
    with scripted({"/v1/gpus": answer_bytes(401, {"title": "Unauthorized"})}) as server:
        (finding,) = check_admin(server.url, "wrong")

    assert Verdict.FAIL is finding.verdict
    assert "token" in finding.found + finding.cure


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("JOULESTAT_URL", "JOULESTAT_PROMETHEUS_URL", "JOULESTAT_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JOULESTAT_BACKEND", "none")
    return


def refusing(received: Received, _connection: object) -> bytes:
    return answer_bytes(500, {"for": received.path})


@pytest.mark.usefixtures("no_environment")
def test_the_command_exits_1_where_the_loop_would_not_work_and_names_each_reason() -> None:
    with ScriptedServer(refusing) as server:
        arguments = ["--url", server.url, "--prometheus.url", server.url, "--output", "json"]
        told = CliRunner().invoke(doctor, arguments)

    findings = json.loads(told.output)
    assert 1 == told.exit_code
    failed = {each["check"] for each in findings if each["verdict"] == "fail"}
    assert {"exporter", "admin API", "Prometheus"} == failed
    assert all(each["cure"] for each in findings if each["verdict"] != "ok")


@pytest.mark.usefixtures("no_environment")
def test_the_table_says_the_same_in_words() -> None:
    with ScriptedServer(refusing) as server:
        told = CliRunner().invoke(doctor, ["--url", server.url, "--prometheus.url", server.url])

    assert 1 == told.exit_code
    assert re.search(r"FAIL +exporter", told.output)
    assert "The loop would not work: 3 of" in told.output
