"""The rules and their unit tests as they lie in alerts/, read."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ALERTS = Path(__file__).parents[2] / "alerts"
RULE_FILES = sorted(ALERTS.glob("*.rules.yaml"))
TEST_FILES = sorted(ALERTS.glob("*.test.yaml"))

_METRIC = re.compile(r"\b(?:\w+:)?joulestat_\w+(?::\w+)?|\bup\b")
_IN_QUOTES = re.compile(r'"[^"]*"')


@dataclass(frozen=True)
class Alert:
    """One alerting rule."""

    name: str
    expr: str
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def severity(self) -> str:
        return self.labels["severity"]

    @property
    def anchor(self) -> str:
        """What GitHub and GitLab make of a heading of this name."""
        return self.name.lower()


@dataclass(frozen=True)
class Look:
    """One look at one alert in a unit test; ``fires`` is empty where it must be silent."""

    scene: str
    alert: str
    at_seconds: int
    fires: list[dict[str, Any]]


def rules() -> Iterator[dict[str, Any]]:
    """Yield every rule, recording and alerting."""
    for path in RULE_FILES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def alerts() -> list[Alert]:
    """Return every alerting rule."""
    return [
        Alert(rule["alert"], rule["expr"], rule["labels"], rule["annotations"])
        for rule in rules()
        if "alert" in rule
    ]


def recorded() -> set[str]:
    """Return the name of every series that a rule records."""
    return {rule["record"] for rule in rules() if "record" in rule}


def metrics_of(expr: str) -> set[str]:
    """Return the names of all metrics that an expression reads."""
    return set(_METRIC.findall(_IN_QUOTES.sub('""', expr)))


def looks() -> Iterator[Look]:
    """Yield every look at an alert, scene by scene."""
    for path in TEST_FILES:
        for scene in yaml.safe_load(path.read_text())["tests"]:
            for look in scene.get("alert_rule_test", ()):
                yield Look(
                    scene["name"],
                    look["alertname"],
                    _seconds(look["eval_time"]),
                    look.get("exp_alerts", []),
                )


def _seconds(duration: str) -> int:
    amount, unit = int(duration[:-1]), duration[-1]
    return amount * {"s": 1, "m": 60, "h": 3600}[unit]
