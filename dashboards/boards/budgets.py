"""The board of energy budgets: what is spent, whether it will last, and what it costs."""

from boards.addresses import BUDGETS, TO_RUN
from boards.board import Board, Row, Variable
from boards.fleet import FIRING
from boards.kinds import stat, timeseries
from boards.panels import BLUE, ORANGE, RED, YELLOW, Json, Panel, Query, matched, now, steps
from boards.promql import CARBON, JOULES_PER_KILOWATT_HOUR, PRICE, watt_hours
from boards.tables import table

CHOSEN = '{scope=~"$scope", budget=~"$budget"}'
LIMIT = f"budget:joulestat_energy_limit:joules{CHOSEN}"
CONSUMED = f"budget:joulestat_energy_consumed:joules{CHOSEN}"
SPENT = f"budget:joulestat_energy_consumed:ratio{CHOSEN}"
PROGRESS = f"budget:joulestat_energy_progress:ratio{CHOSEN}"


def _trend(name: str) -> str:
    """Return a run's value at the last hour's pace, a team's at the last day's."""
    by_scope = (
        f'budget:joulestat_energy_{name}:ratio{window}{{scope="{scope}", {CHOSEN[1:]}'
        for scope, window in (("run", "1h"), ("team", "1d"))
    )
    return f"({' or '.join(by_scope)})"


BURN = _trend("burn")
PROJECTED = _trend("projected")

_KEYS = ("budget", "scope", "team")
_LIMITS = "budget:joulestat_energy_limit:joules"
SCOPE = Variable("scope", "Scope", f"label_values({_LIMITS}, scope)", multi=True)
BUDGET = Variable(
    "budget", "Budget", f'label_values({_LIMITS}{{scope=~"$scope"}}, budget)', multi=True
)


def _column(expr: str, name: str, unit: str) -> Query:
    return now(f"max by ({', '.join(_KEYS)}) ({expr})", name, unit)


def _shares(title: str, description: str, expr: str, unit: str, *marks: float) -> Panel:
    """Return shares of all budgets over time, with lines where it becomes serious."""
    lines: Json = steps(*zip(marks, (YELLOW, RED), strict=False))
    panel = timeseries(
        title,
        description,
        # Without the rules' names, by which series would be sorted, and coloured, differently in
        # each panel.
        Query(f"max by (budget, run) ({expr})", "{{budget}}"),
        unit=unit,
        width=8,
        axisSoftMax=max(marks) * 1.05,
        axisSoftMin=0,
        thresholdsStyle={"mode": "dashed"},
        no_value="no budget",
    ).linked(TO_RUN)
    panel.defaults["thresholds"] = lines
    return panel


BUDGETS_ROW = Row(
    "Budgets",
    [
        stat(
            "Budgets",
            "Budgets of teams, from the exporters' configuration, and of runs, as they say.",
            now(f"count({LIMIT})"),
            unit="none",
            width=3,
            no_value="none",
        ),
        stat(
            "Exhausted",
            "Budgets that are spent to the last joule or beyond.",
            now(f"count({SPENT} >= 1) or vector(0)"),
            unit="none",
            width=3,
            thresholds=steps((1, RED)),
        ),
        stat(
            "Heading over",
            "Budgets that end above 105 % at the pace of a run's last hour, a team's last day.",
            now(f"count({PROJECTED} > 1.05) or vector(0)"),
            unit="none",
            width=3,
            thresholds=steps((1, ORANGE)),
        ),
        stat(
            "Spent",
            "Energy so far, by scope. Runs are part of their teams: never add the two up.",
            now(watt_hours(f"sum by (scope) ({CONSUMED})"), "{{scope}}s"),
            unit="watth",
            no_value="no budget",
            width=7,
            several=True,
        ),
        stat(
            "Energy price",
            "Price of a kilowatt-hour as the exporters are configured, by currency.",
            now(f"max by (currency) ({PRICE})", "{{currency}}"),
            unit="none",
            decimals=3,
            no_value="no price",
        ),
        stat(
            "Carbon intensity",
            "Of electricity, CO2-equivalent, as the exporters are configured, by zone.",
            Query(f"max by (zone) ({CARBON})", "{{zone}}"),
            unit="suffix:g/kWh",
            no_value="no intensity",
        ),
        table(
            "All budgets",
            "Done is a run's steps over its plan, or the part of a team's period that is over. "
            "Burn rate is spending over what the plan allows, 1 when on plan. Both it and the end "
            "are at the pace of a run's last hour, a team's last day.",
            [("budget", "Budget"), ("scope", "Scope"), ("team", "Team")],
            [
                _column(watt_hours(LIMIT), "Allowance", "watth"),
                _column(watt_hours(CONSUMED), "Spent", "watth"),
                _column(SPENT, "Spent share", "percentunit"),
                _column(PROGRESS, "Done", "percentunit"),
                _column(BURN, "Burn rate", "suffix:x"),
                _column(PROJECTED, "Ends at", "percentunit"),
            ],
            sort_by="Ends at",
            overrides=[
                matched("Burn rate", decimals=2),
                *(
                    matched(
                        name,
                        color={"mode": "thresholds"},
                        thresholds=steps((0.9, YELLOW), (1, RED), first=BLUE),
                        custom__cellOptions={"mode": "basic", "type": "gauge"},
                        max=1,
                        min=0,
                    )
                    for name in ("Spent share", "Ends at")
                ),
            ],
            no_value="no budget",
        ),
    ],
)

OVER_TIME = Row(
    "Over time",
    [
        _shares(
            "Spent share",
            "Energy so far over the allowance. Lines at 90 and 100 %.",
            SPENT,
            "percentunit",
            0.9,
            1.0,
        ),
        _shares(
            "Burn rate",
            "Spending over what the plan allows, in a run's last hour, a team's last day. At 1 the "
            "budget lasts exactly.",
            BURN,
            "suffix:x",
            1.05,
            1.25,
        ),
        _shares(
            "Ends at",
            "Share of the budget at its end, at the pace of a run's last hour, a team's last day.",
            PROJECTED,
            "percentunit",
            1.05,
            1.25,
        ),
    ],
)


def _per_hour(constant: str, label: str) -> str:
    """Return a constant of each node x its PUE x what its budgets' teams used in an hour."""
    pue = f"(max by (instance) (joulestat_pue_ratio) or max by (instance) ({constant} ^ 0))"
    used = "sum by (instance, team) (increase(joulestat_budget_consumed_joules_total[1h]))"
    of_node = f"max by (instance, {label}) ({constant})"
    return (
        f"sum by (team, {label}) ({used} * on (instance) group_left ({label}) {of_node}"
        f" * on (instance) group_left () {pue}) / {JOULES_PER_KILOWATT_HOUR}"
    )


COST = Row(
    "Cost and carbon",
    [
        timeseries(
            "Cost per hour by team",
            "Each bar is the hour before it: energy counted against the teams' budgets x PUE x "
            "price, each node at its own, by currency.",
            Query(_per_hour(PRICE, "currency"), "{{team}} {{currency}}", step="1h"),
            unit="none",
            height=8,
            decimals=2,
            bars=True,
            stacked=True,
            no_value="no price or no team's budget",
        ),
        timeseries(
            "CO₂e per hour by team",
            "Each bar is the hour before it: energy counted against the teams' budgets x PUE x "
            "carbon intensity, each node at its own.",
            Query(_per_hour(CARBON, "zone"), "{{team}} {{zone}}", step="1h"),
            unit="massg",
            height=8,
            bars=True,
            stacked=True,
            no_value="no intensity or no team's budget",
        ),
    ],
)

ALERTS = Row(
    "Alerts",
    [
        table(
            "Firing alerts",
            "Alerts of alerts/*.rules.yaml that fire now. The runbook says what to do.",
            [
                ("alertname", "Alert"),
                ("severity", "Severity"),
                ("instance", "Node"),
                ("budget", "Budget"),
                ("run", "Run"),
            ],
            [now(f"max by (alertname, severity, instance, budget, run) ({FIRING})")],
            height=6,
            sort_by="Severity",
            descending=False,
            no_value="none",
        ),
    ],
)

BOARD = Board(
    BUDGETS,
    "GPU energy / Budgets",
    "Which energy budgets are spent, whether they will last, and what they cost.",
    "now-12h",
    [SCOPE, BUDGET],
    [BUDGETS_ROW, OVER_TIME, COST, ALERTS],
)
