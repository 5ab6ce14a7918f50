"""Budgets of a config and of a push, over crashes and periods, until somebody's pager rings."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from alerts.rule_files import ALERTS, RULE_FILES
from joulestat.devices.models import TYPICAL_TRAINING
from servers import alertmanager
from servers.alertmanager import AlertmanagerServer, Webhook
from servers.exporter import Exporter
from servers.prometheus import PrometheusServer

pytestmark = [
    pytest.mark.prometheus,
    pytest.mark.skipif(bool(alertmanager.missing()), reason=alertmanager.missing()),
]

EXAMPLE_RECEIVERS = "http://127.0.0.1:9099"
EXAMPLE_WAIT = "group_wait: 30s"

TEAM_JOULES, RUN_JOULES = 4000, 3000
"""Two GPUs in training draw about 500 W."""
BUDGETS = f"""\
budgets:
  - {{name: always, team: nlp, joules: {TEAM_JOULES}, start: 2020-01-01, end: 2090-01-01}}
  - {{name: plenty, team: nlp, joules: 1.0e+12, start: 2020-01-01, end: 2090-01-01}}
  - {{name: past, team: nlp, joules: 1, start: 2020-01-01, end: 2021-01-01}}
  - {{name: idle, team: cv, joules: 1, start: 2020-01-01, end: 2090-01-01}}
"""

PERIOD = """\
tariff: {{price-per-kilowatt-hour: 0.36, currency: EUR, pue-ratio: 1.25}}
budgets:
  - {{name: monthly, team: nlp, cost: 0.5, currency: EUR, start: {start}, end: 2090-01-01}}
"""
CONSUMED = "budget:joulestat_energy_consumed:joules"
PERIOD_JOULES = 0.5 / (0.36 * 1.25) * 3.6e6


def until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait for something that will be true and return it; fail when it is not."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found


class Training:
    """Two runs of one team, a GPU each, of which one has a budget; pushes go on in a thread."""

    def __init__(self, exporter: Exporter, incarnation: str = "one") -> None:
        self._exporter = exporter
        self._incarnation = incarnation
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._train)

    def __enter__(self) -> None:
        """Begin."""
        world = self._exporter.world()
        self._gpus = list(world.uuids)
        for gpu in self._gpus:
            world.occupy(gpu, TYPICAL_TRAINING)
        world.close()
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        """End; what was pushed stays."""
        self._over.set()
        self._thread.join()

    def _train(self) -> None:
        seq = 0
        while not self._over.wait(0.1):
            seq += 1
            try:
                self._push(seq, "thrifty", self._gpus[0], energy_budget_joules=RUN_JOULES)
                self._push(seq, "free", self._gpus[1])
            except (OSError, ValueError):
                continue  # the exporter is away; the next push says it all again

    def _push(self, seq: int, run: str, gpu: str, **more: Any) -> None:
        self._exporter.push(
            run=run,
            rank=0,
            incarnation=self._incarnation,
            seq=seq,
            at_ns=time.monotonic_ns(),
            gpus=[gpu],
            phase="train",
            totals={"train": {"steps": seq}},
            labels={"team": "nlp"},
            final=False,
            **more,
        )


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    config = tmp_path / "joulestat.yaml"
    config.write_text(BUDGETS)
    flags = ("--config.file", str(config))
    with Exporter(tmp_path / "exporter", *flags) as running:
        # Prometheus looks for it where it was.
        running.flags = (*flags, "--web.listen-address", running.url.removeprefix("http://"))
        yield running


@pytest.fixture
def webhook(tmp_path: Path, exporter: Exporter) -> Iterator[Webhook]:
    """Where the messages arrive that the example for Alertmanager sends."""
    with Webhook() as arriving:
        example = (ALERTS / "alertmanager.yaml").read_text()
        assert EXAMPLE_RECEIVERS in example
        assert EXAMPLE_WAIT in example
        config = example.replace(EXAMPLE_RECEIVERS, arriving.url)
        config = config.replace(EXAMPLE_WAIT, "group_wait: 0s")
        with (
            AlertmanagerServer(tmp_path / "alertmanager", config) as manager,
            PrometheusServer(
                tmp_path / "prometheus",
                [exporter.url.removeprefix("http://")],
                rules=RULE_FILES,
                alertmanagers=[manager.url.removeprefix("http://")],
            ),
        ):
            yield arriving


def consumed_joules(exporter: Exporter) -> float:
    return exporter.value("budget_consumed_joules_total", budget="always")


def rung(webhook: Webhook) -> dict[str, Any]:
    """Return the alerts that the team's pager rang for, by budget."""
    return {alert["labels"]["budget"]: alert for alert in webhook.alerts("/nlp/pager")}


def test_a_used_up_budget_rings_its_teams_pager_whoever_set_it_and_whatever_crashed(
    exporter: Exporter, webhook: Webhook
) -> None:
    with Training(exporter):
        until(lambda: consumed_joules(exporter) > 0.3 * TEAM_JOULES)
        time_is_left = webhook.messages("/nlp/pager") == []
        exporter.kill()
        exporter.start()
        kept_joules = consumed_joules(exporter)
        until(lambda: rung(webhook).keys() >= {"always", "run/thrifty"})
        used_joules = consumed_joules(exporter)

    assert time_is_left
    assert kept_joules > 0.2 * TEAM_JOULES
    assert used_joules >= TEAM_JOULES
    alerts = rung(webhook)
    assert {"always", "run/thrifty"} == alerts.keys()
    assert {"JoulestatBudgetExhausted"} == {a["labels"]["alertname"] for a in alerts.values()}
    told = alerts["always"]["annotations"]["description"]
    assert told.startswith("Budget always of team nlp has used 1")
    assert [] == [*webhook.messages("/operators/pager"), *webhook.messages("/nlp/chat")]


def test_money_is_energy_and_a_new_period_of_the_same_name_begins_at_nothing(
    tmp_path: Path,
) -> None:
    """The exporter is killed, and somebody has given the budget its next period meanwhile."""
    config = tmp_path / "joulestat.yaml"
    config.write_text(PERIOD.format(start="2020-01-01"))
    flags = ("--config.file", str(config))
    with Exporter(tmp_path / "exporter", *flags) as exporter:
        exporter.flags = (*flags, "--web.listen-address", exporter.url.removeprefix("http://"))

        def consumed() -> float:
            return exporter.value("budget_consumed_joules_total", budget="monthly")

        def train(joules: float) -> None:
            until(lambda: consumed() > joules)

        target = exporter.url.removeprefix("http://")
        with PrometheusServer(tmp_path / "prometheus", [target], rules=RULE_FILES) as prometheus:

            def asked(query: str) -> float | None:
                params = {"query": query}
                answer = httpx.get(f"{prometheus.url}/api/v1/query", params=params, timeout=5)
                found = answer.json()["data"]["result"]
                return float(found[0]["value"][1]) if found else None

            with Training(exporter):
                train(300)
            until(lambda: asked(CONSUMED) == consumed())
            exporter.kill()
            config.write_text(PERIOD.format(start="2021-01-01"))
            exporter.start()
            anew = consumed()
            with Training(exporter, "two"):
                train(200)
            until(lambda: asked(CONSUMED) == consumed())
            resets = asked("resets(joulestat_budget_consumed_joules_total[10m])")
            limit = asked("budget:joulestat_energy_limit:joules")

    assert PERIOD_JOULES == pytest.approx(limit)
    assert 0 == anew
    assert 1 == resets
