"""Snapshots made by hand: parts to build one, and a rich one of 8 GPUs and 4 runs."""

from collections.abc import Mapping
from dataclasses import replace

from joulestat.domain.device import (
    CallError,
    Details,
    Device,
    PowerLimits,
    Reading,
    ThrottleReason,
)
from joulestat.domain.energy import Anomaly, EnergySource, MeterState
from joulestat.domain.limit import Lease, LimitChange, PowerControl
from joulestat.domain.run import (
    MIXED,
    TRANSITION,
    Cell,
    Claim,
    Counts,
    Phase,
    PushResult,
    RunLabels,
    RunState,
    UnattributedReason,
)
from joulestat.domain.snapshot import BudgetState, DeviceState, Snapshot, TickStats
from joulestat.domain.units import NS_PER_SECOND, UJ_PER_JOULE

AT_NS = 81_234_567_890_123
WALL_SECONDS = 1_795_000_000.25

NO_TICKS = TickStats(count=0, sum_seconds=0.0, buckets=(0,) * 10, last_seconds=0.0, errors={})
NO_ANOMALIES: Mapping[Anomaly, int] = dict.fromkeys(Anomaly, 0)
NO_CHANGES: Mapping[LimitChange, int] = dict.fromkeys(LimitChange, 0)
NO_PUSHES: Mapping[PushResult, int] = dict.fromkeys(PushResult, 0)


def uuid_of(index: int) -> str:
    """The UUID of the example's GPU with this index."""
    return f"GPU-{index:08x}-7a3c-4e1f-9b52-0c6d8e4f2a1b"


def reading(power_watts: float = 231.437, limit_watts: float = 250.0) -> Reading:
    """A complete reading of a busy card."""
    return Reading(
        at_ns=AT_NS,
        energy_counter_uj=9_123_456_789_000,
        power_watts=power_watts,
        limits=PowerLimits(limit_watts, limit_watts, 300.0, 150.0, 300.0),
        details=Details(
            throttle_reasons=frozenset({ThrottleReason.POWER_CAP}),
            utilization_ratio=0.97,
            temperature_celsius=64.0,
            sm_clock_hertz=1_230_000_000.0,
            memory_used_bytes=30_064_771_072,
            memory_size_bytes=34_359_738_368,
        ),
    )


def device_state(index: int = 0) -> DeviceState:
    """A healthy, busy GPU that nobody leases."""
    return DeviceState(
        device=Device(
            uuid=uuid_of(index),
            index=index,
            vendor="nvidia",
            model="Tesla V100-SXM2-32GB",
            pci_bus_id=f"00000000:{16 + index:02X}:00.0",
            driver_version="550.54.15",
        ),
        up=True,
        reading=reading(power_watts=231.437 + index),
        meter=MeterState(
            at_ns=AT_NS,
            total_uj=22_000_123_456_789 + index * UJ_PER_JOULE,
            integrated_uj=1_234_567_890 + index,
            source=EnergySource.HARDWARE_COUNTER,
            anomalies=NO_ANOMALIES,
        ),
        unattributed_uj={
            UnattributedReason.IDLE: 12_500_000 * (index + 1),
            UnattributedReason.STALE: 0,
        },
        control=PowerControl(writable=True, lease=None, drift=False, changes=NO_CHANGES),
    )


def leased(state: DeviceState, target_watts: float = 250.0) -> DeviceState:
    """The same GPU with its limit held by the optimizer."""
    lease = Lease(
        device_uuid=state.device.uuid,
        holder="optimizer",
        principal="optimizer@cluster",
        reason="hold 250 W: 14 % less energy per step, 3 % slower",
        target_watts=target_watts,
        baseline_watts=300.0,
        expires_boottime_ns=AT_NS + 900 * NS_PER_SECOND,
        expires_seconds=WALL_SECONDS + 900,
    )
    changes = {**NO_CHANGES, LimitChange.APPLIED: 3, LimitChange.UNCHANGED: 41}
    control = PowerControl(True, lease, drift=False, changes=changes, baseline_watts=300.0)
    return replace(state, control=control)


def run_state(name: str = "llama-ft-42", indices: tuple[int, ...] = (0, 1, 2, 3)) -> RunState:
    """A live training run that was measured at two limits."""
    cells = {
        (Phase.TRAIN, "300"): Cell(
            38_123_456_789, 127_720_000_000, Counts(412, 13_184, 27_000_832)
        ),
        (Phase.TRAIN, "250"): Cell(9_876_543_210, 37_200_000_123, Counts(120, 3_840, 7_864_320)),
        (Phase.TRAIN, TRANSITION): Cell(456_789, 2_100_000_000, Counts(7, 224, 458_752)),
        (Phase.EVAL, "250"): Cell(1_000_000, 1_500_000_000, Counts(4, 0, 0)),
    }
    spent_uj = sum(cell.energy_uj for cell in cells.values())
    share_uj, rest_uj = divmod(spent_uj, len(indices))
    energy_uj = {uuid_of(index): share_uj for index in indices}
    energy_uj[uuid_of(indices[0])] += rest_uj
    return RunState(
        name=name,
        labels=RunLabels(job="llama-ft", user="kim", team="nlp", framework="transformers"),
        claims=tuple(
            Claim(rank, uuid_of(index), Phase.TRAIN) for rank, index in enumerate(indices)
        ),
        cells=cells,
        device_energy_uj=energy_uj,
        start_seconds=WALL_SECONDS - 600,
        end_seconds=None,
        last_push_seconds={rank: WALL_SECONDS - 0.5 - rank for rank in range(len(indices))},
        energy_budget_joules=3.6e7,
        planned_steps=5000,
    )


def snapshot(
    devices: tuple[DeviceState, ...] = (),
    runs: tuple[RunState, ...] = (),
    *,
    budgets: tuple[BudgetState, ...] = (),
    pushes: Mapping[PushResult, int] = NO_PUSHES,
    ticks: TickStats = NO_TICKS,
) -> Snapshot:
    """A snapshot of these parts; by default an exporter that sees nothing and did nothing."""
    return Snapshot(AT_NS, WALL_SECONDS, "simulated", devices, runs, budgets, pushes, ticks)


def example_snapshot() -> Snapshot:
    """8 GPUs and 4 runs, with one of everything that can be the matter.

    GPUs 0 to 3 are leased at 250 W, 5 had anomalies, 6 fell off the bus (its counters stay), 7
    is an old card with little to say. Run ``bert`` spans GPUs at different limits, ``ended`` is
    over, and ``odd`` shares GPU 4 and calls itself by characters that must be escaped.
    """
    healthy = [device_state(index) for index in range(8)]
    seen = snapshot(
        (*map(leased, healthy[:4]), healthy[4], _anomalous(), _lost(), _old()),
        (_bert(), _ended(), run_state(), _odd()),
        budgets=(
            BudgetState("november", "nlp", 1.8e9, 1_793_491_200.0, 1_796_083_200.0, 48_000_000_123),
            BudgetState("sprint", "vision", 3.6e7, 1_794_960_000.0, 1_795_046_400.0, 0),
        ),
        pushes={
            PushResult.ACCEPTED: 4321,
            PushResult.DUPLICATE: 3,
            PushResult.REJECTED: 1,
        },
        ticks=TickStats(
            count=6000,
            sum_seconds=13.5,
            buckets=(0, 5200, 700, 60, 30, 5, 2, 1, 1, 1),
            last_seconds=WALL_SECONDS,
            errors={(uuid_of(6), "nvmlDeviceGetPowerUsage", "GPU_IS_LOST"): 17},
        ),
    )
    return replace(seen, control_read_only=False)


def _anomalous() -> DeviceState:
    state = device_state(5)
    assert state.meter is not None
    anomalies = {**NO_ANOMALIES, Anomaly.BACKWARDS: 2, Anomaly.RESET: 1}
    return replace(state, meter=replace(state.meter, anomalies=anomalies))


def _lost() -> DeviceState:
    return replace(device_state(6), up=False, reading=None)


def _old() -> DeviceState:
    state = device_state(7)
    return replace(
        state,
        device=replace(state.device, model="Tesla K80"),
        reading=Reading(
            at_ns=AT_NS,
            energy_counter_uj=None,
            power_watts=60.0,
            details=Details(temperature_celsius=41.0),
            errors=(CallError("nvmlDeviceGetMemoryInfo", "UNKNOWN"),),
        ),
        meter=MeterState(AT_NS, 987_654, 987_654, EnergySource.INTEGRATED_POWER, NO_ANOMALIES),
        control=PowerControl(writable=False, lease=None, drift=False, changes=NO_CHANGES),
    )


def _bert() -> RunState:
    return replace(
        run_state("bert", (4, 5)),
        labels=RunLabels(team="nlp"),
        cells={(Phase.TRAIN, MIXED): Cell(5_000_001, 2 * NS_PER_SECOND, Counts(steps=10))},
        device_energy_uj={uuid_of(4): 2_500_001, uuid_of(5): 2_500_000},
        energy_budget_joules=None,
        planned_steps=None,
    )


def _ended() -> RunState:
    return replace(run_state("ended", (6,)), claims=(), end_seconds=WALL_SECONDS - 60)


def _odd() -> RunState:
    return replace(
        run_state("odd", (4,)),
        labels=RunLabels(job='say "hi"\\', user="zoë\nline two", team="β", framework=""),
        cells={(Phase.OTHER, "300"): Cell()},
        device_energy_uj={uuid_of(4): 0},
    )
