"""One decision in a terminal: what was measured, what is chosen, what it saves."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from joulestat.domain.plan import Action, Decision
from joulestat.optimizer.show.rows import PointRow, legend, point_rows
from joulestat.optimizer.show.saving import saving_per_day
from joulestat.optimizer.show.savings_table import overhead_note, savings_table
from joulestat.optimizer.show.wording import (
    counted,
    in_words,
    objective_words,
    printable,
    verdict,
    window_words,
)

STYLES = {Action.HOLD: "bold green", Action.PROBE: "bold cyan", Action.NONE: "bold yellow"}

_BUDGET_STYLES = {True: "green", False: "bold red", None: "yellow"}

MOST_NAMED_GPUS = 4
"""Per limit; the rest is counted. JSON has them all."""


def as_table(decision: Decision) -> RenderableType:
    """Return the decision for a terminal; fits 80 columns, and reads well without colours."""
    headline = Text(f"{printable(decision.run)}: ")
    headline.append(verdict(decision), style=STYLES[decision.action])
    parts: list[RenderableType] = [headline, Text(printable(decision.reason))]
    if decision.points or decision.thin:
        rows = point_rows(decision)
        parts += [Text(), _points(rows)]
        notes = "; ".join(legend(rows))
        parts += [Text(notes, style="dim")] if notes else []
    if decision.gpu_power_limits_watts:
        parts += [Text(), _limits_by_gpu(decision)]
    outlook = [*_saving(decision), *_budget(decision)]
    parts += [*outlook, Text()] if outlook else []
    parts.append(Text(_basis(decision), style="dim"))
    return Group(*parts)


def _saving(decision: Decision) -> list[RenderableType]:
    """Return what the decision saves, after a blank line; nothing where it saves nothing."""
    saving = saving_per_day(decision)
    # What holds the reference saves nothing, and its reason says so.
    if saving is None or decision.expected is None or not saving.saved.kilowatt_hours:
        return []
    note = overhead_note(decision, saving)
    return [
        Text(),
        savings_table(saving),
        Text(in_words(decision.expected), style="bold"),
        *([Text(note, style="dim")] if note else []),
    ]


def _budget(decision: Decision) -> list[RenderableType]:
    """Return whether the run finishes on its energy budget, after a blank line."""
    if decision.budget is None:
        return []
    style = _BUDGET_STYLES[decision.budget.finishes]
    return [Text(), Text(decision.budget.reason, style=style)]


def _points(rows: Iterable[PointRow]) -> Table:
    """Return what was measured, highest limit first."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("limit", justify="right", no_wrap=True)
    for heading in ("J/step", "s/step", "steps", "energy", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for row in rows:
        chosen = [f"<- {row.chosen}"] if row.chosen else []
        table.add_row(
            row.limit,
            row.energy,
            row.time,
            row.steps,
            row.energy_against,
            row.time_against,
            " ".join([*row.marks, *chosen]),
            style="bold" if chosen else "dim" if row.brief else "",
        )
    return table


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
