"""The board of all nodes: what the fleet draws, where it goes, what it costs."""

from boards.addresses import (
    FLEET,
    INSTANCES,
    JOB,
    LIMIT_CHANGES,
    TO_NODE,
    TO_RUN,
    TO_RUN_OF_CELL,
)
from boards.board import Board, Row
from boards.health import HEALTH
from boards.kinds import bars, stat, timeseries
from boards.panels import RED, Query, matched, now, steps
from boards.promql import (
    MOST,
    TARGET,
    at_end,
    cost,
    emissions,
    first,
    increase,
    latest,
    rate,
    watt_hours,
)
from boards.tables import table

ENERGY = "gpu_energy_joules_total"
_RATE = rate(ENERGY, TARGET)
_BY_NODE = f"sum by (instance) ({increase(ENERGY, TARGET)})"
_ENFORCED = f"joulestat_gpu_power_limit_enforced_watts{{{TARGET}}}"
_DEFAULT = f"joulestat_gpu_power_limit_default_watts{{{TARGET}}}"
_TRAINING = f'{TARGET}, phase="train"'
_RUN_ENERGY = "run_energy_joules_total"
_POWER_BY_NODE = f"sum by (instance) ({_RATE})"
_FIRST_NODES = first(
    "instance", f"sum by (instance) ({at_end('increase', f'joulestat_{ENERGY}', TARGET)})"
)
_RUN_HOURS = f"sum by (run) ({increase(_RUN_ENERGY, TARGET, '1h')})"
_FIRST_RUNS = first(
    "run", f"sum by (run) ({at_end('increase', f'joulestat_{_RUN_ENERGY}', TARGET)})"
)
FIRING = 'ALERTS{alertstate="firing", alertname=~"Joulestat.+"}'

NOW = Row(
    "Now",
    [
        stat(
            "Power",
            "What all chosen GPUs draw: growth of their energy counters, per second.",
            Query(f"sum({_RATE})"),
            unit="watt",
        ),
        stat(
            "Share of the power limits",
            "Power over the sum of the limits in force. Near 100 % the limits act.",
            Query(f"sum({_RATE}) / sum({_ENFORCED})"),
            unit="percentunit",
        ),
        stat(
            "Energy",
            "Growth of all energy counters over the time range.",
            now(watt_hours(f"sum({increase(ENERGY, TARGET)})")),
            unit="watth",
        ),
        stat(
            "Cost",
            "Energy of the time range x PUE x electricity price, each node at its own as its "
            "exporter is configured, by currency.",
            now(cost(_BY_NODE), "{{currency}}"),
            unit="none",
            decimals=2,
            width=3,
            no_value="no price",
        ),
        stat(
            "CO₂e",
            "Energy of the time range x PUE x carbon intensity, each node at the mean of its own.",
            now(emissions(_BY_NODE)),
            unit="massg",
            width=3,
            no_value="no intensity",
        ),
        stat(
            "Limited GPUs",
            "GPUs whose limit in force is lower than the one they came with, and all GPUs.",
            now(f"sum({_ENFORCED} < bool {_DEFAULT})", "limited"),
            now(f"count({_ENFORCED})", "all"),
            unit="none",
            width=3,
        ),
        stat(
            "Alerts firing",
            "Alerts of alerts/*.rules.yaml that fire now.",
            now(f"count({FIRING}) or vector(0)"),
            unit="none",
            width=3,
            thresholds=steps((1, RED)),
        ),
    ],
)

POWER = Row(
    "Power",
    [
        timeseries(
            "Power by node",
            "Growth of the energy counters per second, and the sum of all limits in force. The "
            f"{MOST} nodes that used most in the time range are shown by name, the rest as others.",
            Query(f"{_POWER_BY_NODE} and {_FIRST_NODES}", "{{instance}}"),
            Query(f"sum({_POWER_BY_NODE} unless {_FIRST_NODES})", "others"),
            Query(f"sum({_ENFORCED})", "limits"),
            unit="watt",
            width=16,
            stacked=True,
        ).with_overrides(
            matched(
                "limits",
                custom__stacking={"group": "B", "mode": "none"},
                custom__fillOpacity=0,
                custom__lineStyle={"dash": [8, 6], "fill": "dash"},
                custom__lineInterpolation="stepAfter",
                color={"fixedColor": "orange", "mode": "fixed"},
            )
        ),
        timeseries(
            "Power by GPU model",
            "Growth of the energy counters per second, by what the GPUs are.",
            Query(
                f"sum by (model) ({_RATE} * on (instance, gpu_uuid) group_left (model)"
                f" max by (instance, gpu_uuid, model) (joulestat_gpu_info{{{TARGET}}}))",
                "{{model}}",
            ),
            unit="watt",
            width=8,
            stacked=True,
        ),
    ],
)

WHERE = Row(
    "Where it went",
    [
        timeseries(
            "Energy per hour",
            "Each bar is the hour before it: energy credited to runs, and what belongs to none "
            "because nobody held the GPU (idle) or its holder fell silent (stale). The "
            f"{MOST} runs that used most in the time range are shown by name.",
            Query(watt_hours(f"({_RUN_HOURS} and {_FIRST_RUNS})"), "{{run}}", step="1h"),
            Query(watt_hours(f"sum({_RUN_HOURS} unless {_FIRST_RUNS})"), "other runs", step="1h"),
            Query(
                watt_hours(
                    "sum by (reason) ("
                    + increase("gpu_unattributed_energy_joules_total", TARGET, "1h")
                    + ")"
                ),
                "no run: {{reason}}",
                step="1h",
            ),
            unit="watth",
            width=12,
            stacked=True,
            bars=True,
        ),
        bars(
            "Energy by run",
            f"Energy credited to a run in the time range, of the {MOST} with most. A bar leads to "
            "its run.",
            now(
                f"sort_desc(topk({MOST},"
                f" sum by (run) ({increase(_RUN_ENERGY, TARGET)}) / 3600 > 0))",
                "{{run}}",
            ),
            unit="watth",
            width=6,
            height=9,
            no_value="no run",
        ).linked(TO_RUN),
        bars(
            "Energy by team",
            f"Energy credited to the runs of a team in the time range, of the {MOST} with most.",
            now(
                f"sort_desc(topk({MOST}, sum by (team) ("
                f"sum by (instance, run) ({increase(_RUN_ENERGY, TARGET)})"
                " * on (instance, run) group_left (team)"
                f" max by (instance, run, team) ({latest('run_info', TARGET)})) / 3600 > 0))",
                "{{team}}",
            ),
            unit="watth",
            width=6,
            height=9,
            no_value="no run",
        ),
    ],
)

NODES = Row(
    "Nodes and runs",
    [
        table(
            "Nodes",
            "Each node's GPUs together; heat and held back are of the GPU that has most. "
            "A name leads to the node's GPUs.",
            [("instance", "Node")],
            [
                now(f"count by (instance) ({_ENFORCED})", "GPUs"),
                now(f"sum by (instance) ({_RATE})", "Power", "watt"),
                now(
                    f"sum by (instance) ({_RATE}) / sum by (instance) ({_ENFORCED})",
                    "Of limits",
                    "percentunit",
                ),
                now(
                    f"avg by (instance) (joulestat_gpu_utilization_ratio{{{TARGET}}})",
                    "Utilization",
                    "percentunit",
                ),
                now(
                    f"max by (instance) (joulestat_gpu_temperature_celsius{{{TARGET}}})",
                    "Hottest",
                    "celsius",
                ),
                now(
                    "max by (instance) (max by (instance, gpu) (avg_over_time("
                    f'joulestat_gpu_throttled{{{TARGET}, reason=~".*thermal"}}[$__range])))',
                    "Held back by heat",
                    "percentunit",
                ),
                now(watt_hours(_BY_NODE), "Energy", "watth"),
            ],
            height=6,
            sort_by="Energy",
            overrides=[
                matched("Node", links=[TO_NODE]),
                matched(
                    "Of limits",
                    custom__cellOptions={"mode": "basic", "type": "gauge"},
                    color={"fixedColor": "blue", "mode": "fixed"},
                    max=1,
                    min=0,
                ),
            ],
        ),
        table(
            "Runs alive",
            "Runs that hold GPUs now. Power is the growth of their credited energy; joules per "
            "step are of training alone, nodes summed. A name leads to the run.",
            [("run", "Run")],
            [
                now(
                    "count by (run) (count by (run, instance, gpu_uuid)"
                    f" (joulestat_run_gpu{{{TARGET}}}))",
                    "GPUs",
                ),
                now(
                    f"sum by (run) ({rate(_RUN_ENERGY, TARGET)})"
                    f" and on (run) joulestat_run_gpu{{{TARGET}}}",
                    "Power",
                    "watt",
                ),
                now(
                    f"time() - min by (run) (joulestat_run_start_timestamp_seconds{{{TARGET}}}"
                    f" and on (instance, run) joulestat_run_gpu{{{TARGET}}})",
                    "Age",
                    "s",
                ),
                now(
                    f"sum by (run) (sum by (instance, run) ({rate(_RUN_ENERGY, _TRAINING)})"
                    f" / (sum by (instance, run) ({rate('run_steps_total', _TRAINING)}) > 0))",
                    "Energy per step",
                    "si:J/step",
                ),
            ],
            height=6,
            sort_by="Power",
            overrides=[matched("Run", links=[TO_RUN_OF_CELL])],
            no_value="no run holds a GPU",
        ),
    ],
)

BOARD = Board(
    FLEET,
    "GPU energy / Fleet",
    "What all GPUs draw and cost, which run and team it went to, and which nodes are well.",
    "now-6h",
    [JOB, INSTANCES],
    [NOW, POWER, WHERE, NODES, HEALTH],
    [LIMIT_CHANGES],
)
