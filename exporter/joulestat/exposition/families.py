"""From a Snapshot to samples: one line per metric, in terms of the domain."""

from collections.abc import Callable, Iterable

from joulestat.domain.device import PowerLimits, Reading, ThrottleReason
from joulestat.domain.energy import MeterState
from joulestat.domain.limit import Lease, leasable_watts
from joulestat.domain.run import Cell, Counts, RunState
from joulestat.domain.snapshot import BudgetState, DeviceState, Snapshot
from joulestat.domain.units import ns_to_seconds, uj_to_joules
from joulestat.exposition.constants import Constants

Rows = Iterable[tuple[tuple[str, ...], float | None]]
"""Label values in the order of ``Metric.labels``, and the value; None is absent."""

NO_LABELS: tuple[str, ...] = ()


class Scene:
    """A snapshot, and what is looked up in it again and again."""

    def __init__(self, snapshot: Snapshot, constants: Constants) -> None:
        self.snapshot = snapshot
        self.constants = constants
        self.tariff = constants.tariff
        self._indices = {state.device.uuid: str(state.device.index) for state in snapshot.devices}
        self.devices = [(self.device_labels(s.device.uuid), s) for s in snapshot.devices]

    def device_labels(self, device_uuid: str) -> tuple[str, str]:
        """Return gpu and gpu_uuid. A GPU that is gone has no index; its energy still counts."""
        return self._indices.get(device_uuid, ""), device_uuid


def _device(value_of: Callable[[DeviceState], float | None]) -> Callable[[Scene], Rows]:
    """One series per device."""
    return lambda scene: [(labels, value_of(state)) for labels, state in scene.devices]


def _meter(value_of: Callable[[MeterState], float | None]) -> Callable[[Scene], Rows]:
    """One series per device that was ever read."""
    return _device(lambda state: None if state.meter is None else value_of(state.meter))


def _reading(value_of: Callable[[Reading], float | None]) -> Callable[[Scene], Rows]:
    """One series per device that the last tick read."""
    return _device(lambda state: None if state.reading is None else value_of(state.reading))


def _limit(value_of: Callable[[PowerLimits], float | None]) -> Callable[[Scene], Rows]:
    return _reading(lambda reading: value_of(reading.limits))


def _leasable(state: DeviceState) -> tuple[float | None, float | None]:
    """Return the range that a lease may have; None twice where nobody can grant one."""
    if state.reading is None or not state.control.writable:
        return None, None
    return leasable_watts(state.reading.limits, state.control)


def _lease(value_of: Callable[[Lease], float]) -> Callable[[Scene], Rows]:
    """One series per device that is leased."""
    return _device(lambda s: None if s.control.lease is None else value_of(s.control.lease))


def _device_by(
    values_of: Callable[[DeviceState], Iterable[tuple[str, float]]],
) -> Callable[[Scene], Rows]:
    """One series per device and value of one more label."""
    return lambda scene: [
        ((*labels, key), value)
        for labels, state in scene.devices
        for key, value in values_of(state)
    ]


def _throttled(state: DeviceState) -> Iterable[tuple[str, float]]:
    held_back = None if state.reading is None else state.reading.details.throttle_reasons
    return [] if held_back is None else [(reason, reason in held_back) for reason in ThrottleReason]


def _run(value_of: Callable[[RunState], float | None]) -> Callable[[Scene], Rows]:
    """One series per run."""
    return lambda scene: [((run.name,), value_of(run)) for run in scene.snapshot.runs]


def _cell(value_of: Callable[[Cell], float]) -> Callable[[Scene], Rows]:
    """One series per run, phase and power limit."""
    return lambda scene: [
        ((run.name, phase, limit), value_of(cell))
        for run in scene.snapshot.runs
        for (phase, limit), cell in run.cells.items()
    ]


def _count(count_of: Callable[[Counts], int]) -> Callable[[Scene], Rows]:
    """One series per cell, of those runs alone that ever reported this count."""
    return lambda scene: [
        ((run.name, phase, limit), count_of(cell.counts))
        for run in scene.snapshot.runs
        if any(count_of(cell.counts) for cell in run.cells.values())
        for (phase, limit), cell in run.cells.items()
    ]


def _budget(value_of: Callable[[BudgetState], float]) -> Callable[[Scene], Rows]:
    """One series per budget."""
    return lambda scene: [((b.name, b.team), value_of(b)) for b in scene.snapshot.budgets]


def _gpu_info(scene: Scene) -> Rows:
    for labels, state in scene.devices:
        device = state.device
        about = (device.vendor, device.model, device.pci_bus_id, device.driver_version)
        yield (*labels, *about), 1


def _run_info(scene: Scene) -> Rows:
    for run in scene.snapshot.runs:
        about = run.labels
        yield (run.name, about.job, about.user, about.team, about.framework), 1


def _run_gpu(scene: Scene) -> Rows:
    for run in scene.snapshot.runs:
        for claim in run.claims:
            device = scene.device_labels(claim.device_uuid)
            yield (run.name, str(claim.rank), *device, claim.phase), 1


def _run_gpu_energy(scene: Scene) -> Rows:
    for run in scene.snapshot.runs:
        for device_uuid, energy_uj in run.device_energy_uj.items():
            yield (run.name, *scene.device_labels(device_uuid)), uj_to_joules(energy_uj)


def _last_push(scene: Scene) -> Rows:
    for run in scene.snapshot.runs:
        for rank, seconds in run.last_push_seconds.items():
            yield (run.name, str(rank)), seconds


def _pushes(scene: Scene) -> Rows:
    return [((result,), count) for result, count in scene.snapshot.pushes.items()]


def _last_tick(scene: Scene) -> Rows:
    ticks = scene.snapshot.ticks
    return [(NO_LABELS, ticks.last_seconds if ticks.count else None)]


def _build_info(scene: Scene) -> Rows:
    build = scene.constants
    return [((build.version, build.revision, build.python), 1)]


ROWS: dict[str, Callable[[Scene], Rows]] = {
    "gpu_info": _gpu_info,
    "gpu_up": _device(lambda state: state.up),
    "gpu_energy_joules_total": _meter(lambda meter: uj_to_joules(meter.total_uj)),
    "gpu_energy_source_info": _device_by(lambda s: [(s.meter.source, 1)] if s.meter else []),
    "gpu_energy_integrated_joules_total": _meter(
        lambda m: None if m.integrated_uj is None else uj_to_joules(m.integrated_uj)
    ),
    "gpu_energy_anomalies_total": _device_by(
        lambda s: s.meter.anomalies.items() if s.meter else []
    ),
    "gpu_power_watts": _reading(lambda reading: reading.power_watts),
    "gpu_power_limit_watts": _limit(lambda limits: limits.set_watts),
    "gpu_power_limit_enforced_watts": _limit(lambda limits: limits.enforced_watts),
    "gpu_power_limit_default_watts": _limit(lambda limits: limits.default_watts),
    "gpu_power_limit_min_watts": _limit(lambda limits: limits.min_watts),
    "gpu_power_limit_max_watts": _limit(lambda limits: limits.max_watts),
    "gpu_power_limit_floor_watts": _device(lambda state: _leasable(state)[0]),
    "gpu_power_limit_ceiling_watts": _device(lambda state: _leasable(state)[1]),
    "gpu_power_limit_target_watts": _lease(lambda lease: lease.target_watts),
    "gpu_power_limit_baseline_watts": _device(lambda state: state.control.baseline_watts),
    "gpu_power_limit_writable": _device(lambda state: state.control.writable),
    "gpu_power_limit_lease_expiry_timestamp_seconds": _lease(lambda lease: lease.expires_seconds),
    "gpu_power_limit_changes_total": _device_by(lambda s: s.control.changes.items()),
    "control_read_only": lambda scene: [(NO_LABELS, scene.snapshot.control_read_only)],
    "gpu_throttled": _device_by(_throttled),
    "gpu_utilization_ratio": _reading(lambda reading: reading.details.utilization_ratio),
    "gpu_temperature_celsius": _reading(lambda reading: reading.details.temperature_celsius),
    "gpu_sm_clock_hertz": _reading(lambda reading: reading.details.sm_clock_hertz),
    "gpu_memory_used_bytes": _reading(lambda reading: reading.details.memory_used_bytes),
    "gpu_memory_size_bytes": _reading(lambda reading: reading.details.memory_size_bytes),
    "gpu_unattributed_energy_joules_total": _device_by(
        lambda s: [(reason, uj_to_joules(uj)) for reason, uj in s.unattributed_uj.items()]
    ),
    "run_info": _run_info,
    "run_gpu": _run_gpu,
    "run_steps_total": _cell(lambda cell: cell.counts.steps),
    "run_step_seconds_total": _cell(lambda cell: ns_to_seconds(cell.duration_ns)),
    "run_energy_joules_total": _cell(lambda cell: uj_to_joules(cell.energy_uj)),
    "run_samples_total": _count(lambda counts: counts.samples),
    "run_tokens_total": _count(lambda counts: counts.tokens),
    "run_gpu_energy_joules_total": _run_gpu_energy,
    "run_start_timestamp_seconds": _run(lambda run: run.start_seconds),
    "run_end_timestamp_seconds": _run(lambda run: run.end_seconds),
    "run_energy_budget_joules": _run(lambda run: run.energy_budget_joules),
    "run_planned_steps": _run(lambda run: run.planned_steps),
    "run_last_push_timestamp_seconds": _last_push,
    "run_pushes_total": _pushes,
    "run_pushes_adjusted_total": lambda scene: [((), scene.snapshot.pushes_adjusted)],
    "budget_joules": _budget(lambda budget: budget.limit_joules),
    "budget_start_timestamp_seconds": _budget(lambda budget: budget.start_seconds),
    "budget_end_timestamp_seconds": _budget(lambda budget: budget.end_seconds),
    "budget_consumed_joules_total": _budget(lambda budget: uj_to_joules(budget.consumed_uj)),
    "electricity_price_per_kilowatt_hour": lambda scene: [
        ((scene.tariff.currency,), scene.tariff.price_per_kilowatt_hour)
    ],
    "carbon_intensity_grams_per_kilowatt_hour": lambda scene: [
        ((scene.tariff.zone,), scene.tariff.carbon_grams_per_kilowatt_hour)
    ],
    "pue_ratio": lambda scene: [(NO_LABELS, scene.tariff.pue_ratio)],
    "last_tick_timestamp_seconds": _last_tick,
    "tick_errors_total": lambda scene: scene.snapshot.ticks.errors.items(),
    "build_info": _build_info,
}
"""The samples of every metric of the catalogue but the histogram."""
