"""Twelve hours of three nodes, as Prometheus holds them: three runs, probes, leases, mishaps."""

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache

from dashboards.fleet_schedule import (
    BUDGETS,
    DAY_SECONDS,
    DEFAULT_WATTS,
    FACTORY_WATTS,
    GPUS,
    HOT_MINUTES,
    IDLE_WATTS,
    LEASE_SECONDS,
    LOSSY_NODE,
    LOWERED_AT_BOOT,
    MINUTES,
    NODES,
    PROBES,
    RUNS,
    SCRAPE_SECONDS,
    SHOWN_AFTER_END_MINUTES,
    STEERED,
    TRUTH,
    Run,
    label_of,
    leased_watts,
    limit_watts,
)
from joulestat.exposition.catalogue import CATALOGUE, PREFIX

Series = tuple[str, tuple[tuple[str, str], ...]]


@dataclass
class SimulatedFleet:
    """Counters as they grow, minute by minute.

    Attributes:
        end_seconds: Unix time of the last scrape.
    """

    end_seconds: int
    _counters: defaultdict[Series, float] = field(default_factory=lambda: defaultdict(float))
    _gauges: dict[Series, float] = field(default_factory=dict)

    def openmetrics(self) -> str:
        """Return all scrapes as one document."""
        lines: list[str] = []
        start = self.end_seconds - MINUTES * SCRAPE_SECONDS
        for name, (_, _, spent) in BUDGETS.items():
            for node in NODES:
                self._grow("budget_consumed_joules_total", node, spent / len(NODES), **_of(name))
        for minute in range(MINUTES + 1):
            at = start + minute * SCRAPE_SECONDS
            self._gauges.clear()
            self._work(minute)
            self._show(minute, at)
            over = [run for run in RUNS if minute >= run.ends + SHOWN_AFTER_END_MINUTES]
            forgotten = {("run", run.name) for run in over}
            for series, value in (self._counters | self._gauges).items():
                if forgotten.isdisjoint(series[1]):
                    lines.append(f"{_text(series)} {value!r} {at}")
        return "\n".join([*lines, "# EOF\n"])

    def _grow(self, name: str, node: str, amount: float, **labels: str) -> None:
        self._counters[_series(name, node, labels)] += amount

    def _set(self, name: str, node: str, value: float, **labels: str) -> None:
        self._gauges[_series(name, node, labels)] = value

    def _work(self, minute: int) -> None:
        held = {gpu: run for run in RUNS if run.begins <= minute < run.ends for gpu in run.gpus}
        for run in set(held.values()):
            self._count_steps(run, minute)
        for gpu in GPUS:
            run = held.get(gpu)
            watts = IDLE_WATTS if run is None else _drawn_watts(run, gpu, minute)
            self._use(gpu, run, watts, minute)
        for result in ("accepted", "duplicate", "rejected"):
            for node in NODES:
                self._grow("run_pushes_total", node, 12.0 * (result == "accepted"), result=result)

    def _count_steps(self, run: Run, minute: int) -> None:
        phase, label = run.phase(minute), label_of(run, minute)
        step_seconds = TRUTH[limit_watts(run.gpus[0], minute)].seconds
        steps = SCRAPE_SECONDS / step_seconds * (phase != "checkpoint")
        for node in run.nodes():
            cell = {"run": run.name, "phase": phase, "power_limit_watts": label}
            own = sum(1 for where, _ in run.gpus if where == node)
            self._grow("run_steps_total", node, steps, **cell)
            self._grow("run_step_seconds_total", node, float(SCRAPE_SECONDS), **cell)
            self._grow("run_samples_total", node, 32 * own * steps, **cell)
            self._grow("run_tokens_total", node, 65_536 * own * steps, **cell)

    def _use(self, gpu: tuple[str, int], run: Run | None, watts: float, minute: int) -> None:
        node, _ = gpu
        joules = watts * SCRAPE_SECONDS
        device = device_labels(gpu)
        self._grow("gpu_energy_joules_total", node, joules, **device)
        self._grow("gpu_energy_integrated_joules_total", node, joules * 0.998, **device)
        self._set("gpu_power_watts", node, watts, **device)
        for reason in ("idle", "stale"):
            unowned = joules if run is None and reason == "idle" else 0.0
            self._grow(
                "gpu_unattributed_energy_joules_total", node, unowned, **device, reason=reason
            )
        if run is None:
            return
        phase, label = run.phase(minute), label_of(run, minute)
        cell = {"run": run.name, "phase": phase, "power_limit_watts": label}
        self._grow("run_energy_joules_total", node, joules, **cell)
        self._grow("run_gpu_energy_joules_total", node, joules, run=run.name, **device)
        self._set("run_gpu", node, 1, run=run.name, rank=str(run.gpus.index(gpu)), phase=phase,
                  **device)  # fmt: skip
        for name, (team, _, _) in BUDGETS.items():
            if team == run.team:
                self._grow("budget_consumed_joules_total", node, joules, **_of(name))

    def _show(self, minute: int, at: int) -> None:
        for gpu in GPUS:
            self._show_gpu(gpu, minute, at)
        for run in RUNS:
            if run.begins <= minute < run.ends + SHOWN_AFTER_END_MINUTES:
                self._show_run(run, minute, at)
        for node in NODES:
            self._show_node(node, minute, at)

    def _show_gpu(self, gpu: tuple[str, int], minute: int, at: int) -> None:
        node, device = gpu[0], device_labels(gpu)
        watts = self._gauges[_series("gpu_power_watts", node, device)]
        limit = limit_watts(gpu, minute)
        leased = leased_watts(gpu, minute)
        hot = gpu == STEERED.gpus[-1] and minute in HOT_MINUTES
        info = {"vendor": "nvidia", "model": NODES[node], "pci_bus_id": "0", "driver_version": "1"}
        shown = {
            "gpu_up": 1,
            "gpu_power_limit_watts": limit,
            "gpu_power_limit_enforced_watts": limit,
            "gpu_power_limit_default_watts": FACTORY_WATTS
            if node == LOWERED_AT_BOOT
            else DEFAULT_WATTS,
            "gpu_power_limit_min_watts": 100,
            "gpu_power_limit_max_watts": 350,
            "gpu_power_limit_writable": node != "node-c:10400",
            "gpu_utilization_ratio": 0.02 if watts < 50 else 0.97,
            "gpu_temperature_celsius": 30 + watts / 6 + 12 * hot,
            "gpu_sm_clock_hertz": 1e9 + watts * 1.4e6,
            "gpu_memory_used_bytes": 6.1e10 if watts > 50 else 1e9,
            "gpu_memory_size_bytes": 8e10,
        }
        if leased is not None:
            shown["gpu_power_limit_target_watts"] = leased
            shown["gpu_power_limit_baseline_watts"] = DEFAULT_WATTS
            shown["gpu_power_limit_lease_expiry_timestamp_seconds"] = at + LEASE_SECONDS - 60
        for name, value in shown.items():
            self._set(name, node, float(value), **device)
        self._set("gpu_info", node, 1, **device, **info)
        self._set("gpu_energy_source_info", node, 1, **device, source="hardware_counter")
        for reason in ("power_cap", "hw_slowdown", "sw_thermal", "hw_thermal", "power_brake"):
            held = (reason == "power_cap" and watts > 0.94 * limit) or (
                reason == "sw_thermal" and hot
            )
            self._set("gpu_throttled", node, float(held), **device, reason=reason)
        for result in ("applied", "unchanged", "refused", "failed", "reverted"):
            grown = {"applied": any(minute == since for since, _ in PROBES),
                     "unchanged": minute % 10 == 5}.get(result, False)  # fmt: skip
            tried = float(leased is not None and grown)
            self._grow("gpu_power_limit_changes_total", node, tried, **device, result=result)
        for reason in ("backwards", "jump", "frozen", "reset"):
            odd = reason == "backwards" and gpu == STEERED.gpus[-1] and minute == 550
            self._grow("gpu_energy_anomalies_total", node, float(odd), **device, reason=reason)

    def _show_run(self, run: Run, minute: int, at: int) -> None:
        begun = at - (minute - run.begins) * SCRAPE_SECONDS
        for node in run.nodes():
            self._set("run_info", node, 1, run=run.name, job=run.name[:5], user="kim",
                      team=run.team, framework="transformers")  # fmt: skip
            self._set("run_start_timestamp_seconds", node, begun, run=run.name)
            if minute >= run.ends:
                ended = begun + (run.ends - run.begins) * SCRAPE_SECONDS
                self._set("run_end_timestamp_seconds", node, ended, run=run.name)
            if run.planned_steps is not None:
                self._set("run_planned_steps", node, run.planned_steps, run=run.name)
            if run.budget_joules is not None:
                self._set("run_energy_budget_joules", node, run.budget_joules, run=run.name)
        for rank, (node, _) in enumerate(run.gpus):
            pushed = at - 3 - rank if minute < run.ends else at - (minute - run.ends) * 60
            self._set("run_last_push_timestamp_seconds", node, pushed, run=run.name, rank=str(rank))

    def _show_node(self, node: str, minute: int, at: int) -> None:
        self._gauges["up", (("instance", node), ("job", "joulestat"))] = 1.0
        self._set("last_tick_timestamp_seconds", node, at - 0.5)
        self._set("electricity_price_per_kilowatt_hour", node, 0.31, currency="EUR")
        self._set("carbon_intensity_grams_per_kilowatt_hour", node, 40 + minute / 60, zone="SE")
        self._set("pue_ratio", node, 1.2)
        self._grow("tick_errors_total", node, float(node == LOSSY_NODE and minute in {520, 521}),
                   gpu_uuid="GPU-c-0", call="power", error="timeout")  # fmt: skip
        first = self.end_seconds - 20 * DAY_SECONDS
        for name, (_, allowance, _) in BUDGETS.items():
            self._set("budget_joules", node, allowance, **_of(name))
            self._set("budget_start_timestamp_seconds", node, first, **_of(name))
            self._set("budget_end_timestamp_seconds", node, first + 30 * DAY_SECONDS, **_of(name))


def device_labels(gpu: tuple[str, int]) -> dict[str, str]:
    """Return gpu and gpu_uuid."""
    return {"gpu": str(gpu[1]), "gpu_uuid": f"GPU-{gpu[0][5]}-{gpu[1]}"}


def _of(budget: str) -> dict[str, str]:
    return {"budget": budget, "team": BUDGETS[budget][0]}


def _drawn_watts(run: Run, gpu: tuple[str, int], minute: int) -> float:
    phase, cost = run.phase(minute), TRUTH[limit_watts(gpu, minute)]
    share = {"train": 1.0, "eval": 0.7, "checkpoint": 0.3}[phase]
    # Cards are not alike, and nothing is still.
    return cost.joules / cost.seconds * share * (1 + 0.01 * gpu[1] + 0.005 * (minute % 7 - 3))


def _series(name: str, node: str, labels: dict[str, str]) -> Series:
    """Return a series as Prometheus names it; only what the exporter has may be shown."""
    assert set(CATALOGUE[name].labels) == set(labels), (name, labels)
    # The target's job wins: a run's own is renamed.
    renamed = {"exported_job" if key == "job" else key: text for key, text in labels.items()}
    target = {"instance": node, "job": "joulestat"}
    return PREFIX + name, tuple(sorted((renamed | target).items()))


@cache
def _text(series: Series) -> str:
    pairs = ",".join(f'{key}="{text}"' for key, text in series[1])
    return f"{series[0]}{{{pairs}}}"
