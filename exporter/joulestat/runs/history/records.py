"""What a history file answers: the same records whether read from the file or over HTTP.

Times are Unix seconds. "As of" a moment means that nothing later was looked at.
"""

from dataclasses import dataclass

from joulestat.domain.tariff import Tariff


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """Whose history it is.

    Attributes:
        node: Name of the host.
        instance: Identity of the exporter's memory: two files with the same one are one node.
        begun_seconds: Where the history begins.
        beat_seconds: The newest look as of the moment asked about, None before the first.
        tariff: What a joule costs there.
    """

    node: str
    instance: str
    begun_seconds: float
    beat_seconds: float | None
    tariff: Tariff


@dataclass(frozen=True, slots=True)
class SpellRecord:
    """A time in which a run was not over; ``is_over`` says that it was at the end."""

    start_seconds: float
    end_seconds: float
    is_over: bool


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run.

    Attributes:
        run: Its name.
        job: Its job label, empty where it has none; so are the other labels.
        user: Whose it is.
        team: Which team's.
        framework: What it trains with.
        start_seconds: Its first push on this node.
        last_push_seconds: Its last one.
        planned_steps: None where it did not say.
        energy_budget_joules: Likewise.
        gpu_models: Of the GPUs that it held.
        spells: In order of time.
    """

    run: str
    job: str
    user: str
    team: str
    framework: str
    start_seconds: float
    last_push_seconds: float
    planned_steps: int | None
    energy_budget_joules: float | None
    gpu_models: tuple[str, ...]
    spells: tuple[SpellRecord, ...]


@dataclass(frozen=True, slots=True)
class RowRecord:
    """What one (phase, limit) of a run grew by in one window; exact sums.

    Attributes:
        window_seconds: Where the window begins: a whole multiple of its length.
        start_seconds: Where the first interval in it began.
        end_seconds: The last look in it.
        phase: Which phase.
        power_limit_watts: As the label of that name.
        steps: Steps that this node counted.
        duration_ns: Time that they took.
        energy_uj: Energy of the run's devices on this node.
        samples: Samples.
        tokens: Tokens.
        slowed_ms: How long heat or the power supply slowed one of those devices.
        watched_ms: Out of so long; 0 where the driver does not say.
    """

    window_seconds: float
    start_seconds: float
    end_seconds: float
    phase: str
    power_limit_watts: str
    steps: int
    duration_ns: int
    energy_uj: int
    samples: int
    tokens: int
    slowed_ms: int
    watched_ms: int


@dataclass(frozen=True, slots=True)
class TotalRecord:
    """One (phase, limit) of a run over all its time, rows that were pruned included."""

    phase: str
    power_limit_watts: str
    steps: int
    duration_ns: int
    energy_uj: int
    samples: int
    tokens: int


@dataclass(frozen=True, slots=True)
class LimitRecord:
    """A time in which a device stood at a limit, W; without a target no lease held one."""

    start_seconds: float
    end_seconds: float
    enforced_watts: float
    target_watts: float | None


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """A device and its limits over the time asked about, in order of time."""

    gpu_uuid: str
    model: str
    default_watts: float | None
    min_watts: float | None
    max_watts: float | None
    limits: tuple[LimitRecord, ...]


@dataclass(frozen=True, slots=True)
class RunsPage:
    """Runs in order of name; ``next_after`` is the name to ask on from, None at the end."""

    node: NodeRecord
    runs: tuple[RunRecord, ...]
    next_after: str | None


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """One run on one node.

    Attributes:
        node: Which node.
        run: None where the node does not know it.
        is_held: Whether it held the devices at the newest look.
        devices: Those that it held then, or last.
        shared_with: Other runs that held one of them at the newest look.
        rows: In order of time.
        totals: Of all its time as of the end asked about.
        next_start_seconds: Where to ask on for further rows, None at the end.
    """

    node: NodeRecord
    run: RunRecord | None
    is_held: bool
    devices: tuple[DeviceRecord, ...]
    shared_with: tuple[str, ...]
    rows: tuple[RowRecord, ...]
    totals: tuple[TotalRecord, ...]
    next_start_seconds: float | None
