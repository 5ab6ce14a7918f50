"""One decision in a terminal: what was measured, what is chosen, what it saves."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from joulestat.domain.plan import Action, Decision, Expected, FittedPoint, OperatingPoint
from joulestat.optimizer.show.saving import at_limit, reference_point, saving_per_day
from joulestat.optimizer.show.savings_table import overhead_note, savings_table
from joulestat.optimizer.show.wording import (
    counted,
    objective_words,
    percent,
    printable,
    verdict,
    window_words,
    with_error,
)

STYLES = {Action.HOLD: "bold green", Action.PROBE: "bold cyan", Action.NONE: "bold yellow"}

MOST_NAMED_GPUS = 4
"""Per limit; the rest is counted. JSON has them all."""


def as_table(decision: Decision) -> RenderableType:
    """Return the decision for a terminal; fits 80 columns, and reads well without colours."""
    headline = Text(f"{printable(decision.run)}: ")
    headline.append(verdict(decision), style=STYLES[decision.action])
    parts: list[RenderableType] = [headline, Text(printable(decision.reason))]
    if decision.points or decision.thin:
        parts += [Text(), points_table(decision)]
        legend = _legend(decision)
        if legend:
            parts.append(Text(legend, style="dim"))
    if decision.gpu_power_limits_watts:
        parts += [Text(), _limits_by_gpu(decision)]
    saving = saving_per_day(decision)
    # What holds the reference saves nothing, and its reason says so.
    if saving is not None and decision.expected is not None and saving.saved.kilowatt_hours:
        parts += [Text(), savings_table(saving), Text(in_words(decision.expected), style="bold")]
        note = overhead_note(decision, saving)
        parts += [Text(note, style="dim")] if note else []
        parts.append(Text())
    parts.append(Text(_basis(decision), style="dim"))
    return Group(*parts)


def in_words(expected: Expected) -> str:
    """Return "14.0 % less energy per step; steps take 3.0 % longer."."""
    saving = round(100 * expected.energy_saving_ratio, 1)
    longer = round(100 * (expected.slowdown_ratio - 1), 1)
    energy = f"{abs(saving):.1f} % {'less' if saving > 0 else 'more'}" if saving else "The same"
    pace = f"{abs(longer):.1f} % {'longer' if longer > 0 else 'shorter'}" if longer else "as long"
    return f"{energy} energy per step; steps take {pace}."


def points_table(decision: Decision) -> Table:
    """Return what was measured, highest limit first."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("limit", justify="right", no_wrap=True)
    for heading in ("J/step", "s/step", "steps", "energy", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    reference = reference_point(decision)
    for point in _shown(decision):
        brief = point in decision.thin
        chosen = point.power_limit_watts == decision.power_limit_watts
        table.add_row(
            f"{point.power_limit_watts} W",
            with_error(point.joules_per_step, point.joules_per_step_stderr),
            with_error(point.seconds_per_step, point.seconds_per_step_stderr),
            f"{point.steps}" if isinstance(point, OperatingPoint) else "",
            *against(point, reference),
            _mark(
                point,
                reference=point is reference,
                brief=brief,
                chosen=decision.action if chosen else None,
            ),
            style="bold" if chosen else "dim" if brief else "",
        )
    return table


def against(
    point: OperatingPoint | FittedPoint, reference: OperatingPoint | None
) -> tuple[str, str]:
    """Return energy and time beside the reference's, as signed percent."""
    if reference is None or point is reference:
        return "", ""
    energy = point.joules_per_step / reference.joules_per_step - 1
    time = point.seconds_per_step / reference.seconds_per_step - 1
    return percent(energy), percent(time)


def _shown(decision: Decision) -> list[OperatingPoint | FittedPoint]:
    """Return all measured points, and what the fit says of a limit chosen between them."""
    shown: list[OperatingPoint | FittedPoint] = [*decision.points, *decision.thin]
    chosen = at_limit(decision, decision.power_limit_watts)
    if isinstance(chosen, FittedPoint):
        shown.append(chosen)
    return sorted(shown, key=lambda point: -point.power_limit_watts)


def _mark(
    point: OperatingPoint | FittedPoint, *, reference: bool, brief: bool, chosen: Action | None
) -> str:
    marks = {
        "reference": reference,
        "brief": brief,
        "fit": isinstance(point, FittedPoint),
        f"<- {chosen.value if chosen else ''}": chosen is not None,
    }
    return " ".join(mark for mark, holds in marks.items() if holds)


def _legend(decision: Decision) -> str:
    shown = _shown(decision)
    notes = {
        "±: 95 % interval": any(point.joules_per_step_stderr is not None for point in shown),
        "brief: measured too briefly to be held": bool(decision.thin),
        "fit: between measured limits": any(isinstance(point, FittedPoint) for point in shown),
    }
    return "; ".join(note for note, holds in notes.items() if holds)


def _limits_by_gpu(decision: Decision) -> Table:
    """Return which GPU is to have which limit, highest first."""
    by_limit: dict[int, list[str]] = {}
    for uuid, watts in decision.gpu_power_limits_watts.items():
        by_limit.setdefault(watts, []).append(uuid)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("limit", justify="right", no_wrap=True)
    table.add_column("GPUs", justify="right", no_wrap=True)
    table.add_column("which", overflow="fold")
    for watts, uuids in sorted(by_limit.items(), reverse=True):
        named = [printable(uuid) for uuid in sorted(uuids)[:MOST_NAMED_GPUS]]
        unnamed = len(uuids) - len(named)
        which = ", ".join(named) + (f" and {unnamed:,} more" if unnamed else "")
        table.add_row(f"{watts} W", f"{len(uuids):,}", Text(which))
    return table


def _basis(decision: Decision) -> str:
    parts = [
        f"objective {objective_words(decision.objective)}",
        counted(len(decision.gpu_uuids), "GPU"),
    ]
    if decision.window is not None:
        window = window_words(decision.window)
        parts.append(f"history {window['start']} to {window['end']}")
    return ", ".join(parts)
