"""What the doctor makes of a Prometheus's answers."""

from collections.abc import Mapping
from urllib.parse import parse_qs

import httpx
import pytest

from joulestat.cli.checks import Finding, Verdict
from joulestat.cli.checks.exporter import Page
from joulestat.cli.checks.history import check_prometheus
from joulestat.optimizer.history.promql import PrometheusClient

NOW = 1_795_000_000.0
URL = "http://127.0.0.1:10400"
UUID = "GPU-1"
PAGE = Page(version="", up={UUID: True})


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

    def findings(self, page: Page | None = PAGE, *, url: str = URL) -> dict[str, Finding]:
        transport = httpx.MockTransport(self.answer)
        with PrometheusClient("http://prometheus:9090", transport=transport) as client:
            return {each.check: each for each in check_prometheus(client, page, url)}


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


def test_nobody_is_told_to_let_prometheus_scrape_a_unix_socket() -> None:
    finding = Prometheus(uuid="GPU-9").findings(url="unix:/run/push.sock")["scraping"]

    assert Verdict.FAIL is finding.verdict
    assert "targets" not in finding.cure
    assert "--web.listen-address" in finding.cure
