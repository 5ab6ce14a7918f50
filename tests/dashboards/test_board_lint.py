"""The rules of Grafana's dashboard-linter, for all panels, and why one does not hold."""

import re
from collections.abc import Callable

import pytest
from grafana_foundation_sdk.models import units

from dashboards.shown import BOARDS, Json, Shown, graphs, queries

UNITS = {
    getattr(units, name)
    for name in dir(units)
    if name[0].isupper() and isinstance(getattr(units, name), str)
}
FREE_UNIT = re.compile(r"(si|suffix|prefix):.+")
SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}")
RATES = re.compile(r"\bi?rate\([^\[\]]*\[([^\]]+)\]")
COUNTER = re.compile(r"(\w*)\(joulestat_\w+_total\{")
WITHOUT_NUMBERS = {"text"}
GROWTH = {"rate", "irate", "increase"}

TOTALS = "a run's counters are born at 0 and kept through restarts: their value is the run's total"
THIRTY_MINUTES = "a forecast of hours needs more than the window that suits the zoom"
ONE_NODE = "a node's GPUs are told apart by number, so one node is shown at a time"
NO_TARGETS = "budgets are recorded over all targets: their series have neither job nor instance"

EXCLUDED: dict[tuple[str, str, str], str] = {
    ("template-instance", "joulestat-gpu", ""): ONE_NODE,
    ("template-job", "joulestat-budgets", ""): NO_TARGETS,
    ("template-instance", "joulestat-budgets", ""): NO_TARGETS,
    ("panel-targets", "joulestat-optimizer", "Why this limit?"): "words, no numbers",
    ("target-rate-interval", "joulestat-run", "Energy at the end"): THIRTY_MINUTES,
    ("target-rate-interval", "joulestat-run", "Time left"): THIRTY_MINUTES,
    **{
        ("target-counter", "joulestat-run", panel): TOTALS
        for panel in (
            "Energy", "Progress", "Budget spent", "Energy at the end", "Time left", "Cost", "CO₂e",
            "Energy by phase", "Energy by power limit", "Energy per step by power limit",
        )
    },
    **{
        ("target-counter", "joulestat-optimizer", panel): TOTALS
        for panel in (
            "Energy change", "Time change", "Energy saved so far", "Energy per step",
            "Time per step", "Energy and time per step by power limit",
            "Energy against time per step", "Operating points",
        )
    },
    **{
        ("target-job-instance", "joulestat-budgets", panel): NO_TARGETS
        for panel in (
            "Energy price", "Carbon intensity", "Cost per hour by team", "CO₂e per hour by team",
        )
    },
}  # fmt: skip
"""(rule, board, panel) and why the rule does not hold there."""

Found = set[tuple[str, str, str]]


def of_boards(rule: str, breaks: Callable[[Json], bool]) -> Found:
    return {(rule, uid, "") for uid, board in BOARDS.items() if breaks(board)}


def of_panels(rule: str, breaks: Callable[[Json], bool]) -> Found:
    return {
        (rule, uid, panel["title"])
        for uid, board in BOARDS.items()
        for panel in graphs(board)
        if breaks(panel)
    }


def of_queries(rule: str, breaks: Callable[[Shown], bool]) -> Found:
    return {(rule, shown.board, shown.panel) for shown in queries() if breaks(shown)}


def lacks_datasource(board: Json) -> bool:
    first = board["templating"]["list"][0]
    return (first["type"], first["name"], first["label"]) != (
        "datasource",
        "datasource",
        "Data source",
    )


def lacks_variable(name: str, label: str) -> Callable[[Json], bool]:
    wanted = {"type": "query", "multi": True, "allValue": ".+", "label": label}

    def lacks(board: Json) -> bool:
        return not any(
            variable["name"] == name and wanted.items() <= variable.items()
            for variable in board["templating"]["list"]
        )

    return lacks


def reloads_too_rarely(board: Json) -> bool:
    chosen = board["templating"]["list"][1:]
    return any(variable["refresh"] != 2 for variable in chosen)


def is_editable(board: Json) -> bool:
    return bool(board["editable"])


def names_another_source(panel: Json) -> bool:
    wanted = {"type": "prometheus", "uid": "${datasource}"}
    sources = [panel["datasource"], *(query["datasource"] for query in panel.get("targets", ()))]
    return any(source != wanted for source in sources)


def lacks_words(panel: Json) -> bool:
    return not (panel["title"] and panel["description"].endswith("."))


def lacks_unit(panel: Json) -> bool:
    config = panel["fieldConfig"]
    if panel["type"] in WITHOUT_NUMBERS or config["defaults"].get("mappings"):
        return False
    shown = [config["defaults"]["unit"]]
    shown += [
        one["value"]
        for override in config["overrides"]
        for one in override["properties"]
        if one["id"] == "unit"
    ]
    return any(unit not in UNITS and not FREE_UNIT.fullmatch(unit) for unit in shown)


def lacks_queries(panel: Json) -> bool:
    return not panel.get("targets")


def lacks_legend(panel: Json) -> bool:
    return panel["type"] in {"timeseries", "trend"} and not panel["options"]["legend"]["showLegend"]


def rates_over_a_fixed_window(shown: Shown) -> bool:
    return any(window != "$__rate_interval" for window in RATES.findall(shown.expr))


def selects_other_targets(shown: Shown) -> bool:
    """Tell whether a series of the exporter is asked of others than the chosen nodes."""
    asked = SELECTOR.findall(shown.expr)
    bare = re.findall(r"(?<![:\w])joulestat_\w+(?![\w{:])", shown.expr)
    own = [labels for name, labels in asked if name.startswith("joulestat_") or name == "up"]
    return bool(bare) or any(
        'job=~"$job"' not in labels or not re.search(r'instance=~?"\$instance"', labels)
        for labels in own
    )


def reads_a_counter_as_it_stands(shown: Shown) -> bool:
    functions = COUNTER.findall(shown.expr)
    return any(function not in GROWTH for function in functions)


FOUND: dict[str, Callable[[], Found]] = {
    "template-datasource": lambda: of_boards("template-datasource", lacks_datasource),
    "template-job": lambda: of_boards("template-job", lacks_variable("job", "Job")),
    "template-instance": lambda: of_boards(
        "template-instance", lacks_variable("instance", "Instance")
    ),
    "template-reload": lambda: of_boards("template-reload", reloads_too_rarely),
    "uneditable": lambda: of_boards("uneditable", is_editable),
    "panel-datasource": lambda: of_panels("panel-datasource", names_another_source),
    "panel-words": lambda: of_panels("panel-words", lacks_words),
    "panel-unit": lambda: of_panels("panel-unit", lacks_unit),
    "panel-targets": lambda: of_panels("panel-targets", lacks_queries),
    "panel-legend": lambda: of_panels("panel-legend", lacks_legend),
    "target-rate-interval": lambda: of_queries("target-rate-interval", rates_over_a_fixed_window),
    "target-job-instance": lambda: of_queries("target-job-instance", selects_other_targets),
    "target-counter": lambda: of_queries("target-counter", reads_a_counter_as_it_stands),
}
"""Each rule and where it does not hold. That PromQL parses is shown by a real Prometheus."""


@pytest.mark.parametrize("rule", FOUND)
def test_a_rule_holds_but_where_a_reason_says_otherwise(rule: str) -> None:
    excluded = {place for place in EXCLUDED if place[0] == rule}

    assert excluded == FOUND[rule]()


def test_every_reason_is_for_a_rule_that_there_is() -> None:
    assert {place[0] for place in EXCLUDED} <= FOUND.keys()
