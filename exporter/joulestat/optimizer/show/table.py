"""Decisions for people (a table) and for programs (JSON)."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from joulestat.domain.plan import Action, Decision, OperatingPoint, Window
from joulestat.domain.units import same_limit

SIGNIFICANT_DIGITS = 4
"""Of figures in tables; those of whole numbers are all shown, without an exponent."""

STYLES = {Action.HOLD: "bold green", Action.PROBE: "bold cyan", Action.NONE: "bold yellow"}


def as_json_object(decision: Decision) -> dict[str, Any]:
    """Return the decision as the JSON contract has it: SI units, times in RFC 3339, null unknown.

    ``expected.slowdown_ratio`` 1.03 is 3 % slower; ``energy_saving_ratio`` 0.14 is 14 % less.
    """
    return {
        "run": decision.run,
        "decision": decision.action.value,
        "power_limit_watts": decision.power_limit_watts,
        "reason": decision.reason,
        "objective": decision.objective,
        "reference_power_limit_watts": decision.reference_power_limit_watts,
        "points": [asdict(point) for point in decision.points],
        "expected": None if decision.expected is None else asdict(decision.expected),
        "window": None if decision.window is None else _window(decision.window),
        "gpu_uuids": list(decision.gpu_uuids),
    }


def as_json(decision: Decision | Iterable[Decision], *, compact: bool = False) -> str:
    """Return one decision as a JSON object, several as an array.

    Args:
        decision: What to show.
        compact: On one line, as a stream of decisions wants it.
    """
    shown = (
        as_json_object(decision)
        if isinstance(decision, Decision)
        else [as_json_object(item) for item in decision]
    )
    return json.dumps(shown, ensure_ascii=False, allow_nan=False, indent=None if compact else 2)


def as_table(decision: Decision) -> RenderableType:
    """Return the decision for a terminal; fits 80 columns, and reads well without colours."""
    headline = Text()
    headline.append(f"{_printable(decision.run)}: ")
    headline.append(_action(decision), style=STYLES[decision.action])
    parts: list[RenderableType] = [headline, Text(decision.reason)]
    if decision.points:
        parts += [Text(), _points(decision)]
    parts.append(Text(_basis(decision), style="dim"))
    return Group(*parts)


def _printable(text: str) -> str:
    """Escape control characters: a run's name must not steer the terminal."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _action(decision: Decision) -> str:
    if decision.action is Action.NONE:
        return "no advice"
    return f"{decision.action.value} {decision.power_limit_watts} W"


def _points(decision: Decision) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("limit", justify="right", no_wrap=True)
    for heading in ("J/step", "s/step", "steps", "energy", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    reference = _reference(decision)
    for point in sorted(decision.points, key=lambda item: -item.power_limit_watts):
        chosen = point.power_limit_watts == decision.power_limit_watts
        table.add_row(
            f"{point.power_limit_watts} W",
            _measured(point.joules_per_step, point.joules_per_step_stderr),
            _measured(point.seconds_per_step, point.seconds_per_step_stderr),
            f"{point.steps}",
            *_against(point, reference),
            _mark(point, reference, decision.action if chosen else None),
            style="bold" if chosen else "",
        )
    return table


def _mark(point: OperatingPoint, reference: OperatingPoint | None, chosen: Action | None) -> str:
    marks = ["reference"] if point is reference else []
    if chosen is not None:
        marks.append(f"<- {chosen.value}")
    return " ".join(marks)


def _reference(decision: Decision) -> OperatingPoint | None:
    watts = decision.reference_power_limit_watts
    if watts is None:
        return None
    return next((p for p in decision.points if same_limit(p.power_limit_watts, watts)), None)


def _against(point: OperatingPoint, reference: OperatingPoint | None) -> tuple[str, str]:
    """Return energy and time beside the reference's, as signed percent."""
    if reference is None or point is reference:
        return "", ""
    energy = point.joules_per_step / reference.joules_per_step - 1
    time = point.seconds_per_step / reference.seconds_per_step - 1
    return f"{100 * energy:+.1f} %", f"{100 * time:+.1f} %"


def _measured(value: float, stderr: float | None) -> str:
    """Return a value with its relative error, which compares at a glance."""
    error = "" if stderr is None else f" ± {100 * stderr / value:.1f} %"
    decimals = max(0, SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:.{decimals}f}{error}"


def _basis(decision: Decision) -> str:
    objective = " ".join(
        f"{key}={value}" if key != "name" else str(value)
        for key, value in decision.objective.items()
    )
    gpus = f"{len(decision.gpu_uuids)} GPU{'s' if len(decision.gpu_uuids) != 1 else ''}"
    if decision.window is None:
        return f"objective {objective}, {gpus}"
    window = _window(decision.window)
    return f"objective {objective}, {gpus}, history {window['start']} to {window['end']}"


def _window(window: Window) -> dict[str, str]:
    return {"start": _rfc3339(window.start_seconds), "end": _rfc3339(window.end_seconds)}


def _rfc3339(unix_seconds: float) -> str:
    moment = datetime.fromtimestamp(unix_seconds, UTC)
    text = moment.isoformat(timespec="seconds" if moment.microsecond == 0 else "milliseconds")
    return text.replace("+00:00", "Z")
