"""Many runs in a terminal: a row for each with advice, totals, and why others have none."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from joulestat.domain.plan import Action, Decision
from joulestat.optimizer.history.facts import RunHistory
from joulestat.optimizer.show.saving import Saving, saving_per_day
from joulestat.optimizer.show.table import STYLES
from joulestat.optimizer.show.wording import counted, figure, percent, printable, verdict

LONGEST_NAME = 24
"""Characters of a run's name on one line, in a table of 80 columns."""

LONGEST_VERDICT = 17
"""Characters of "hold 220 to 300 W"; that it is by GPU stands under the run alone."""

_DIGITS = 3


@dataclass(frozen=True, slots=True)
class Line:
    """One run's decision, what it saves, and whether it goes on and so can save."""

    decision: Decision
    saving: Saving | None
    live: bool


@dataclass(frozen=True, slots=True)
class Totals:
    """What all runs that go on save per day together; None where none of them says.

    Attributes:
        kilowatt_hours: At the GPUs.
        money: By currency.
        kilograms_co2e: Carbon, of the runs whose grid is known.
    """

    kilowatt_hours: float | None
    money: Mapping[str, float]
    kilograms_co2e: float | None


def lines_of(
    decisions: Iterable[Decision], histories: Mapping[str, RunHistory] | None = None
) -> list[Line]:
    """Return a line per run: what saves most first, then probes, then runs without advice.

    Args:
        decisions: One per run.
        histories: By run; one that is not live saves nothing now. Without them all go on.
    """
    known = histories or {}
    lines = [
        Line(decision, saving_per_day(decision), _goes_on(known.get(decision.run)))
        for decision in decisions
    ]
    order = {Action.HOLD: 0, Action.PROBE: 1, Action.NONE: 2}
    return sorted(
        lines,
        key=lambda line: (
            order[line.decision.action],
            not line.live,
            -(line.saving.saved.kilowatt_hours if line.saving else 0.0),
            line.decision.run,
        ),
    )


def totals_of(lines: Iterable[Line]) -> Totals:
    """Return what the runs that go on save together."""
    savings = [line.saving for line in lines if line.saving is not None and line.live]
    money: dict[str, float] = {}
    carbon: list[float] = []
    for saving in savings:
        if saving.saved.money is not None:
            money[saving.currency] = money.get(saving.currency, 0.0) + saving.saved.money
        if saving.saved.kilograms_co2e is not None:
            carbon.append(saving.saved.kilograms_co2e)
    return Totals(
        kilowatt_hours=sum(s.saved.kilowatt_hours for s in savings) if savings else None,
        money=money,
        kilograms_co2e=sum(carbon) if carbon else None,
    )


def as_summary_table(
    decisions: Iterable[Decision], histories: Mapping[str, RunHistory] | None = None
) -> RenderableType:
    """Return many runs' decisions for a terminal; fits 80 columns.

    Args:
        decisions: One per run.
        histories: By run, to tell those that are not live; without them all count as live.
    """
    lines = lines_of(decisions, histories)
    advised = [line for line in lines if line.decision.action is not Action.NONE]
    silent = [line for line in lines if line.decision.action is Action.NONE]
    parts: list[RenderableType] = []
    if advised:
        parts += [_table(advised), Text()]
    parts.append(Text(in_total(lines), style="bold"))
    over = [line for line in lines if line.decision.budget and not line.decision.budget.finishes]
    if over:
        parts += [Text(), Text("Energy budgets that may not suffice:")]
        parts += [
            _about(line, line.decision.budget.reason) for line in over if line.decision.budget
        ]
    if silent:
        parts += [Text(), Text("Without advice:")]
        parts += [_about(line, line.decision.reason) for line in silent]
    return Group(*parts)


def in_total(lines: Sequence[Line]) -> str:
    """Return how many runs there are with which advice, and what they save together."""
    counts = {action: sum(line.decision.action is action for line in lines) for action in Action}
    names = {Action.HOLD: "to hold", Action.PROBE: "to probe", Action.NONE: "without advice"}
    said = ", ".join(f"{counts[action]:,} {name}" for action, name in names.items())
    runs = f"{counted(len(lines), 'run')}: {said}."
    totals = totals_of(lines)
    if totals.kilowatt_hours is None:
        return runs
    amounts = [f"{figure(totals.kilowatt_hours, _DIGITS)} kWh"]
    amounts += [f"{money:,.2f} {currency}" for currency, money in sorted(totals.money.items())]
    if totals.kilograms_co2e is not None:
        amounts.append(f"{figure(totals.kilograms_co2e, _DIGITS)} kg CO2e")
    return f"{runs} Saved per day: {', '.join(amounts)}."


def _table(lines: Iterable[Line]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("run", overflow="fold", max_width=LONGEST_NAME)
    table.add_column("decision", overflow="ellipsis", no_wrap=True, max_width=LONGEST_VERDICT)
    for heading in ("from", "energy", "time", "kWh/day"):
        table.add_column(heading, justify="right", no_wrap=True)
    for line in lines:
        decision, expected = line.decision, line.decision.expected
        watts = decision.reference_power_limit_watts
        table.add_row(
            Text(printable(decision.run)),
            Text(
                verdict(decision).partition(",")[0],
                style=STYLES[decision.action] if line.live else "",
            ),
            "" if watts is None else f"{watts} W",
            "" if expected is None else percent(-expected.energy_saving_ratio),
            "" if expected is None else percent(expected.slowdown_ratio - 1),
            _saved(line),
            style="" if line.live else "dim",
        )
    return table


def _saved(line: Line) -> str:
    if not line.live:
        return "not live"
    return "" if line.saving is None else figure(line.saving.saved.kilowatt_hours, _DIGITS)


def _about(line: Line, reason: str) -> Text:
    text = Text()
    text.append(printable(line.decision.run), style="yellow")
    text.append(f": {printable(reason)}")
    return text


def _goes_on(history: RunHistory | None) -> bool:
    return history is None or history.live
