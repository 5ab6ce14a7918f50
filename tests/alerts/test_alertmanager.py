"""The example for Alertmanager: who hears of what, and what keeps quiet beside what."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alerts.rule_files import ALERTS, alerts
from servers import alertmanager
from servers.alertmanager import AlertmanagerServer, amtool

EXAMPLE = ALERTS / "alertmanager.yaml"

pytestmark = pytest.mark.skipif(bool(alertmanager.missing()), reason=alertmanager.missing())

RUN = {"scope": "run", "budget": "run/llama", "run": "llama", "team": "nlp"}
OTHER_RUN = {"scope": "run", "budget": "run/bert", "run": "bert", "team": "nlp"}
NODE = {"job": "joulestat", "instance": "n1"}
OTHER_NODE = {"job": "joulestat", "instance": "n2"}


def receivers(**labels: str) -> list[str]:
    asked = [f"{name}={value}" for name, value in labels.items()]
    return amtool("config", "routes", "test", f"--config.file={EXAMPLE}", *asked).split()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[AlertmanagerServer]:
    """Run the example as it is; nobody listens at its webhooks."""
    with AlertmanagerServer(tmp_path, EXAMPLE.read_text()) as running:
        yield running


Names = set[tuple[str, str, str]]
"""Alerts: name, severity, run or instance."""


def settled(server: AlertmanagerServer, expected: Names) -> Names:
    """Return which alerts are inhibited, as soon as they are those: it is worked out aside."""
    deadline = time.monotonic() + 10.0
    while (found := quiet(server)) != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def quiet(server: AlertmanagerServer) -> Names:
    return {
        (labels["alertname"], labels["severity"], labels.get("run") or labels["instance"])
        for alert in server.alerts()
        for labels in [alert["labels"]]
        if alert["status"]["state"] == "suppressed"
    }


def test_amtool_finds_no_fault_in_the_example() -> None:
    assert "SUCCESS" in amtool("check-config", EXAMPLE)


@pytest.mark.parametrize(
    ("severity", "team", "receiver"),
    [
        ("critical", "nlp", "nlp-pager"),
        ("warning", "nlp", "nlp-chat"),
        ("critical", "cv", "operators-pager"),
        ("warning", "cv", "operators-chat"),
        ("critical", "", "operators-pager"),
        ("warning", "", "operators-chat"),
    ],
)
def test_an_alert_goes_to_its_team_and_to_a_pager_if_it_is_critical(
    severity: str, team: str, receiver: str
) -> None:
    assert [receiver] == receivers(severity=severity, team=team)


def test_every_alert_of_the_rules_is_heard_by_somebody() -> None:
    heard = {a.name: receivers(alertname=a.name, severity=a.severity) for a in alerts()}

    assert {} == {name: who for name, who in heard.items() if len(who) != 1}


def test_a_budget_that_is_used_up_silences_what_announced_it(server: AlertmanagerServer) -> None:
    ahead = (
        ("JoulestatBudgetNearlyExhausted", "warning"),
        ("JoulestatBudgetOverrunProjected", "critical"),
        ("JoulestatBudgetExhaustionPredicted", "warning"),
    )
    server.post(
        {"alertname": "JoulestatBudgetExhausted", "severity": "critical", **RUN},
        *({"alertname": name, "severity": how, **run} for name, how in ahead
          for run in (RUN, OTHER_RUN)),
    )  # fmt: skip

    expected = {(name, severity, "llama") for name, severity in ahead}
    assert expected == settled(server, expected)


def test_a_critical_overrun_silences_the_warning_of_the_same_budget(
    server: AlertmanagerServer,
) -> None:
    overrun = {"alertname": "JoulestatBudgetOverrunProjected"}
    server.post(
        {**overrun, "severity": "critical", **RUN},
        {**overrun, "severity": "warning", **RUN},
        {**overrun, "severity": "warning", **OTHER_RUN},
    )

    expected = {("JoulestatBudgetOverrunProjected", "warning", "llama")}
    assert expected == settled(server, expected)


@pytest.mark.parametrize("source", ["JoulestatExporterDown", "JoulestatExporterStale"])
def test_an_exporter_that_is_away_silences_what_is_said_of_its_gpus(
    server: AlertmanagerServer, source: str
) -> None:
    of_gpus = {
        (alert.name, alert.severity)
        for alert in alerts()
        if "$labels.gpu" in alert.annotations["description"]
    }
    server.post(
        {"alertname": source, "severity": "warning", **NODE},
        *({"alertname": name, "severity": how, "gpu": "0", **node} for name, how in of_gpus
          for node in (NODE, OTHER_NODE)),
    )  # fmt: skip

    expected = {(name, severity, "n1") for name, severity in of_gpus}
    assert expected == settled(server, expected)
