"""Whether the exporters are well: the last row of the fleet's board."""

from boards.board import Row
from boards.kinds import timeline, timeseries
from boards.panels import GREEN, ORANGE, RED, Query, mapping
from boards.promql import RATE, TARGET, increase

HEALTH = Row(
    "Exporter health",
    [
        timeline(
            "Exporters up",
            "Whether Prometheus could scrape each exporter.",
            Query(f"up{{{TARGET}}}", "{{instance}}"),
            mappings=mapping({"1": ("up", GREEN), "0": ("down", RED)}),
            width=12,
            height=6,
        ),
        timeseries(
            "Age of the last reading",
            "Seconds since each exporter's last heartbeat began. It should stay below a scrape.",
            Query(
                f"max by (instance) (time() - joulestat_last_tick_timestamp_seconds{{{TARGET}}})",
                "{{instance}}",
            ),
            unit="s",
            height=6,
        ),
        timeseries(
            "Driver calls that failed",
            "Failed calls to the vendor's library, by node and call. None is normal.",
            Query(
                f"sum by (instance, call) ({increase('tick_errors_total', TARGET, RATE)}) > 0",
                "{{instance}} {{call}}",
                step="15m",
            ),
            unit="none",
            height=6,
            decimals=0,
            bars=True,
            stacked=True,
            calcs=("sum",),
            no_value="none failed",
        ),
        timeline(
            "GPUs answer",
            "Whether each GPU could be read at the last heartbeat.",
            Query(f"joulestat_gpu_up{{{TARGET}}}", "{{instance}} GPU {{gpu}}"),
            mappings=mapping({"1": ("read", GREEN), "0": ("lost", ORANGE)}),
            width=12,
            height=6,
        ),
    ],
    collapsed=True,
)
