"""The board of one training run: what it took, per step and by phase, and how far it is."""

from boards.addresses import INSTANCES, JOB, LIMIT_CHANGES_OF_RUN, RUN, RUNS, TO_GPU, TO_OPTIMIZER
from boards.board import Board, Row
from boards.kinds import bars, gauge, stat, timeseries
from boards.panels import ORANGE, RED, YELLOW, Query, matched, now, steps
from boards.promql import (
    JOULES,
    LIMIT,
    MOST,
    OF_TRAINING,
    TARGET,
    at_end,
    cost,
    emissions,
    first,
    in_watts,
    latest,
    of_run_gpus,
    per_step,
    rate,
    watt_hours,
)
from boards.promql import RUN as OF_RUN

ENERGY = "run_energy_joules_total"
STEPS = "run_steps_total"

# A GPU's joules of a run, whatever address its exporter had: told apart by UUID, not by instance.
_JOULES = f"sum(max by (gpu_uuid) ({latest('run_gpu_energy_joules_total', OF_RUN)}))"
_BY_NODE = f"sum by (instance) ({latest(ENERGY, OF_RUN)})"
_POWER = f"sum({rate(ENERGY, OF_RUN)})"
_PACE = f"max(sum by (instance) ({rate(STEPS, OF_TRAINING)}))"
_MADE = f"max(sum by (instance) ({latest(STEPS, OF_TRAINING)}))"
_PLANNED = f"max({latest('run_planned_steps', OF_RUN)})"
_BUDGET = f"max({latest('run_energy_budget_joules', OF_RUN)})"
_LEFT = f"clamp_min({_PLANNED} - {_MADE}, 0)"
_LIMITS = of_run_gpus("gpu_power_limit_enforced_watts")
_GPU = "instance, gpu"
_GPU_ENERGY = "run_gpu_energy_joules_total"
_FIRST_GPUS = first(
    _GPU, f"sum by ({_GPU}) ({at_end('increase', f'joulestat_{_GPU_ENERGY}', OF_RUN)})"
)
_LAST_PUSH = "joulestat_run_last_push_timestamp_seconds"
_OLDEST_RANKS = first(
    "rank", f"max by (rank) ({at_end('last_over_time', _LAST_PUSH, OF_RUN)})", lowest=True
)
_RECENT_JOULES = per_step(ENERGY).replace("$__rate_interval", "30m")
_RECENT_PACE = _PACE.replace("$__rate_interval", "30m")

SO_FAR = Row(
    "So far",
    [
        stat(
            "Energy",
            "All that the run was credited with since it began, on all of its GPUs.",
            now(watt_hours(_JOULES)),
            unit="watth",
        ),
        stat(
            "Energy per step",
            "Joules per training step: each node's energy over the steps that it counted, summed "
            "over the nodes. Evaluation and checkpoints are left out.",
            Query(per_step(ENERGY)),
            unit="si:J/step",
        ),
        stat(
            "Power",
            "Growth of the run's credited energy per second.",
            Query(_POWER),
            unit="watt",
        ),
        stat(
            "Steps per second",
            "Training steps as the fastest node counts them; nodes count the same steps.",
            Query(_PACE),
            unit="suffix:steps/s",
        ),
        gauge(
            "Progress",
            "Training steps made, over those that the run says it plans.",
            now(f"{_MADE} / ({_PLANNED} > 0)"),
            thresholds=steps(first="blue"),
            no_value="no plan",
        ),
        gauge(
            "Budget spent",
            "Energy so far over the budget that the run says it has.",
            now(f"{_JOULES} / ({_BUDGET} > 0)"),
            thresholds=steps((0.9, YELLOW), (1, RED)),
            no_value="no budget",
        ),
        stat(
            "Energy at the end",
            "Energy so far, and the planned steps that are left at the joules per step of the last "
            "30 minutes.",
            now(watt_hours(f"({_JOULES} + {_LEFT} * {_RECENT_JOULES})")),
            unit="watth",
            no_value="no plan",
        ),
        stat(
            "Time left",
            "Planned steps that are left, at the pace of the last 30 minutes.",
            now(f"{_LEFT} / ({_RECENT_PACE} > 0)"),
            unit="s",
            decimals=1,
            no_value="no plan or no steps",
        ),
        stat(
            "Cost",
            "Energy so far x PUE x electricity price, each node at its own as its exporter is "
            "configured, by currency.",
            now(cost(_BY_NODE), "{{currency}}"),
            unit="none",
            decimals=2,
            no_value="no price",
        ),
        stat(
            "CO₂e",
            "Energy so far x PUE x carbon intensity, each node at the mean of its own over the "
            "time range.",
            now(emissions(_BY_NODE)),
            unit="massg",
            no_value="no intensity",
        ),
        stat(
            "Power limit",
            "Lowest and highest limit in force on the run's GPUs. Leads to the optimizer.",
            now(f"min({_LIMITS})", "lowest"),
            now(f"max({_LIMITS})", "highest"),
            unit="watt",
            no_value="holds no GPU",
        ).linked(TO_OPTIMIZER),
        stat(
            "Last push",
            "Seconds since a rank of the run last told of its steps.",
            now(f"time() - max({latest('run_last_push_timestamp_seconds', OF_RUN)})"),
            unit="s",
            thresholds=steps((60, YELLOW), (600, ORANGE)),
        ),
    ],
)

OVER_TIME = Row(
    "Over time",
    [
        timeseries(
            "Energy per step and power limit",
            "Joules per training step, nodes summed, and the lowest and highest limit in force on "
            "the run's GPUs (right axis). Orange marks are changes of the limit.",
            Query(per_step(ENERGY), "energy per step"),
            Query(f"min({_LIMITS})", "lowest limit"),
            Query(f"max({_LIMITS})", "highest limit"),
            unit="si:J/step",
            calcs=("mean", "lastNotNull"),
        ).with_overrides(
            *(
                matched(
                    name,
                    unit="watt",
                    decimals=0,
                    color={"fixedColor": color, "mode": "fixed"},
                    custom__axisPlacement="right",
                    custom__lineInterpolation="stepAfter",
                    custom__lineStyle={"dash": [8, 6], "fill": "dash"},
                )
                for name, color in (("lowest limit", ORANGE), ("highest limit", YELLOW))
            )
        ),
        timeseries(
            "Power by phase",
            "Growth of the run's credited energy per second, by what the run was doing.",
            Query(f"sum by (phase) ({rate(ENERGY, OF_RUN)})", "{{phase}}"),
            unit="watt",
            stacked=True,
        ),
        timeseries(
            "Steps by phase",
            "Steps per second as the fastest node counts them, by phase.",
            Query(
                f"max by (phase) (sum by (instance, phase) ({rate(STEPS, OF_RUN)}))", "{{phase}}"
            ),
            unit="suffix:steps/s",
        ),
        timeseries(
            "Power by GPU",
            "Growth of the energy that each GPU was credited to the run with, per second. "
            f"Of more than {MOST} those that used most. A line leads to its GPU.",
            Query(
                f"sum by ({_GPU}) ({rate(_GPU_ENERGY, OF_RUN)}) and {_FIRST_GPUS}",
                "{{instance}} GPU {{gpu}}",
            ),
            unit="watt",
        ).linked(TO_GPU),
    ],
)

WHERE = Row(
    "Where the energy went, since the run began",
    [
        bars(
            "Energy by phase",
            "All credited energy since the run began, by what the run was doing.",
            now(
                f"sort_desc(sum by (phase) ({latest(ENERGY, OF_RUN)}) / 3600)",
                "{{phase}}",
            ),
            unit="watth",
        ),
        bars(
            "Energy by power limit",
            "All credited energy since the run began, by the limit in force. Transition: the limit "
            "changed meanwhile; mixed: the run's GPUs stood at different limits.",
            now(
                f"sort_desc({in_watts(f'sum by ({LIMIT}) ({latest(ENERGY, OF_RUN)})')} / 3600)",
                "{{power_limit_watts}}",
            ),
            unit="watth",
        ),
        bars(
            "Energy per step by power limit",
            "Joules per training step since the run began, nodes summed, by the limit in force; "
            "the cheapest first.",
            now(f"sort({JOULES})", "{{power_limit_watts}} W"),
            unit="si:J/step",
            no_value="no steps",
        ).linked(TO_OPTIMIZER),
    ],
)

HEALTH = Row(
    "Health",
    [
        timeseries(
            "Age of the last push",
            "Seconds since each rank last told of its steps, while it holds a GPU. Of more than "
            f"{MOST} ranks those whose last push is the oldest.",
            Query(
                f"time() - max by (rank) ({_LAST_PUSH}{{{OF_RUN}}}"
                f" and on (instance, run, rank) joulestat_run_gpu{{{OF_RUN}}}) and {_OLDEST_RANKS}",
                "rank {{rank}}",
            ),
            unit="s",
            height=7,
        ),
        timeseries(
            "Pushes of the nodes",
            "Pushes, of all runs, that the run's nodes took, refused or had seen before.",
            Query(
                f"sum by (result) ({rate('run_pushes_total', TARGET)}"
                f" and on (instance) joulestat_run_gpu{{{OF_RUN}}})",
                "{{result}}",
            ),
            unit="reqps",
            height=7,
        ),
    ],
    collapsed=True,
)

BOARD = Board(
    RUN,
    "GPU energy / Training run",
    "What one training run took: per step, by phase, by power limit, against its budget.",
    "now-12h",
    [JOB, INSTANCES, RUNS],
    [SO_FAR, OVER_TIME, WHERE, HEALTH],
    [LIMIT_CHANGES_OF_RUN],
)
