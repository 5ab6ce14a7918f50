"""What every rule and every alert has, and what promtool says of them."""

import re
import subprocess
from pathlib import Path

import pytest

from alerts.rule_files import ALERTS, RULE_FILES, TEST_FILES, alerts, looks, metrics_of, rules
from alerts.rule_files import recorded as recorded_series
from joulestat.exposition.catalogue import CATALOGUE, MetricType
from servers.program import program

RUNBOOK = (ALERTS / "RUNBOOK.md").read_text()
A_SENTENCE = re.compile(r"[A-Z].+\.")


@pytest.mark.prometheus
def test_promtool_finds_no_fault_in_the_rules() -> None:
    checked = subprocess.run(
        [program("promtool"), "check", "rules", "--lint=all", "--lint-fatal", *RULE_FILES],
        check=False,
        capture_output=True,
        text=True,
    )

    assert 0 == checked.returncode, checked.stdout + checked.stderr


@pytest.mark.prometheus
@pytest.mark.parametrize("scenes", TEST_FILES, ids=lambda path: path.name)
def test_alerts_are_silent_before_loud_after_and_silent_for_look_alikes(scenes: Path) -> None:
    tested = subprocess.run(
        [program("promtool"), "test", "rules", scenes],
        check=False,
        capture_output=True,
        text=True,
    )

    assert 0 == tested.returncode, tested.stdout + tested.stderr


def test_every_alert_is_shown_loud_and_silent_before_in_the_same_scene() -> None:
    seen = list(looks())
    shown = {
        (alert.name, alert.severity, alert.labels.get("window"))
        for alert in alerts()
        for loud in seen
        if loud.alert == alert.name
        and any(fired["exp_labels"].items() >= alert.labels.items() for fired in loud.fires)
        and any(
            (before.scene, before.alert, before.fires) == (loud.scene, loud.alert, [])
            and before.at_seconds < loud.at_seconds
            for before in seen
        )
    }

    assert shown == {(a.name, a.severity, a.labels.get("window")) for a in alerts()}


def test_every_metric_that_a_rule_reads_is_exported_or_recorded() -> None:
    known = {metric.name for metric in CATALOGUE.values()} | recorded_series() | {"up"}
    unknown = {name for rule in rules() for name in metrics_of(rule["expr"]) if name not in known}

    assert set() == unknown


def test_a_label_value_in_a_rule_is_one_that_the_exporter_gives() -> None:
    catalogue = (ALERTS.parent / "docs" / "metrics.md").read_text()
    asked = {
        value
        for rule in rules()
        for values in re.findall(r'\b(?:reason|result|phase)=~?"([^"]*)"', rule["expr"])
        for value in values.split("|")
    }

    assert asked
    assert [] == [value for value in sorted(asked) if f"`{value}`" not in catalogue]


def test_a_counter_is_read_as_an_increase_or_as_the_sum_of_what_was_used() -> None:
    totals = {m.name for m in CATALOGUE.values() if m.type is MetricType.COUNTER}
    bare = {
        (rule.get("record") or rule.get("alert"), name)
        for rule in rules()
        for name in metrics_of(rule["expr"]) & totals
        if re.search(rf"{name}(?:{{[^}}]*}})?(?!\w|\[|{{)", rule["expr"])
    }

    assert bare == {
        # Consumption and steps since the beginning: the exporter keeps them through restarts.
        ("instance_run:joulestat_run_energy_joules:known", "joulestat_run_energy_joules_total"),
        (
            "instance_budget:joulestat_budget_consumed_joules:known",
            "joulestat_budget_consumed_joules_total",
        ),
        ("budget:joulestat_energy_progress:ratio", "joulestat_run_steps_total"),
    }


def test_the_product_at_work_does_not_alert() -> None:
    asked = [alert.name for alert in alerts() if "power_cap" in alert.expr]
    # Whoever asks for throttling names the reasons, or the power limit would be among them.
    for alert in alerts():
        selectors = re.findall(r"joulestat_gpu_throttled(\S*)", alert.expr)
        assert all("reason=" in selector for selector in selectors), alert.name

    assert [] == asked


def test_an_alert_says_what_is_wrong_how_much_and_what_to_do() -> None:
    for alert in alerts():
        assert {"summary", "description", "action", "runbook_url"} == set(alert.annotations)
        assert "{{" not in alert.annotations["summary"], f"{alert.name}: it is what is grouped by"
        assert "$value" in alert.annotations["description"], alert.name
        for kind in ("summary", "description", "action"):
            assert A_SENTENCE.fullmatch(alert.annotations[kind]), f"{alert.name}: {kind}"


def test_every_alert_has_an_entry_in_the_runbook_and_every_entry_an_alert() -> None:
    headings = re.findall(r"^## (\w+)$", RUNBOOK, flags=re.MULTILINE)

    assert sorted(headings) == sorted({alert.name for alert in alerts()})
    assert {a.annotations["runbook_url"] for a in alerts()} == {
        f"alerts/RUNBOOK.md#{name.lower()}" for name in headings
    }


def test_the_runbooks_command_puts_an_address_before_its_entries(tmp_path: Path) -> None:
    (command,) = re.findall(r"^sed .+$", RUNBOOK, flags=re.MULTILINE)
    for path in RULE_FILES:
        (tmp_path / path.name).write_text(path.read_text())

    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)

    urls = re.findall(r"runbook_url: (.*)", "".join(p.read_text() for p in tmp_path.iterdir()))
    address = "https://git.example/energy/joulestat/blob/main/"
    assert {a.annotations["runbook_url"] for a in alerts()} == {
        url.removeprefix(address) for url in urls if url.startswith(address)
    }
    assert all(url.startswith(address) for url in urls)


def test_the_runbook_tells_every_severity_that_an_alert_has() -> None:
    entries = dict(re.findall(r"^## (\w+)\n\n(.+?)(?=\n## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))

    assert {"critical", "warning"} == {alert.severity for alert in alerts()}
    assert [] == [a.name for a in alerts() if f"*{a.severity}" not in entries[a.name]]


def test_a_metric_in_the_runbook_exists() -> None:
    known = {metric.name for metric in CATALOGUE.values()} | recorded_series()
    named = {name for name in metrics_of(RUNBOOK) if name != "up"}

    assert [] == sorted(named - known)
