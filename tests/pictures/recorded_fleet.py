"""A Prometheus with the simulated fleet's twelve hours, and what the rules record in them."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from dashboards.fleet_schedule import BUDGETS, DAY_SECONDS, MINUTES, NODES, SCRAPE_SECONDS
from dashboards.shown import RULES
from dashboards.simulated_fleet import SimulatedFleet
from servers.program import program
from servers.prometheus import PrometheusServer

Rule = dict[str, Any]

RECORDED = re.compile(r"[a-z_]+:[a-z0-9_]+:[a-z0-9_]+")
DAY_BEFORE_STEP_SECONDS = 120


@contextmanager
def recorded_fleet(folder: Path, end_seconds: int) -> Iterator[PrometheusServer]:
    """Run a Prometheus that holds the fleet's history up to a moment, rules' results included.

    The history is the same at any time: nothing in it depends on when it is asked for.

    Args:
        folder: An empty one, for its blocks.
        end_seconds: Unix time of the last scrape.
    """
    server = PrometheusServer(folder)
    server.backfill(_day_before(end_seconds - MINUTES * SCRAPE_SECONDS))
    server.backfill(SimulatedFleet(end_seconds).openmetrics())
    for depth, rules in enumerate(_levels()):
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
