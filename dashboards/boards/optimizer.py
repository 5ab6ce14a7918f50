"""The board of the power-limit optimizer: what was measured, what is held, and what it saves."""

from boards.addresses import INSTANCES, JOB, LIMIT_CHANGES_OF_RUN, OPTIMIZER, RUNS, TO_NODE
from boards.board import Board, Row
from boards.kinds import stat, text, timeseries
from boards.operating_points import POINTS, REFERENCE
from boards.panels import GREEN, ORANGE, RED, YELLOW, Query, mapping, matched, now, steps
from boards.promql import (
    JOULES,
    LIMIT,
    OF_TRAINING,
    RATE,
    SECONDS,
    TARGET,
    at_reference,
    held_against_reference,
    in_watts,
    increase,
    of_run_gpus,
    per_step,
    rate,
    saved_joules,
    watt_hours,
)
from boards.tables import table

_SINCE = " Counted since the run began."
_ENFORCED = of_run_gpus("gpu_power_limit_enforced_watts")
_TARGETS = of_run_gpus("gpu_power_limit_target_watts")
_EXPIRY = of_run_gpus("gpu_power_limit_lease_expiry_timestamp_seconds")


def _limit_of(kind: str) -> str:
    return f"max by (instance, gpu) ({of_run_gpus(f'gpu_power_limit_{kind}_watts')})"


CHANGES = "gpu_power_limit_changes_total"
_REAL = f'{TARGET}, result!="unchanged"'
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
            "Energy change",
            "Joules per training step at the limit in force, less those at the reference, over "
            "those at the reference; below 0 it saves." + REFERENCE + _SINCE,
            now(held_against_reference(JOULES)),
            unit="percentunit",
            decimals=1,
            thresholds=steps((0.001, ORANGE)),
            no_value="not measured yet",
        ),
        stat(
            "Time change",
            "Seconds per training step at the limit in force, against those at the reference; "
            "above 0 the run is slower." + REFERENCE + _SINCE,
            now(held_against_reference(SECONDS)),
            unit="percentunit",
            decimals=1,
            thresholds=steps((0.05, YELLOW), (0.1, RED)),
            no_value="not measured yet",
        ),
        stat(
            "Energy saved so far",
            "What all training steps so far would have taken more at the reference, probes "
            "included." + REFERENCE + _SINCE,
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
            "GPUs that drifted",
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
            unit="suffix:steps/s",
            stacked=True,
            # A limit's outline would go on along the others' where no steps were made under it.
            lineWidth=0,
            fillOpacity=60,
        ),
        timeseries(
            "Energy per step",
            "Joules per training step, nodes summed, and its value at the reference since the run "
            "began." + REFERENCE,
            Query(per_step("run_energy_joules_total"), "now"),
            Query(f"sum({at_reference(JOULES)})", "reference"),
            unit="si:J/step",
            calcs=("lastNotNull",),
        ).with_overrides(matched("reference", custom__lineStyle={"dash": [8, 6], "fill": "dash"})),
        timeseries(
            "Time per step",
            "Seconds per training step on the slowest node, and its value at the reference since "
            "the run began." + REFERENCE,
            Query(per_step("run_step_seconds_total", "max"), "now"),
            Query(f"sum({at_reference(SECONDS)})", "reference"),
            unit="s",
            calcs=("lastNotNull",),
        ).with_overrides(matched("reference", custom__lineStyle={"dash": [8, 6], "fill": "dash"})),
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
            decimals=0,
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
