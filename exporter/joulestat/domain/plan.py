"""What the optimizer measured, wants and decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from joulestat.domain.tariff import UNKNOWN_TARIFF, Tariff


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A run measured at one power limit.

    Attributes:
        power_limit_watts: Per-GPU limit, whole W.
        joules_per_step: Energy per step, all GPUs of the run, all nodes.
        seconds_per_step: Wall time per step.
        steps: Steps that this rests on.
        joules_per_step_stderr: Standard error, J; None on too few slices to say.
        seconds_per_step_stderr: Standard error, s; None on too few slices to say.
    """

    power_limit_watts: int
    joules_per_step: float
    seconds_per_step: float
    steps: int
    joules_per_step_stderr: float | None
    seconds_per_step_stderr: float | None


class Action(StrEnum):
    """What to do now."""

    HOLD = "hold"
    PROBE = "probe"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Expected:
    """What a limit is expected to bring against the reference limit.

    Attributes:
        energy_saving_ratio: 1 - E/E_ref per step; 0.14 is 14 % less energy.
        slowdown_ratio: T/T_ref per step; 1.03 is 3 % slower.
    """

    energy_saving_ratio: float
    slowdown_ratio: float


@dataclass(frozen=True, slots=True)
class Window:
    """The scrapes that a decision rests on, Unix seconds of the first and the last."""

    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, slots=True)
class FittedPoint:
    """The fitted curve at one limit, between or at measured ones; per step, all GPUs of the run.

    Attributes:
        power_limit_watts: Per-GPU limit, whole W.
        joules_per_step: Energy.
        seconds_per_step: Wall time.
        joules_per_step_stderr: Standard error, J, what the interpolation may be off included.
        seconds_per_step_stderr: Standard error, s, likewise.
    """

    power_limit_watts: int
    joules_per_step: float
    seconds_per_step: float
    joules_per_step_stderr: float
    seconds_per_step_stderr: float


@dataclass(frozen=True, slots=True)
class OtherLimit:
    """A limit at which a run would finish on its energy budget, where the chosen one does not.

    Attributes:
        power_limit_watts: Per GPU; the fastest of those that are known to do.
        expected_joules: What the run will have used at its end, J.
        slowdown_ratio: T/T_ref per step; 1.09 is 9 % slower than at the reference.
        measured: Whether the run was measured there; else it lies between measured limits.
        within_bound: Whether the objective would allow it; None where it has no bound in time.
    """

    power_limit_watts: int
    expected_joules: float
    slowdown_ratio: float
    measured: bool
    within_bound: bool | None


@dataclass(frozen=True, slots=True)
class BudgetForecast:
    """Whether a run finishes its planned steps on its energy budget.

    Attributes:
        joules: The budget.
        source: ``run`` where the run said so, ``option`` where it was given on the command line.
        spent_joules: Used so far, in all phases; None where unknown.
        steps_left: Planned steps still to be made; None where the run did not say how many.
        power_limit_watts: The limit that this is told for: the one to hold, else the reference.
        expected_joules: Used at the end, if the rest is done there; None where unknown.
        expected_joules_stderr: Its standard error, J; None where there is none to tell.
        finishes: Whether the budget suffices; None where that is unknown or too close to tell.
        instead: Where it does not, and another limit would.
        reason: All of that in a sentence for people.
    """

    joules: float
    source: str
    spent_joules: float | None
    steps_left: float | None
    power_limit_watts: int | None
    expected_joules: float | None
    expected_joules_stderr: float | None
    finishes: bool | None
    instead: OtherLimit | None
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision for one run: a pure function of its history.

    Attributes:
        run: Name of the run.
        action: hold this limit, probe it next, or no advice.
        power_limit_watts: The limit to hold or probe, per GPU; None with no advice.
        reason: Why, in one sentence for people.
        objective: Name and parameters, as asked.
        reference_power_limit_watts: The limit in force before any lease; None where unknown.
        points: What was measured, by limit, lowest first.
        expected: Against the reference, None where not both are known.
        window: The history used, None where there was none.
        gpu_uuids: The devices that the limit is for.
        gpu_power_limits_watts: Limit by device where they are not all to have the same one; empty
            otherwise.
        thin: What was measured too briefly to be held, by limit, lowest first.
        curve: The fit through the points, lowest limit first; empty with fewer than two.
        tariff: What a joule costs there.
        numbers: The numbers behind the decision, one sentence each, for ``--explain``.
        budget: Whether the run finishes on its energy budget; None where it has none.
    """

    run: str
    action: Action
    power_limit_watts: int | None
    reason: str
    objective: dict[str, str | float]
    reference_power_limit_watts: int | None
    points: tuple[OperatingPoint, ...]
    expected: Expected | None
    window: Window | None
    gpu_uuids: tuple[str, ...]
    gpu_power_limits_watts: Mapping[str, int] = field(default_factory=dict)
    thin: tuple[OperatingPoint, ...] = ()
    curve: tuple[FittedPoint, ...] = ()
    tariff: Tariff = UNKNOWN_TARIFF
    numbers: tuple[str, ...] = ()
    budget: BudgetForecast | None = None
