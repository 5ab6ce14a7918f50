"""A training run as it reports itself, and what is credited to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

TRANSITION = "transition"
"""Value of the label ``power_limit_watts`` where no single limit was in force all the time."""

MIXED = "mixed"
"""Value of the label ``power_limit_watts`` where the run's devices stood at different limits."""


class Phase(StrEnum):
    """What a run is busy with."""

    TRAIN = "train"
    EVAL = "eval"
    CHECKPOINT = "checkpoint"
    OTHER = "other"


class PushResult(StrEnum):
    """What became of a push."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


class UnattributedReason(StrEnum):
    """Why energy belongs to no run."""

    IDLE = "idle"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Counts:
    """Work done since a process started; all of them cumulative."""

    steps: int = 0
    samples: int = 0
    tokens: int = 0

    def __sub__(self, earlier: "Counts") -> "Counts":
        return Counts(
            self.steps - earlier.steps,
            self.samples - earlier.samples,
            self.tokens - earlier.tokens,
        )

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.steps + other.steps,
            self.samples + other.samples,
            self.tokens + other.tokens,
        )

    @property
    def any_negative(self) -> bool:
        """Whether one of the counts is below zero: cumulative counts that fell."""
        return self.steps < 0 or self.samples < 0 or self.tokens < 0


NO_COUNTS = Counts()


@dataclass(frozen=True, slots=True)
class RunLabels:
    """Whose run it is, for people; empty where the run did not say."""

    job: str = ""
    user: str = ""
    team: str = ""
    framework: str = ""


@dataclass(frozen=True, slots=True)
class Push:
    """One push of one rank: cumulative totals, and the phase that begins at ``at_ns``.

    A push closes the interval since the rank's previous one. That interval belongs to the
    phase that the *previous* push named; ``phase`` is the one in force from ``at_ns`` on.

    Attributes:
        run: Name of the run, 1 to 64 characters of ``[A-Za-z0-9._-]``.
        rank: Rank in the job, from 0.
        incarnation: One per process start; a restart from a checkpoint is a new one.
        seq: Rises with every push of an incarnation.
        at_ns: CLOCK_MONOTONIC as the last counted step ended, or as the phase changed.
        gpus: UUIDs of the devices that this rank holds.
        phase: What the run does from ``at_ns`` on.
        totals: Cumulative counts by phase since the incarnation started.
        labels: Whose run it is.
        energy_budget_joules: What the run may spend, None without a budget.
        planned_steps: How many training steps are planned, None where unknown.
        final: The rank is done: close the interval, end the claim.
        instead_of: Incarnation of a process that stood in for this one until it could tell for
            itself: its claim ends where this one begins. None without.
    """

    run: str
    rank: int
    incarnation: str
    seq: int
    at_ns: int
    gpus: tuple[str, ...]
    phase: Phase
    totals: Mapping[Phase, Counts] = field(default_factory=lambda: MappingProxyType({}))
    labels: RunLabels = RunLabels()
    energy_budget_joules: float | None = None
    planned_steps: int | None = None
    final: bool = False
    instead_of: str | None = None


@dataclass(frozen=True, slots=True)
class PushAnswer:
    """What a rank gets back.

    Attributes:
        accepted: False for a duplicate (already counted, nothing changed).
        seq: Highest sequence number known of this incarnation.
        instance: Identity of this exporter's memory: while it stays the same, energy never falls.
        energy_joules: The run's energy so far on this node, by device UUID.
        power_limit_watts: Limit in force by device UUID, where it is known.
    """

    accepted: bool
    seq: int
    instance: str
    energy_joules: Mapping[str, float]
    power_limit_watts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Cell:
    """What a run spent in one phase under one limit, on this node."""

    energy_uj: int = 0
    duration_ns: int = 0
    counts: Counts = NO_COUNTS


@dataclass(frozen=True, slots=True)
class Claim:
    """A rank holds a device."""

    rank: int
    device_uuid: str
    phase: Phase


@dataclass(frozen=True, slots=True)
class RunState:
    """One run on this node, as of one tick.

    Attributes:
        name: The run's name.
        labels: Whose run it is.
        claims: Which rank holds which device now; empty once it ended.
        cells: What was spent, by (phase, value of the label ``power_limit_watts``).
        device_energy_uj: The same joules by device UUID.
        start_seconds: Unix time of its first push on this node: its counters were born at 0 then.
        end_seconds: Unix time of its end, None while it runs.
        last_push_seconds: Unix time of the last push by rank.
        energy_budget_joules: What it may spend, None without a budget.
        planned_steps: Planned training steps, None where unknown.
    """

    name: str
    labels: RunLabels
    claims: tuple[Claim, ...]
    cells: Mapping[tuple[Phase, str], Cell]
    device_energy_uj: Mapping[str, int]
    start_seconds: float
    end_seconds: float | None
    last_push_seconds: Mapping[int, float]
    energy_budget_joules: float | None = None
    planned_steps: int | None = None
