"""One table of every metric: name, type, labels, help. Frozen once released.

A row here and a line in ``families.py`` make a metric; ``docs/metrics.md`` and the goldens
follow. Unsupported means absent. Failed means absent too, with ``gpu_up`` 0; counters stay.
"""

from dataclasses import dataclass
from enum import StrEnum

PREFIX = "joulestat_"

DEVICE = ("gpu", "gpu_uuid")
"""What every device series carries: the index for people, the UUID as identity."""

_CELL = ("run", "phase", "power_limit_watts")
_UNITS = ("joules", "watts", "seconds", "celsius", "hertz", "bytes", "ratio")


class MetricType(StrEnum):
    """How Prometheus is to read a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: With prefix; a counter's ends in ``_total``.
        type: Counter, gauge or histogram.
        labels: Names, in the order in which values are given; pages sort them by name.
        help: One line for the page and for people.
    """

    name: str
    type: MetricType
    labels: tuple[str, ...]
    help: str

    @property
    def family(self) -> str:
        """Its name in OpenMetrics metadata: without ``_total``."""
        return self.name.removesuffix("_total")

    @property
    def unit(self) -> str:
        """The unit that its name ends in; empty where it has none, as a count."""
        last = self.family.rpartition("_")[2]
        return last if last in _UNITS else ""


def _gauge(name: str, labels: tuple[str, ...], text: str) -> Metric:
    return Metric(PREFIX + name, MetricType.GAUGE, labels, text)


def _counter(name: str, labels: tuple[str, ...], text: str) -> Metric:
    return Metric(f"{PREFIX}{name}_total", MetricType.COUNTER, labels, text)


_ROWS = (
    _gauge(
        "gpu_info",
        (*DEVICE, "vendor", "model", "pci_bus_id", "driver_version"),
        "What a GPU is; always 1.",
    ),
    _gauge("gpu_up", DEVICE, "Whether the last tick read the GPU (1) or failed to (0)."),
    _counter(
        "gpu_energy_joules", DEVICE, "Energy the GPU has used; begins anew when the host boots."
    ),
    _gauge(
        "gpu_energy_source_info",
        (*DEVICE, "source"),
        "Where gpu_energy_joules_total comes from: the hardware's counter or integrated power.",
    ),
    _counter(
        "gpu_energy_integrated_joules",
        DEVICE,
        "The exporter's own integral of power, a cross-check of gpu_energy_joules_total.",
    ),
    _counter(
        "gpu_energy_anomalies",
        (*DEVICE, "reason"),
        "Energy readings that were not believed as they came.",
    ),
    _gauge("gpu_power_watts", DEVICE, "Power draw now."),
    _gauge("gpu_power_limit_watts", DEVICE, "Power limit as last set by software."),
    _gauge(
        "gpu_power_limit_enforced_watts", DEVICE, "Lowest of all power limits in force on the GPU."
    ),
    _gauge("gpu_power_limit_default_watts", DEVICE, "Power limit the GPU came with."),
    _gauge("gpu_power_limit_min_watts", DEVICE, "Lowest power limit that may be set."),
    _gauge("gpu_power_limit_max_watts", DEVICE, "Highest power limit that may be set."),
    _gauge(
        "gpu_power_limit_floor_watts",
        DEVICE,
        "Lowest power limit that a lease may hold: what the card accepts and the host's policy "
        "allows; absent where the limit cannot be set.",
    ),
    _gauge(
        "gpu_power_limit_ceiling_watts",
        DEVICE,
        "Highest power limit that a lease may hold: what the card accepts and the host's policy "
        "allows; absent where the limit cannot be set.",
    ),
    _gauge(
        "gpu_power_limit_target_watts",
        DEVICE,
        "Power limit that a lease holds; absent without a lease.",
    ),
    _gauge(
        "gpu_power_limit_baseline_watts",
        DEVICE,
        "Power limit from before a lease, for as long as it is still to be put back.",
    ),
    _gauge(
        "gpu_power_limit_writable", DEVICE, "Whether the exporter may set the GPU's power limit."
    ),
    _gauge(
        "gpu_power_limit_lease_expiry_timestamp_seconds",
        DEVICE,
        "When the lease ends, Unix time; absent without a lease.",
    ),
    _counter(
        "gpu_power_limit_changes",
        (*DEVICE, "result"),
        "Attempts of the exporter to change the power limit, by what became of them.",
    ),
    _gauge(
        "control_read_only",
        (),
        "Whether no lease can be granted, because it could not be recorded, or because the "
        "actuator does not answer. Limits are put back all the same.",
    ),
    _gauge(
        "gpu_throttled", (*DEVICE, "reason"), "Whether the clocks are held back for this reason."
    ),
    _gauge("gpu_utilization_ratio", DEVICE, "Part of the time in which the GPU was busy, 0 to 1."),
    _gauge("gpu_temperature_celsius", DEVICE, "Temperature of the GPU's die."),
    _gauge("gpu_sm_clock_hertz", DEVICE, "Clock of the streaming multiprocessors."),
    _gauge("gpu_memory_used_bytes", DEVICE, "GPU memory in use."),
    _gauge("gpu_memory_size_bytes", DEVICE, "GPU memory there is."),
    _counter(
        "gpu_unattributed_energy_joules",
        (*DEVICE, "reason"),
        "Energy that belongs to no run: nobody held the GPU (idle), or its holder fell silent "
        "(stale).",
    ),
    _gauge("run_info", ("run", "job", "user", "team", "framework"), "Whose run it is; always 1."),
    _gauge(
        "run_gpu",
        ("run", "rank", *DEVICE, "phase"),
        "A rank of the run holds this GPU now; always 1.",
    ),
    _counter(
        "run_steps",
        _CELL,
        "Steps as this node counts them. Over the nodes of a run take the max, never the sum.",
    ),
    _counter("run_step_seconds", _CELL, "Time that those steps took, as this node measured it."),
    _counter("run_energy_joules", _CELL, "Energy of the run on this node, over all of its GPUs."),
    _counter("run_samples", _CELL, "Samples as the run's ranks on this node reported them."),
    _counter("run_tokens", _CELL, "Tokens as the run's ranks on this node reported them."),
    _counter(
        "run_gpu_energy_joules",
        ("run", *DEVICE),
        "Energy of the run by GPU: the joules of run_energy_joules_total cut the other way.",
    ),
    _gauge(
        "run_start_timestamp_seconds",
        ("run",),
        "When the run first pushed on this node, Unix time; its counters were 0 then.",
    ),
    _gauge(
        "run_end_timestamp_seconds",
        ("run",),
        "When the run ended on this node, Unix time; absent while it lives.",
    ),
    _gauge("run_energy_budget_joules", ("run",), "Energy that the run may use, as it says."),
    _gauge("run_planned_steps", ("run",), "Training steps that the run plans, as it says."),
    _gauge(
        "run_last_push_timestamp_seconds",
        ("run", "rank"),
        "When the rank last pushed, Unix time.",
    ),
    _counter("run_pushes", ("result",), "Pushes that arrived, by what became of them."),
    _counter(
        "run_pushes_adjusted",
        (),
        "Pushes whose time came from another clock and was replaced by that of their arrival.",
    ),
    _gauge("budget_joules", ("budget", "team"), "Energy that a team may use in the budget's time."),
    _gauge("budget_start_timestamp_seconds", ("budget", "team"), "Start of a budget, Unix time."),
    _gauge("budget_end_timestamp_seconds", ("budget", "team"), "End of a budget, Unix time."),
    _counter(
        "budget_consumed_joules",
        ("budget", "team"),
        "Energy of the team's runs in the budget's time on this node.",
    ),
    _gauge(
        "electricity_price_per_kilowatt_hour",
        ("currency",),
        "Price of electricity, from the configuration.",
    ),
    _gauge(
        "carbon_intensity_grams_per_kilowatt_hour",
        ("zone",),
        "Carbon intensity of electricity, CO2-equivalent, from the configuration.",
    ),
    _gauge(
        "pue_ratio",
        (),
        "Power usage effectiveness, building over machines, from the configuration.",
    ),
    Metric(
        f"{PREFIX}tick_duration_seconds",
        MetricType.HISTOGRAM,
        (),
        "Time that one heartbeat took: meter, credit, write down, publish.",
    ),
    _gauge("last_tick_timestamp_seconds", (), "When the last heartbeat began, Unix time."),
    _counter("tick_errors", ("gpu_uuid", "call", "error"), "Driver calls that failed."),
    _gauge("build_info", ("version", "revision", "python"), "Which exporter runs; always 1."),
)

CATALOGUE: dict[str, Metric] = {row.name.removeprefix(PREFIX): row for row in _ROWS}
"""Every metric by its name without prefix, in the order of a page."""
