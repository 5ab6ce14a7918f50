"""Snapshots of a small node, for what shows or serves them."""

from collections.abc import Sequence
from dataclasses import replace

from joulestat.domain.device import Device, PowerLimits, Reading
from joulestat.domain.energy import Anomaly, EnergySource, MeterState
from joulestat.domain.limit import Lease, LimitChange, PowerControl
from joulestat.domain.run import (
    Cell,
    Claim,
    Counts,
    Phase,
    PushResult,
    RunLabels,
    RunState,
    UnattributedReason,
)
from joulestat.domain.snapshot import TICK_BUCKETS_SECONDS, DeviceState, Snapshot, TickStats
from joulestat.domain.units import UJ_PER_JOULE

WALL_SECONDS = 1_795_000_000.0
AT_NS = 1_000_000_000_000
LABELS = RunLabels("llama", "kim", "nlp")


def gpu_uuid(index: int) -> str:
    return f"GPU-0000000{index}-1111-2222-3333-444444444444"


def a_lease(index: int = 0, *, holder: str = "optimizer", reason: str = "tuning") -> Lease:
    return Lease(
        device_uuid=gpu_uuid(index),
        holder=holder,
        principal="kim",
        reason=reason,
        target_watts=200.0,
        baseline_watts=250.0,
        expires_boottime_ns=AT_NS,
        expires_seconds=WALL_SECONDS + 600.0,
    )


def a_device(
    index: int = 0,
    *,
    lease: Lease | None = None,
    read: bool = True,
    device: Device | None = None,
    reading: Reading | None = None,
) -> DeviceState:
    """Return a V100 at 212 W under 250 W that has drawn 44.62 MJ; unread: nothing but its name."""
    usual = Reading(
        at_ns=AT_NS,
        energy_counter_uj=44_620_000 * UJ_PER_JOULE,
        power_watts=212.0,
        limits=PowerLimits(250.0, 250.0, 300.0, 100.0, 300.0),
    )
    meter = MeterState(
        at_ns=AT_NS,
        total_uj=44_620_000 * UJ_PER_JOULE,
        integrated_uj=44_000_000 * UJ_PER_JOULE,
        source=EnergySource.HARDWARE_COUNTER,
        anomalies=dict.fromkeys(Anomaly, 0),
    )
    pci_bus_id = f"0000:0{index}:00.0"
    return DeviceState(
        device=device or Device(gpu_uuid(index), index, "nvidia", "Tesla V100", pci_bus_id, "560"),
        up=read,
        reading=(reading or usual) if read else None,
        meter=meter if read else None,
        unattributed_uj=dict.fromkeys(UnattributedReason, 0),
        control=PowerControl(
            writable=True, lease=lease, drift=False, changes=dict.fromkeys(LimitChange, 0)
        ),
    )


def a_run(
    name: str = "llama-ft-42",
    *,
    labels: RunLabels = LABELS,
    steps: int = 120,
) -> RunState:
    """Return a live run on GPU 0 that spent 91.25 J per training step, and 1 kJ on evaluation."""
    train_uj = steps * 91_250_000
    eval_uj = 1_000 * UJ_PER_JOULE
    return RunState(
        name=name,
        labels=labels,
        claims=(Claim(0, gpu_uuid(0), Phase.TRAIN),),
        cells={
            (Phase.TRAIN, "250"): Cell(train_uj, steps * 10**8, Counts(steps, steps * 32, 0)),
            (Phase.EVAL, "250"): Cell(eval_uj, 10**9, Counts(4, 0, 0)),
        },
        device_energy_uj={gpu_uuid(0): train_uj + eval_uj},
        start_seconds=WALL_SECONDS - 60,
        end_seconds=None,
        last_push_seconds={0: WALL_SECONDS - 1},
    )


def ended(run: RunState) -> RunState:
    return replace(run, claims=(), end_seconds=WALL_SECONDS - 5)


def a_snapshot(
    devices: Sequence[DeviceState] | None = None, runs: Sequence[RunState] = ()
) -> Snapshot:
    """Return a snapshot of two GPUs, or of those given."""
    return Snapshot(
        at_ns=AT_NS,
        wall_seconds=WALL_SECONDS,
        backend="simulated",
        devices=(a_device(0), a_device(1)) if devices is None else tuple(devices),
        runs=tuple(runs),
        budgets=(),
        pushes=dict.fromkeys(PushResult, 0),
        ticks=TickStats(7, 0.07, (0,) * len(TICK_BUCKETS_SECONDS) + (7,), WALL_SECONDS, {}),
    )
