"""The board of the power-limit optimizer: what was measured, what is held, and what it saves."""

from boards.addresses import INSTANCES, JOB, LIMIT_CHANGES_OF_RUN, OPTIMIZER, RUNS, TO_NODE
from boards.board import Board, Row
from boards.kinds import stat, table, text, timeseries, trend
from boards.panels import GREEN, ORANGE, RED, YELLOW, Query, mapping, matched, now, steps
from boards.promql import (
    JOULES,
    LIMIT,
    OF_TRAINING,
    RATE,
    SECONDS,
    TARGET,
    against_reference,
    at_held,
    at_reference,
    by_limit,
    held_against_reference,
    in_watts,
    increase,
    of_run_gpus,
    per_step,
    rate,
    saved_joules,
    watt_hours,
)

_REFERENCE = (
    " The reference is the limit from before the leases of the time range; where there was no "
    "lease, or the run was never measured there, the highest in force."
)
_SINCE = " Counted since the run began."
_ENFORCED = of_run_gpus("gpu_power_limit_enforced_watts")
_TARGETS = of_run_gpus("gpu_power_limit_target_watts")
_EXPIRY = of_run_gpus("gpu_power_limit_lease_expiry_timestamp_seconds")


def _limit_of(kind: str) -> str:
    return f"max by (instance, gpu) ({of_run_gpus(f'gpu_power_limit_{kind}_watts')})"


CHANGES = "gpu_power_limit_changes_total"
_REAL = f'{TARGET}, result!="unchanged"'
_KEY = [(LIMIT, "Power limit")]
_STEPS_BY_LIMIT = (
    f"max by ({LIMIT}) (sum by (instance, {LIMIT}) ({rate('run_steps_total', OF_TRAINING)}))"
)

NOW = Row(
    "Now",
    [
        stat(
            "Limit held",
            "Lowest and highest limit that a lease holds on the run's GPUs.",
            now(f"min({_TARGETS})", "lowest"),
            now(f"max({_TARGETS})", "highest"),
            unit="watt",
            no_value="no lease",
        ),
        stat(
            "Energy against reference",
            "Joules per training step at the limit in force, less those at the reference, over "
            "those at the reference; below 0 it saves." + _REFERENCE + _SINCE,
            now(held_against_reference(JOULES)),
            unit="percentunit",
            decimals=1,
            thresholds=steps((0.001, ORANGE)),
            no_value="not measured yet",
        ),
        stat(
            "Time against reference",
            "Seconds per training step at the limit in force, against those at the reference; "
            "above 0 the run is slower." + _REFERENCE + _SINCE,
            now(held_against_reference(SECONDS)),
            unit="percentunit",
            decimals=1,
            thresholds=steps((0.05, YELLOW), (0.1, RED)),
            no_value="not measured yet",
        ),
        stat(
            "Energy saved so far",
            "What all training steps so far would have taken more at the reference, probes "
            "included." + _REFERENCE + _SINCE,
            now(watt_hours(saved_joules())),
            unit="watth",
            no_value="not measured yet",
        ),
        stat(
            "Lease left",
            "Time until the first lease on the run's GPUs ends, unless it is renewed. Then the "
            "limit from before comes back.",
            now(f"min({_EXPIRY}) - time()"),
            unit="s",
            decimals=1,
            thresholds=steps((0, ORANGE), (60, GREEN), first=RED),
            no_value="no lease",
        ),
        stat(
            "Drift",
            "GPUs whose limit in force is not what their lease holds: somebody else changed it, or "
            "the driver did.",
            now(
                f"count(abs(({_ENFORCED}) - on (instance, gpu_uuid) ({_TARGETS})) > 1)"
                " or vector(0)",
            ),
            unit="none",
            thresholds=steps((1, RED)),
        ),
    ],
)

DECISIONS = Row(
    "What was probed and what is held",
    [
        timeseries(
            "Power limits",
            "Lowest and highest limit in force on the run's GPUs, and what leases hold. Where "
            "there is no lease line, nobody holds a limit.",
            Query(f"max({_ENFORCED})", "in force, highest"),
            Query(f"min({_ENFORCED})", "in force, lowest"),
            Query(f"max({_TARGETS})", "lease"),
            unit="watt",
            stepped=True,
            calcs=("lastNotNull",),
        ).with_overrides(
            matched(
                "lease", custom__lineStyle={"dash": [4, 6], "fill": "dash"}, custom__lineWidth=2
            )
        ),
        timeseries(
            "Steps by power limit",
            "Training steps per second, by the limit under which they were made. Short stretches "
            "are probes; transition: the limit changed meanwhile.",
            Query(in_watts(f"{_STEPS_BY_LIMIT} > 0"), "{{power_limit_watts}}"),
            unit="si:step/s",
            decimals=2,
            stacked=True,
            calcs=("mean",),
        ),
        timeseries(
            "Energy per step",
            "Joules per training step, nodes summed, and its value at the reference since the run "
            "began." + _REFERENCE,
            Query(per_step("run_energy_joules_total"), "now"),
            Query(f"sum({at_reference(JOULES)})", "reference"),
            unit="si:J/step",
            decimals=1,
        ).with_overrides(matched("reference", custom__lineStyle={"dash": [8, 6], "fill": "dash"})),
        timeseries(
            "Time per step",
            "Seconds per training step on the slowest node, and its value at the reference since "
            "the run began." + _REFERENCE,
            Query(per_step("run_step_seconds_total", "max"), "now"),
            Query(f"sum({at_reference(SECONDS)})", "reference"),
            unit="s",
        ).with_overrides(matched("reference", custom__lineStyle={"dash": [8, 6], "fill": "dash"})),
    ],
)

POINTS = Row(
    "Operating points, since the run began",
    [
        trend(
            "Energy per step by power limit",
            "Joules per training step, nodes summed, over the limit in watts. The curve falls, "
            "and rises again where steps take too long.",
            _KEY[0],
            [now(JOULES, "Energy per step", "si:J/step")],
            along="Power limit",
        ),
        trend(
            "Time per step by power limit",
            "Seconds per training step on the slowest node, over the limit in watts.",
            _KEY[0],
            [now(SECONDS, "Time per step", "s")],
            along="Power limit",
        ),
        trend(
            "Energy against time",
            "Joules per training step over seconds per step, one point for each limit. Points to "
            "the lower left are better; the tooltip says which limit it is.",
            _KEY[0],
            [
                now(JOULES, "Energy per step", "si:J/step"),
                now(SECONDS, "Time per step", "s"),
            ],
            along="Time per step",
            overrides=[
                matched(
                    "Power limit",
                    unit="watt",
                    custom__hideFrom={"legend": True, "tooltip": False, "viz": True},
                )
            ],
        ),
        table(
            "Operating points",
            "One row for each limit that the run was measured at; transitions and mixed limits are "
            "left out." + _REFERENCE,
            _KEY,
            [
                now(JOULES, "Energy per step", "si:J/step"),
                now(against_reference(JOULES), "Energy change", "percentunit"),
                now(SECONDS, "Time per step", "s"),
                now(against_reference(SECONDS), "Time change", "percentunit"),
                now(by_limit("run_steps_total", "max"), "Steps", "short"),
                now(
                    by_limit("run_step_seconds_total", "max"),
                    "Measured for",
                    "s",
                ),
                now(f"{at_reference(JOULES)} ^ 0", "Reference"),
                now(f"{at_held(JOULES)} ^ 0", "In force"),
            ],
            sort_by="Power limit",
            numeric_key="Power limit",
            overrides=[
                matched("Power limit", unit="watt"),
                matched("Energy per step", decimals=2),
                matched("Time per step", decimals=2),
                matched("Energy change", decimals=1),
                matched("Time change", decimals=1),
                matched("Reference", mappings=mapping({"1": ("reference", "blue")})),
                matched("In force", mappings=mapping({"1": ("in force", GREEN)})),
            ],
            no_value="no steps under one limit yet",
        ),
    ],
)

LEASES = Row(
    "Leases and reasons",
    [
        table(
            "GPUs of the run",
            "What each GPU of the run may be set to, what is in force, what a lease holds, and the "
            "limit from before the lease, which comes back at its end.",
            [("instance", "Node"), ("gpu", "GPU")],
            [
                now(_limit_of("enforced"), "In force", "watt"),
                now(_limit_of("target"), "Lease", "watt"),
                now(_limit_of("baseline"), "Before", "watt"),
                now(_limit_of("default"), "Came with", "watt"),
                now(_limit_of("min"), "Lowest", "watt"),
                now(_limit_of("max"), "Highest", "watt"),
                now(
                    f"max by (instance, gpu) ({_EXPIRY}) - time()",
                    "Lease left",
                    "s",
                ),
                now(
                    f"max by (instance, gpu) ({of_run_gpus('gpu_power_limit_writable')})",
                    "May be set",
                ),
            ],
            sort_by="Node",
            descending=False,
            overrides=[
                matched("Node", links=[TO_NODE]),
                matched("May be set", mappings=mapping({"1": ("yes", GREEN), "0": ("no", ORANGE)})),
            ],
            no_value="the run holds no GPU",
        ),
        timeseries(
            "Attempts to change a limit",
            "By what became of them, in the time of each bar, on all chosen nodes. Renewals that "
            "change nothing are left out.",
            Query(
                f"sum by (result) ({increase(CHANGES, _REAL, RATE)}) > 0",
                "{{result}}",
                step="15m",
            ),
            unit="none",
            height=8,
            bars=True,
            stacked=True,
            calcs=("sum",),
            no_value="none",
        ),
        text(
            "Why this limit?",
            "Every decision can be computed again, from the same history, at any time:\n\n"
            "```\njoulestat optimize --prometheus.url URL \\\n    --run '${run}' \\\n"
            "    --at ${__to:date:iso} --explain\n```\n\n"
            "It answers with the limit, the reason, and every query and number behind it. Who set "
            "what, and what came of it: `joulestat lease list`, and the exporter's audit log.",
            width=12,
            height=8,
        ),
    ],
)

BOARD = Board(
    OPTIMIZER,
    "GPU energy / Power-limit optimizer",
    "What a training step costs at each power limit, which were probed, which is held, and what "
    "that saves.",
    "now-12h",
    [JOB, INSTANCES, RUNS],
    [NOW, DECISIONS, POINTS, LEASES],
    [LIMIT_CHANGES_OF_RUN],
)
