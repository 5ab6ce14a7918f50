"""Whether the exporters are well: the last row of the fleet's board."""

from boards.board import Row
from boards.kinds import timeline, timeseries
from boards.panels import GREEN, ORANGE, RED, Query, mapping
from boards.promql import MOST, RATE, TARGET, at_end, first, increase

_GPU = "instance, gpu, gpu_uuid"
_LEAST_UP = first("job, instance", at_end("avg_over_time", "up", TARGET), lowest=True)
_LEAST_READ = first(_GPU, at_end("avg_over_time", "joulestat_gpu_up", TARGET), lowest=True)
_CALL = "instance, call"
_MOST_FAILED = first(
    _CALL,
    f"sum by ({_CALL}) ({at_end('increase', 'joulestat_tick_errors_total', TARGET)})",
)
_LAST_TICK = "joulestat_last_tick_timestamp_seconds"
_OLDEST = first(
    "instance", f"max by (instance) ({at_end('last_over_time', _LAST_TICK, TARGET)})", lowest=True
)

HEALTH = Row(
    "Exporter health",
    [
        timeline(
            "Exporters up",
            "Whether Prometheus could scrape each exporter. Of more than "
            f"{MOST} those that were down longest.",
            Query(f"up{{{TARGET}}} and {_LEAST_UP}", "{{instance}}"),
            mappings=mapping({"1": ("up", GREEN), "0": ("down", RED)}),
            width=12,
            height=6,
        ),
        timeseries(
            "Age of the last reading",
            "Seconds since each exporter's last heartbeat began. It should stay below a scrape. Of "
            f"more than {MOST} exporters those whose last is the oldest.",
            Query(
                f"max by (instance) (time() - {_LAST_TICK}{{{TARGET}}}) and {_OLDEST}",
                "{{instance}}",
            ),
            unit="s",
            height=6,
        ),
        timeseries(
            "Driver calls that failed",
            "Failed calls to the vendor's library, by node and call. None is normal. Of more than "
            f"{MOST} those that failed most often.",
            Query(
                f"sum by ({_CALL}) ({increase('tick_errors_total', TARGET, RATE)}) > 0"
                f" and {_MOST_FAILED}",
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
            "Whether each GPU could be read at the last heartbeat. Of more than "
            f"{MOST} those that were lost longest.",
            Query(f"joulestat_gpu_up{{{TARGET}}} and {_LEAST_READ}", "{{instance}} GPU {{gpu}}"),
            mappings=mapping({"1": ("read", GREEN), "0": ("lost", ORANGE)}),
            width=12,
            height=6,
        ),
    ],
    collapsed=True,
)
