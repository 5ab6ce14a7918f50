"""The board of one node's GPUs: what each draws under which limit, and what holds it back."""

from boards.addresses import GPU, GPUS, INSTANCE, JOB, LIMIT_CHANGES_OF_NODE, TO_RUN_OF_CELL
from boards.board import Board, Row
from boards.kinds import gauge, stat, timeline, timeseries
from boards.panels import BLUE, GREEN, ORANGE, RED, YELLOW, Query, mapping, matched, now, steps
from boards.promql import ONE_NODE, RATE, increase, rate, watt_hours
from boards.tables import table

ENERGY = "gpu_energy_joules_total"
OF_GPUS = f'{ONE_NODE}, gpu=~"$gpu"'
_RATE = rate(ENERGY, OF_GPUS)
_NAME = "GPU {{gpu}}"


def _now(metric: str) -> str:
    return f"joulestat_{metric}{{{OF_GPUS}}}"


def _column(metric: str, name: str, unit: str = "watt") -> Query:
    return now(f"max by (gpu) ({_now(metric)})", name, unit)


_ENFORCED = _now("gpu_power_limit_enforced_watts")

_REASONS = {
    "power_cap": BLUE,
    "sw_thermal": YELLOW,
    "hw_thermal": RED,
    "hw_slowdown": ORANGE,
    "power_brake": "purple",
}
"""What holds a GPU's clocks back, and its colour: the limit at work is no reason to worry."""

NOW = Row(
    "Now",
    [
        stat(
            "Power",
            "What the chosen GPUs draw: growth of their energy counters, per second.",
            Query(f"sum({_RATE})"),
            unit="watt",
        ),
        gauge(
            "Of the power limit",
            "Power over the sum of the limits in force. Near 100 % the limits act.",
            now(f"sum({_RATE}) / sum({_ENFORCED})"),
            thresholds=steps(first="blue"),
        ),
        stat(
            "Power limit",
            "Sum of the limits in force, and of those that the GPUs came with.",
            now(f"sum({_ENFORCED})", "in force"),
            now(f"sum({_now('gpu_power_limit_default_watts')})", "came with"),
            unit="watt",
        ),
        stat(
            "Energy",
            "Growth of the energy counters over the time range.",
            now(watt_hours(f"sum({increase(ENERGY, OF_GPUS)})")),
            unit="watth",
        ),
        stat(
            "Hottest",
            "Temperature of the hottest of the chosen GPUs.",
            Query(f"max({_now('gpu_temperature_celsius')})"),
            unit="celsius",
            thresholds=steps((80, YELLOW), (90, RED)),
        ),
        stat(
            "Lease left",
            "Time until the first lease ends, unless it is renewed. Then the limit from before "
            "comes back.",
            now(
                f"min({_now('gpu_power_limit_lease_expiry_timestamp_seconds')}) - time()",
            ),
            unit="s",
            decimals=1,
            thresholds=steps((0, ORANGE), (60, GREEN), first=RED),
            no_value="no lease",
        ),
    ],
)

POWER = Row(
    "Power and limits",
    [
        timeseries(
            "Power by GPU",
            "Growth of each energy counter per second.",
            Query(_RATE, _NAME),
            unit="watt",
        ),
        timeseries(
            "Power limits by GPU",
            "The lowest of all limits in force on each GPU, and what a lease holds where that is "
            "something else.",
            Query(_ENFORCED, _NAME),
            Query(
                f"{_now('gpu_power_limit_target_watts')} != on (gpu, gpu_uuid) {_ENFORCED}",
                "GPU {{gpu}}: lease says",
            ),
            unit="watt",
            stepped=True,
        ),
        timeseries(
            "Energy per hour",
            "Each bar is the hour before it: growth of the energy counters.",
            Query(watt_hours(increase(ENERGY, OF_GPUS, "1h")), _NAME, step="1h"),
            unit="watth",
            height=8,
            bars=True,
            stacked=True,
        ),
        timeseries(
            "Share of GPUs held back",
            "Part of the chosen GPUs whose clocks are held back, by reason. Power cap is the limit "
            "at work; heat and power brake are not.",
            Query(f"avg by (reason) ({_now('gpu_throttled')})", "{{reason}}"),
            unit="percentunit",
            axisSoftMin=0,
            axisSoftMax=1,
            height=8,
        ).with_overrides(
            *(
                matched(reason, color={"fixedColor": color, "mode": "fixed"})
                for reason, color in _REASONS.items()
            )
        ),
    ],
)

LOAD = Row(
    "Load",
    [
        timeseries(
            "Utilization",
            "Part of the time in which each GPU was busy.",
            Query(_now("gpu_utilization_ratio"), _NAME),
            unit="percentunit",
            axisSoftMin=0,
            axisSoftMax=1,
            width=6,
            height=8,
        ),
        timeseries(
            "SM clock",
            "Clock of the streaming multiprocessors. A power limit lowers it.",
            Query(_now("gpu_sm_clock_hertz"), _NAME),
            unit="hertz",
            width=6,
            height=8,
        ),
        timeseries(
            "Temperature",
            "Temperature of each GPU's die.",
            Query(_now("gpu_temperature_celsius"), _NAME),
            unit="celsius",
            width=6,
            height=8,
        ),
        timeseries(
            "Memory in use",
            "Part of each GPU's memory that is in use.",
            Query(
                f"{_now('gpu_memory_used_bytes')} / {_now('gpu_memory_size_bytes')}",
                _NAME,
            ),
            unit="percentunit",
            axisSoftMin=0,
            axisSoftMax=1,
            width=6,
            height=8,
        ),
    ],
)

EACH = Row(
    "Each GPU",
    [
        table(
            "Limits",
            "What each GPU may be set to, what is in force, and what a lease holds.",
            [("gpu", "GPU")],
            [
                _column("gpu_power_limit_enforced_watts", "In force"),
                _column("gpu_power_limit_target_watts", "Lease"),
                _column("gpu_power_limit_default_watts", "Came with"),
                _column("gpu_power_limit_min_watts", "Lowest"),
                _column("gpu_power_limit_max_watts", "Highest"),
                now(f"sum by (gpu) ({_RATE})", "Power", "watt"),
                now(
                    watt_hours(f"sum by (gpu) ({increase(ENERGY, OF_GPUS)})"),
                    "Energy",
                    "watth",
                ),
                _column("gpu_power_limit_writable", "May be set", unit="none"),
            ],
            height=7,
            sort_by="GPU",
            descending=False,
            overrides=[
                matched("May be set", mappings=mapping({"1": ("yes", GREEN), "0": ("no", ORANGE)}))
            ],
        ),
        table(
            "Runs on these GPUs",
            "Energy that each run was credited with on the chosen GPUs in the time range. "
            "A name leads to the run.",
            [("run", "Run"), ("gpu", "GPU")],
            [
                now(
                    "sum by (run, gpu) ("
                    + increase("run_gpu_energy_joules_total", OF_GPUS)
                    + ") / 3600 > 0",
                    "Energy",
                    "watth",
                ),
            ],
            height=7,
            sort_by="Energy",
            overrides=[matched("Run", links=[TO_RUN_OF_CELL])],
            no_value="no run",
        ),
    ],
)

HEALTH = Row(
    "Is the energy right?",
    [
        timeseries(
            "Counter and power agree",
            "Energy of the exporter's own integral of power over that of the counter, in each "
            "hour. 100 % where the counter is itself integrated.",
            Query(
                increase("gpu_energy_integrated_joules_total", OF_GPUS, "1h")
                + " / ("
                + increase(ENERGY, OF_GPUS, "1h")
                + " > 0)",
                _NAME,
            ),
            unit="percentunit",
            height=7,
            decimals=1,
            axisSoftMin=0.9,
            axisSoftMax=1.1,
        ),
        timeseries(
            "Readings not believed",
            "Energy readings that fell, jumped or stood still, in the time of each bar. They "
            "never reach the counters.",
            Query(
                "sum by (gpu, reason) ("
                + increase("gpu_energy_anomalies_total", OF_GPUS, RATE)
                + ") > 0",
                "GPU {{gpu}} {{reason}}",
                step="15m",
            ),
            unit="none",
            width=6,
            height=7,
            decimals=0,
            bars=True,
            stacked=True,
            calcs=("sum",),
            no_value="all believed",
        ),
        timeline(
            "GPUs answer",
            "Whether each GPU could be read at the last heartbeat.",
            Query(_now("gpu_up"), _NAME),
            mappings=mapping({"1": ("read", GREEN), "0": ("lost", ORANGE)}),
            width=6,
            height=7,
        ),
    ],
    collapsed=True,
)

BOARD = Board(
    GPU,
    "GPU energy / GPU",
    "What each GPU of one node draws under which power limit, and what holds it back.",
    "now-6h",
    [JOB, INSTANCE, GPUS],
    [NOW, POWER, LOAD, EACH, HEALTH],
    [LIMIT_CHANGES_OF_NODE],
)
