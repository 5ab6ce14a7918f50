"""What was measured, row by row, in words: for a terminal and for a page alike."""

from collections.abc import Iterable
from dataclasses import dataclass

from joulestat.domain.plan import Decision, FittedPoint, OperatingPoint
from joulestat.optimizer.show.saving import at_limit, reference_point
from joulestat.optimizer.show.wording import percent, with_error


@dataclass(frozen=True, slots=True)
class PointRow:
    """One limit as people read it; empty where there is nothing to say.

    Attributes:
        limit: The limit, with its unit.
        energy: J/step with its relative 95 % interval.
        time: s/step, likewise.
        steps: How many this rests on.
        energy_against: Difference to the reference, signed percent.
        time_against: Likewise.
        marks: What this limit is, such as "reference".
        chosen: ``hold`` or ``probe`` at the chosen limit.
        brief: Whether it was measured too briefly to be held.
        fitted: Whether it was not measured, but lies between measured limits.
    """

    limit: str
    energy: str
    time: str
    steps: str
    energy_against: str
    time_against: str
    marks: tuple[str, ...]
    chosen: str
    brief: bool
    fitted: bool


def point_rows(decision: Decision) -> list[PointRow]:
    """Return all measured limits, highest first, and what the fit says of one chosen between."""
    shown: list[OperatingPoint | FittedPoint] = [*decision.points, *decision.thin]
    chosen = at_limit(decision, decision.power_limit_watts)
    if isinstance(chosen, FittedPoint):
        shown.append(chosen)
    reference = reference_point(decision)
    return [
        _row(decision, point, reference)
        for point in sorted(shown, key=lambda point: -point.power_limit_watts)
    ]


def legend(rows: Iterable[PointRow]) -> list[str]:
    """Return what the signs in these rows mean, as far as they are used."""
    known = list(rows)
    notes = {
        "±: 95 % interval": any("±" in row.energy + row.time for row in known),
        "brief: measured too briefly to be held": any(row.brief for row in known),
        "fit: between measured limits": any(row.fitted for row in known),
    }
    return [note for note, holds in notes.items() if holds]


def _row(
    decision: Decision, point: OperatingPoint | FittedPoint, reference: OperatingPoint | None
) -> PointRow:
    brief, fitted = point in decision.thin, isinstance(point, FittedPoint)
    marks = {"reference": point is reference, "brief": brief, "fit": fitted}
    is_chosen = point.power_limit_watts == decision.power_limit_watts
    energy_against, time_against = _against(point, reference)
    return PointRow(
        limit=f"{point.power_limit_watts} W",
        energy=with_error(point.joules_per_step, point.joules_per_step_stderr),
        time=with_error(point.seconds_per_step, point.seconds_per_step_stderr),
        steps=f"{point.steps}" if isinstance(point, OperatingPoint) else "",
        energy_against=energy_against,
        time_against=time_against,
        marks=tuple(mark for mark, holds in marks.items() if holds),
        chosen=decision.action.value if is_chosen else "",
        brief=brief,
        fitted=fitted,
    )


def _against(
    point: OperatingPoint | FittedPoint, reference: OperatingPoint | None
) -> tuple[str, str]:
    """Return energy and time beside the reference's, as signed percent."""
    if reference is None or point is reference:
        return "", ""
    energy = point.joules_per_step / reference.joules_per_step - 1
    time = point.seconds_per_step / reference.seconds_per_step - 1
    return percent(energy), percent(time)
