"""``joulestat report`` as people and scripts run it, on a real Prometheus with known runs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from servers.prometheus import PrometheusServer
from servers.reported_run import Life, Node, ReportedRun, openmetrics
from servers.training_history import START_SECONDS

pytestmark = pytest.mark.prometheus

HOUR = 3_600.0
KWH = 3.6e6
WATTS = (300.0, 500.0)
CLEAN, DIRTY = 100.0, 400.0
BEGIN = -(-START_SECONDS // HOUR) * HOUR - HOUR / 2
"""Half an hour before a full hour."""

PLAIN = ReportedRun(
    "plain", [Node("a", [Life(0, HOUR, WATTS, 60)], scrape_seconds=15.0)], start_seconds=BEGIN
)
ZONES = ReportedRun(
    "zones",
    [
        Node("b", [Life(0, HOUR, WATTS, 60)], scrape_seconds=15.0, tariff=("DE", 380.0, 1.25)),
        Node("c", [Life(0, HOUR, WATTS, 60)], scrape_seconds=15.0, tariff=("FR", 50.0, 1.25)),
    ],
    start_seconds=BEGIN,
)
AT_HOME = ReportedRun(
    "at-home",
    [Node("d", [Life(0, HOUR, WATTS, 60)], 15.0, replicas=2, tariff=("DE", 380.0, 1.25))],
    start_seconds=BEGIN,
)
RUNS = (PLAIN, ZONES, AT_HOME)
AT = ("--at", f"{BEGIN + 2 * HOUR:.0f}")


def grid_samples() -> list[str]:
    """Return intensities of zones and nodes, clean before the full hour; one knows only that."""
    lines = []
    for number in range(240):
        at = BEGIN - 600 + 30 * number
        grams = CLEAN if at < BEGIN + HOUR / 2 else DIRTY
        lines.append(f'grid_grams{{zone="DE"}} {grams} {at}')
        lines.append(f'grid_grams{{zone="FR"}} {grams / 10} {at}')
        lines.append(f'grid_by_node{{job="joulestat",instance="b:10400"}} {grams} {at}')
        lines.append(f'grid_by_node{{job="joulestat",instance="c:10400"}} {grams / 10} {at}')
        if at < BEGIN + HOUR / 2:
            lines.append(f"grid_half {grams} {at}")
    start = "joulestat_run_start_timestamp_seconds"
    lines.append(f'{start}{{run="begun",instance="x"}} {BEGIN} {BEGIN + 5}')
    return lines


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = PrometheusServer(tmp_path_factory.mktemp("prometheus"))
    server.backfill(openmetrics(*RUNS))
    server.backfill("\n".join([*sorted(grid_samples(), key=_moment), "# EOF\n"]))
    with server:
        yield server.url


def _moment(line: str) -> float:
    return float(line.rpartition(" ")[2])


def report(url: str, run: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    asked = ("--prometheus.url", url, "--run", run, *AT)
    return subprocess.run(
        [sys.executable, "-m", "joulestat", "report", *asked, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )


def told(url: str, run: str, *arguments: str) -> dict[str, Any]:
    done = report(url, run, *arguments, "--output", "json")
    assert 0 == done.returncode, done.stderr
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


def joules(run: ReportedRun) -> float:
    return sum(run.joules().values())


def test_a_pipe_gets_a_table_without_colours(url: str) -> None:
    done = report(url, "plain", "--carbon.grams-per-kwh", "380", "--pue", "1.2")

    assert (0, "") == (done.returncode, done.stderr)
    assert "plain: 2.880 MJ (0.8000 kWh) on 2 GPUs in 60 min" in done.stdout
    assert "364.8 g CO2e = 0.8000 kWh x PUE 1.2 x 380.0 g/kWh" in done.stdout
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_json_tells_gpus_phases_and_hours(url: str) -> None:
    shown = told(url, "plain")

    assert ["GPU-a-0", "GPU-a-1"] == [gpu["gpu_uuid"] for gpu in shown["gpus"]]
    assert PLAIN.joules() == pytest.approx({g["gpu_uuid"]: g["joules"] for g in shown["gpus"]})
    assert joules(PLAIN) == pytest.approx(sum(shown["joules_by_phase"].values()))
    assert joules(PLAIN) == pytest.approx(sum(hour["joules"] for hour in shown["hours"]))
    assert [True, None, None] == [shown[key] for key in ("ended", "carbon", "emissions")]


def test_the_same_question_about_the_same_moment_has_the_same_answer(url: str) -> None:
    first, second = (report(url, "zones", "--output", "json").stdout for _ in range(2))

    assert first == second


def test_what_the_exporters_are_configured_with_is_taken_unless_said(url: str) -> None:
    shown = told(url, "at-home")
    said = told(url, "at-home", "--carbon.grams-per-kwh", "100", "--pue", "1")

    assert joules(AT_HOME) / KWH * 1.25 * 380 == pytest.approx(shown["emissions"]["grams"])
    assert ("DE", "2 x Simulated GPU") == (
        shown["emissions"]["geographical_location"],
        shown["emissions"]["hardware_used"],
    )
    assert joules(AT_HOME) / KWH * 100 == pytest.approx(said["emissions"]["grams"])


def test_nodes_in_two_zones_have_their_own_intensities(url: str) -> None:
    shown = told(url, "zones")

    assert joules(ZONES) / 2 / KWH * 1.25 * (380 + 50) == pytest.approx(shown["carbon"]["grams"])
    assert None is shown["emissions"]["geographical_location"]
    assert any("--location" in text for text in shown["missing"])


def test_an_intensity_over_time_is_multiplied_hour_by_hour(url: str, tmp_path: Path) -> None:
    """The run drew the same in both half hours, a clean and a dirty one."""
    grid = tmp_path / "grid.csv"
    hours = ((BEGIN - HOUR / 2, CLEAN), (BEGIN + HOUR / 2, DIRTY))
    grid.write_text("time,g\n" + "".join(f"{at},{grams}\n" for at, grams in hours))
    by_file = told(url, "plain", "--carbon.csv", str(grid))["carbon"]["grams"]
    by_series = told(url, "plain", "--carbon.promql", 'grid_grams{zone="DE"}')["carbon"]["grams"]
    by_both = told(url, "zones", "--carbon.promql", "grid_by_node", "--pue", "1")

    # Scrapes are 15 s apart, and so may the turn of the hour be.
    assert joules(PLAIN) / KWH * (CLEAN + DIRTY) / 2 == pytest.approx(by_file, rel=0.01)
    assert by_file == pytest.approx(by_series, rel=0.01)
    assert 1.1 * by_file == pytest.approx(by_both["carbon"]["grams"], rel=0.01)


def test_an_hour_without_an_intensity_exits_3_and_nothing_is_made_up(
    url: str, tmp_path: Path
) -> None:
    card = tmp_path / "README.md"
    done = report(url, "plain", "--carbon.promql", "grid_half", "--model-card", str(card))

    assert 3 == done.returncode
    assert "of the energy is not known" in " ".join(done.stdout.split())
    assert "CO2e" not in done.stdout
    assert "energy_consumption_joules" in card.read_text()
    assert "co2_eq_emissions" not in card.read_text()


def test_a_card_is_written_once(url: str, tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text("---\nlicense: mit\n---\n# Tiny\n")
    first = report(url, "at-home", "--model-card", str(card), "--training-type", "fine-tuning")
    text = card.read_text()
    second = report(url, "at-home", "--model-card", str(card), "--training-type", "fine-tuning")

    assert (0, 0, text) == (first.returncode, second.returncode, card.read_text())
    assert "README.md written" in first.stderr
    assert "README.md says so already" in second.stderr
    assert text.startswith("---\nlicense: mit\nenergy_consumption_joules:\n  gpu:\n  - ")
    assert "  training_type: fine-tuning\n  geographical_location: DE\n" in text
    assert text.endswith("---\n# Tiny\n")


def test_a_card_that_is_none_exits_1_with_the_report_told(url: str, tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text("---\na: [1\n---\n")
    done = report(url, "plain", "--model-card", str(card))

    assert 1 == done.returncode
    assert "2.880 MJ" in done.stdout
    assert "metadata that cannot be changed" in done.stderr


def test_a_run_that_nobody_has_exits_3_and_says_so(url: str) -> None:
    done = report(url, "no-such-run")

    assert (3, "") == (done.returncode, done.stdout)
    assert "has nothing of a run 'no-such-run'" in done.stderr


def test_a_run_that_was_only_begun_leaves_the_card_alone_and_exits_3(
    url: str, tmp_path: Path
) -> None:
    done = report(url, "begun", "--model-card", str(tmp_path / "README.md"))

    assert 3 == done.returncode
    assert "begun: 0 J" in done.stdout
    assert "the run took no energy yet" in done.stderr
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("grid_grams", "2 series"),
        ("-grid_grams{zone='DE'}", "below 0"),
        ("grid_grams{", "refused the query"),
    ],
)
def test_an_expression_that_is_no_intensity_exits_1(url: str, expression: str, says: str) -> None:
    done = report(url, "plain", "--carbon.promql", expression)

    assert (1, "") == (done.returncode, done.stdout)
    assert says in done.stderr
    assert 1 == len(done.stderr.splitlines())
