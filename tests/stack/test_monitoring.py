"""Prometheus, Alertmanager, pager and Grafana of the stack: what each is given, in real servers."""

import json
import runpy
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from alerts.rule_files import ALERTS, RULE_FILES
from servers import alertmanager
from servers.alertmanager import AlertmanagerServer, amtool
from servers.program import ServerProgram, program
from stack.stack_files import CHECKOUT, DOCKER, services

PROMETHEUS = DOCKER / "prometheus" / "prometheus.yml"
PROVISIONING = DOCKER / "grafana" / "provisioning"
PAGER = DOCKER / "alertmanager" / "pager.py"
BOARDS = sorted((CHECKOUT / "dashboards").glob("*.json"))

no_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="no prometheus or no promtool on PATH: run `make prometheus`",
)
no_alertmanager = pytest.mark.skipif(bool(alertmanager.missing()), reason=alertmanager.missing())


def settings() -> dict[str, Any]:
    file: dict[str, Any] = yaml.safe_load(PROMETHEUS.read_text())
    return file


def place_of(service: str, inside: str) -> Path:
    """Return what lies at a path inside a service's container."""
    for mount in services()[service]["volumes"]:
        source, target = mount.split(":")[:2]
        if source.startswith(".") and (inside == target or inside.startswith(f"{target}/")):
            return (DOCKER / source / inside.removeprefix(target).lstrip("/")).resolve()
    raise AssertionError(f"nothing is mounted at {inside}")


def flag(service: str, name: str) -> str:
    (value,) = (
        argument.removeprefix(f"{name}=")
        for argument in services()[service]["command"]
        if argument.startswith(f"{name}=")
    )
    return str(value)


def health(service: str, url: str) -> subprocess.CompletedProcess[str]:
    """Run a service's check of its health against a server at ``url``."""
    _, name, *arguments = services()[service]["healthcheck"]["test"]
    ours = [one.replace(one.partition("http://")[2], url[7:]) if "http://" in one else one
            for one in arguments]  # fmt: skip
    return subprocess.run([program(name), *ours], capture_output=True, text=True, check=False)


class StackPrometheus(ServerProgram):
    """Prometheus with the stack's own file and flags, its data in a folder of the test."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "prometheus.log")
        self._folder = folder

    def command(self, address: str) -> list[str]:
        ours = {
            "--config.file": str(mapped(self._folder)),
            "--storage.tsdb.path": str(self._folder / "data"),
        }
        given = [argument.partition("=") for argument in services()["prometheus"]["command"]]
        return [
            program("prometheus"),
            *(f"{name}={ours.get(name, value)}" for name, _, value in given),
            f"--web.listen-address={address}",
        ]

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", trust_env=False).is_success
        except httpx.TransportError:
            return False

    def ask(self, path: str) -> dict[str, Any]:
        answer: dict[str, Any] = httpx.get(f"{self.url}{path}", trust_env=False).json()["data"]
        return answer


def mapped(folder: Path) -> Path:
    """Lay out what the container sees: the file, and the rules where it looks for them."""
    home = folder / "etc"
    home.mkdir(exist_ok=True)
    file = home / "prometheus.yml"
    file.write_bytes(place_of("prometheus", flag("prometheus", "--config.file")).read_bytes())
    for path in settings()["rule_files"]:
        inside = place_of("prometheus", f"/etc/prometheus/{Path(path).parent}")
        (home / Path(path).parent).symlink_to(inside)
    return file


@no_prometheus
def test_promtool_finds_no_fault_in_the_configuration_nor_in_its_rules(tmp_path: Path) -> None:
    told = subprocess.run(
        [program("promtool"), "check", "config", mapped(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == told.returncode, told.stderr
    assert len(RULE_FILES) == told.stdout.count("rules found")


@no_prometheus
def test_a_real_prometheus_loads_the_configuration_with_all_rules(tmp_path: Path) -> None:
    with StackPrometheus(tmp_path) as server:
        groups = server.ask("/api/v1/rules")["groups"]
        loaded = yaml.safe_load(server.ask("/api/v1/status/config")["yaml"])
        healthy = health("prometheus", server.url)

    expected = {
        group["name"] for path in RULE_FILES for group in yaml.safe_load(path.read_text())["groups"]
    }
    assert expected == {group["name"] for group in groups}
    # The alerts ask for a job of this name.
    assert ["joulestat"] == [job["job_name"] for job in loaded["scrape_configs"]]
    assert 0 == healthy.returncode, healthy.stderr


def test_prometheus_looks_for_names_that_there_are() -> None:
    (job,) = settings()["scrape_configs"]
    (static,) = job["static_configs"]
    host, _, port = static["targets"][0].partition(":")
    exporters = [one for name, one in services().items() if name.startswith("exporter")]

    assert len(exporters) > 1
    for one in exporters:
        assert [host] == one["networks"]["default"]["aliases"]
        assert [f"127.0.0.1:{port}:{port}"] == one["ports"]
        assert f"--web.listen-address=:{port}" in one["command"]
    (managers,) = settings()["alerting"]["alertmanagers"]
    assert ["alertmanager:9093"] == managers["static_configs"][0]["targets"]
    assert "alertmanager" in services()


def receivers() -> set[str]:
    file = yaml.safe_load((ALERTS / "alertmanager.yaml").read_text())
    return {hook["url"] for one in file["receivers"] for hook in one["webhook_configs"]}


def test_the_pager_is_where_the_alertmanager_s_receivers_are() -> None:
    module = runpy.run_path(str(PAGER))

    assert {f"{module['HOST']}:{module['PORT']}"} == {url.split("/")[2] for url in receivers()}
    assert "service:alertmanager" == services()["pager"]["network_mode"]
    assert PAGER == place_of("pager", services()["pager"]["command"][-1])


@pytest.fixture(scope="module")
def pager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The pager at a port of its own, and what it prints."""
    printed = tmp_path_factory.mktemp("pager") / "printed"
    with printed.open("w") as out:
        process = subprocess.Popen([sys.executable, "-I", PAGER, "0"], stdout=out)
    try:
        (listening,) = lines(printed, 1)
        yield f"http://{listening.split()[-1]}", printed
    finally:
        process.terminate()
        process.wait(10)


def lines(path: Path, number: int) -> list[str]:
    """Return what was printed, as soon as there are so many lines."""
    deadline = time.monotonic() + 20.0
    while len(found := path.read_text().splitlines()) < number and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


@no_alertmanager
def test_an_alert_reaches_the_pager_of_its_team(tmp_path: Path, pager: tuple[str, Path]) -> None:
    url, printed = pager
    path = place_of("alertmanager", flag("alertmanager", "--config.file"))
    config = path.read_text().replace("http://127.0.0.1:9099", url).replace("30s", "0s")
    before = len(printed.read_text().splitlines())
    with AlertmanagerServer(tmp_path, config) as server:
        healthy = health("alertmanager", server.url)
        server.post({"alertname": "BudgetExhausted", "severity": "critical", "team": "nlp"})
        found = lines(printed, before + 1)[before:]

    assert ["/nlp/pager firing critical BudgetExhausted:"] == found
    assert 0 == healthy.returncode, healthy.stderr


def test_a_label_cannot_make_up_an_alert_of_its_own(pager: tuple[str, Path]) -> None:
    url, printed = pager
    before = len(printed.read_text().splitlines())
    alert = {
        "status": "firing",
        "labels": {"alertname": "Real\n/nlp/pager firing critical Forged:"},
        "annotations": {"description": "one\r\n/nlp/pager firing critical Forged: two"},
    }
    bodies = ("no JSON", "[]", '{"alerts": [1]}', json.dumps({"alerts": [alert]}))
    asked = [httpx.post(f"{url}/x", content=body, trust_env=False).status_code for body in bodies]

    assert [400, 400, 400, 200] == asked
    (line,) = lines(printed, before + 1)[before:]
    assert line.startswith("/x firing - Real")


@no_alertmanager
def test_amtool_finds_no_fault_in_what_alertmanager_is_given() -> None:
    path = place_of("alertmanager", flag("alertmanager", "--config.file"))

    assert "SUCCESS" in amtool("check-config", path)


def sources() -> list[dict[str, Any]]:
    file = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yaml").read_text())
    found: list[dict[str, Any]] = file["datasources"]
    return found


def test_grafana_finds_the_boards_where_they_are_mounted() -> None:
    file = yaml.safe_load((PROVISIONING / "dashboards" / "joulestat.yaml").read_text())
    (provider,) = file["providers"]
    folder = place_of("grafana", provider["options"]["path"])
    home = services()["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]

    assert BOARDS == sorted(folder.glob("*.json"))
    assert place_of("grafana", home) in BOARDS
    assert PROVISIONING == place_of("grafana", "/etc/grafana/provisioning")


def test_grafana_s_source_is_one_that_the_boards_can_choose() -> None:
    (default,) = (one for one in sources() if one.get("isDefault"))
    for board in BOARDS:
        variables = json.loads(board.read_text())["templating"]["list"]
        (chosen,) = (one for one in variables if one["type"] == "datasource")

        assert default["type"] == chosen["query"]
        assert not chosen["regex"]


def test_grafana_is_told_how_often_prometheus_scrapes() -> None:
    (source,) = (one for one in sources() if one["type"] == "prometheus")

    assert settings()["global"]["scrape_interval"] == source["jsonData"]["timeInterval"]
    assert source["jsonData"]["alertmanagerUid"] in {one["uid"] for one in sources()}
    assert {"prometheus:9090", "alertmanager:9093"} == {one["url"][7:] for one in sources()}
