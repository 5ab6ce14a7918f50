"""A Prometheus with the simulated fleet's twelve hours, and what the rules make of them."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from dashboards.fleet_schedule import BUDGETS, DAY_SECONDS, MINUTES, NODES, SCRAPE_SECONDS
from dashboards.shown import ALERT_RULES, RULES
from dashboards.simulated_fleet import SimulatedFleet
from servers.program import program
from servers.prometheus import PrometheusServer

Rule = dict[str, Any]

RECORDED = re.compile(r"[a-z_]+:[a-z0-9_]+:[a-z0-9_]+")
DAY_BEFORE_STEP_SECONDS = 120
UNIT_SECONDS = {"m": 60, "h": 3600}


@contextmanager
def recorded_fleet(folder: Path, end_seconds: int) -> Iterator[PrometheusServer]:
    """Run a Prometheus that holds the fleet's history, rules' results and alerts included.

    The history is the same at any time: nothing in it depends on when it is asked for.

    Args:
        folder: An empty one, for its blocks.
        end_seconds: Unix time of the last scrape.
    """
    server = PrometheusServer(folder)
    server.backfill(_day_before(end_seconds - MINUTES * SCRAPE_SECONDS))
    server.backfill(SimulatedFleet(end_seconds).openmetrics())
    for depth, rules in enumerate([*_levels(), _alerts()]):
        recorded = folder / f"recorded-{depth}"
        with server:
            _evaluate(rules, server.url, recorded, end_seconds)
        for block in recorded.glob("*/"):
            shutil.move(block, folder / "data" / block.name)
    with server:
        yield server


def _day_before(end_seconds: int) -> str:
    """Return how budgets were used in the day before: their burn rates look back on a day."""
    lines = []
    steps = DAY_SECONDS // DAY_BEFORE_STEP_SECONDS
    for name, (team, allowance, spent) in BUDGETS.items():
        pace = allowance / 30 * 0.8
        for node in NODES:
            labels = f'budget="{name}",instance="{node}",job="joulestat",team="{team}"'
            for left in range(steps, 0, -1):
                value = (spent - pace * left / steps) / len(NODES)
                at = end_seconds - left * DAY_BEFORE_STEP_SECONDS
                lines.append(f"joulestat_budget_consumed_joules_total{{{labels}}} {value} {at}")
    return "\n".join([*lines, "# EOF\n"])


def _levels() -> list[list[Rule]]:
    """Return the rules so that each stands behind those whose results it reads.

    promtool asks the server for every expression, and sees there what was recorded before alone.
    """
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    rules: list[Rule] = [rule for group in groups for rule in group["rules"]]
    names = {rule["record"] for rule in rules}
    levels: list[list[Rule]] = []
    while rules:
        missing = {rule["record"] for rule in rules}
        # A rule may read its own last result, too: nothing of that here, as no exporter is down.
        level = [
            rule
            for rule in rules
            if not (set(RECORDED.findall(rule["expr"])) & names & missing) - {rule["record"]}
        ]
        assert level, f"rules that read each other: {sorted(missing)}"
        levels.append(level)
        rules = [rule for rule in rules if rule not in level]
    return levels


def _alerts() -> list[Rule]:
    """Return rules that record the series ALERTS, as promtool itself evaluates no alerts.

    They begin to fire up to one evaluation early, and begin anew what they keep firing.
    """
    recorded = []
    for path in ALERT_RULES:
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                expr = f"({rule['expr']})"
                pending = _minutes(rule.get("for", "0m"))
                if pending:
                    expr = f"(count_over_time({expr}[{pending}m:1m]) >= {pending})"
                if kept := _minutes(rule.get("keep_firing_for", "0m")):
                    expr = f"count_over_time({expr}[{kept}m:1m])"
                labels = rule["labels"] | {"alertname": rule["alert"], "alertstate": "firing"}
                # To the power of 0: ALERTS is 1 whatever the value, and has the alert's labels.
                recorded.append({"record": "ALERTS", "expr": f"{expr} ^ 0", "labels": labels})
    return recorded


def _minutes(duration: str) -> int:
    return int(duration[:-1]) * UNIT_SECONDS[duration[-1]] // 60


def _evaluate(rules: list[Rule], url: str, destination: Path, end_seconds: int) -> None:
    """Write what rules would have recorded in the twelve hours as blocks."""
    file = destination.with_suffix(".yaml")
    file.write_text(yaml.safe_dump({"groups": [{"name": "level", "rules": rules}]}))
    subprocess.run(
        [
            program("promtool"), "tsdb", "create-blocks-from", "rules", f"--url={url}",
            f"--start={end_seconds - MINUTES * SCRAPE_SECONDS}", f"--end={end_seconds}",
            f"--eval-interval={SCRAPE_SECONDS}s", f"--output-dir={destination}", file,
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
