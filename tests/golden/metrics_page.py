"""Makes docs/metrics.md from the catalogue, and shows lines of the golden page."""

from enum import StrEnum

from joulestat.domain.device import ThrottleReason
from joulestat.domain.energy import Anomaly, EnergySource
from joulestat.domain.limit import LimitChange
from joulestat.domain.run import Phase, PushResult, UnattributedReason
from joulestat.exposition.catalogue import CATALOGUE, Metric

INTRODUCTION = """\
# Metrics

<!-- Made from exporter/joulestat/exposition/catalogue.py by tests/golden/metrics_page.py.
     REGENERATE_GOLDEN=1 pytest tests/unit/test_pages.py writes it anew. -->

Every name begins with `joulestat_`. `GET /metrics` gives OpenMetrics 1.0.0 to those who ask for it, as Prometheus does,
else text 0.0.4. All samples of a page are of one instant, the last tick.

- Series of a GPU carry exactly `gpu` (its index, for people) and `gpu_uuid` (its identity). Model, bus and driver stand on
  `gpu_info`; join with `* on (gpu_uuid) group_left (model)`.
- What a card does not support is absent. What could not be read is absent too, with `gpu_up` 0; counters stay, they are
  still true.
- Energy counters of a GPU do not fall while the host runs, whatever the driver or the exporter does; when it boots they
  begin anew, as the hardware does. Counters of runs and budgets go on, also over boots.
- `power_limit_watts` on a run's counters is the limit in force while the work was done, in whole watts; `transition`
  where it changed meanwhile, `mixed` where the run's GPUs stood at different limits.
- A run's counters are born at 0 at `run_start_timestamp_seconds`, and all counters of a run on one page stand at the same
  instant: joules per step of a node is the quotient of two increases, exact whatever scrapes were missed. Over
  nodes add up these quotients.
- `run_samples_total` and `run_tokens_total` exist for runs that report any.
"""  # noqa: E501 - lines of the page, not of code

GROUPS = {
    "gpu": "GPUs",
    "run": "Runs",
    "budget": "Energy budgets",
    "electricity": "Prices, from the configuration",
    "tick": "The exporter itself",
}
"""Headings, each above the first metric whose name begins so."""

VALUES: tuple[tuple[str, str, type[StrEnum]], ...] = (
    ("gpu_energy_source_info", "source", EnergySource),
    ("gpu_energy_anomalies_total", "reason", Anomaly),
    ("gpu_power_limit_changes_total", "result", LimitChange),
    ("gpu_throttled", "reason", ThrottleReason),
    ("gpu_unattributed_energy_joules_total", "reason", UnattributedReason),
    ("run_*", "phase", Phase),
    ("run_pushes_total", "result", PushResult),
)
"""Labels with a fixed set of values."""

SCRAPE = """
## What a scrape looks like

One GPU, leased at 250 W, and the run on it:

```
"""

GPU_SHOWN = "GPU-00000000-"
RUN_SHOWN = 'run="llama-ft-42"'
SHOWN = (
    "gpu_energy_joules_total",
    "gpu_power_watts",
    "gpu_power_limit_watts",
    "gpu_power_limit_target_watts",
    "gpu_power_limit_lease_expiry_timestamp_seconds",
    "gpu_throttled",
    "run_gpu",
    "run_steps_total",
    "run_step_seconds_total",
    "run_energy_joules_total",
)


def metrics_page(scrape: str) -> str:
    """Return the page.

    Args:
        scrape: Text of tests/golden/metrics.txt.
    """
    lines = []
    for name, metric in CATALOGUE.items():
        heading = GROUPS.get(name.partition("_")[0])
        if heading is not None and f"## {heading}" not in lines:
            lines += ["", f"## {heading}", "", "| metric | type | labels | what |"]
            lines += ["|---|---|---|---|"]
        lines.append(_row(name, metric))
    lines += ["", "## Labels with a fixed set of values", "", "| metric | label | values |"]
    lines += ["|---|---|---|"]
    lines += [f"| `{name}` | `{label}` | {_listed(kind)} |" for name, label, kind in VALUES]
    return INTRODUCTION + "\n".join(lines) + "\n" + SCRAPE + _excerpt(scrape) + "```\n"


def _row(name: str, metric: Metric) -> str:
    labels = " ".join(f"`{label}`" for label in metric.labels)
    return f"| `{name}` | {metric.type} | {labels} | {metric.help} |"


def _listed(kind: type[StrEnum]) -> str:
    return " ".join(f"`{member}`" for member in kind)


def _excerpt(scrape: str) -> str:
    kept = [
        line
        for line in scrape.splitlines()
        if any(line.startswith(f"joulestat_{name}{{") for name in SHOWN)
        and (GPU_SHOWN in line or (RUN_SHOWN in line and "gpu_uuid" not in line))
    ]
    return "\n".join(kept) + "\n"
