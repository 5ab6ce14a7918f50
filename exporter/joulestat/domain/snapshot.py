"""The one published object: everything that a scrape shows, frozen at one instant."""

from collections.abc import Mapping
from dataclasses import dataclass

from joulestat.domain.device import Device, Reading
from joulestat.domain.energy import MeterState
from joulestat.domain.limit import PowerControl
from joulestat.domain.run import PushResult, RunState, UnattributedReason

TICK_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Upper bounds of the histogram ``tick_duration_seconds``; +Inf is implied."""


@dataclass(frozen=True, slots=True)
class DeviceState:
    """One device as of one tick.

    Attributes:
        device: Which GPU.
        up: Whether the last tick got a fresh, complete reading.
        reading: That reading; None when it failed, so that no old gauge is shown.
        meter: Its energy; stays when reading fails, because it is still true. None before the
            first reading.
        unattributed_uj: Energy that belongs to no run, by reason; every reason is present.
        control: Lease and writability.
    """

    device: Device
    up: bool
    reading: Reading | None
    meter: MeterState | None
    unattributed_uj: Mapping[UnattributedReason, int]
    control: PowerControl


@dataclass(frozen=True, slots=True)
class BudgetState:
    """One energy budget from the config file, and this node's share of its consumption."""

    name: str
    team: str
    limit_joules: float
    start_seconds: float
    end_seconds: float
    consumed_uj: int


@dataclass(frozen=True, slots=True)
class TickStats:
    """How the sampler itself is doing.

    Attributes:
        count: Ticks since start.
        sum_seconds: Their total duration.
        buckets: Ticks per bucket, *not* cumulative, one more than TICK_BUCKETS_SECONDS (+Inf).
        last_seconds: Unix time of the last tick.
        errors: Failed driver calls by (device UUID, call, error).
    """

    count: int
    sum_seconds: float
    buckets: tuple[int, ...]
    last_seconds: float
    errors: Mapping[tuple[str, str, str], int]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that a scrape shows, of one instant.

    Attributes:
        at_ns: CLOCK_MONOTONIC of the tick.
        wall_seconds: Unix time of the tick.
        backend: Name of the backend in use, or ``none``.
        devices: In order of index.
        runs: Live and lately ended runs, in order of name.
        budgets: From the config file.
        pushes: Pushes since start by result; every result is present.
        ticks: The sampler's own state.
        pushes_adjusted: Pushes since start whose time came from another clock and was replaced
            by that of their arrival.
        control_read_only: Whether no lease can be granted, because it could not be recorded or
            nobody answers who would; None where that is not known.
    """

    at_ns: int
    wall_seconds: float
    backend: str
    devices: tuple[DeviceState, ...]
    runs: tuple[RunState, ...]
    budgets: tuple[BudgetState, ...]
    pushes: Mapping[PushResult, int]
    ticks: TickStats
    pushes_adjusted: int = 0
    control_read_only: bool | None = None
