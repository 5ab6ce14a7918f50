"""A report in a terminal, and as programs read it."""

import json
from collections.abc import Iterator
from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from joulestat.domain.units import JOULES_PER_KWH
from joulestat.optimizer.show.wording import (
    counted,
    duration_words,
    figure,
    printable,
    rfc3339,
)
from joulestat.report.carbon import Carbon
from joulestat.report.growth import by_hour
from joulestat.report.report import Report

MOST_GPUS = 16
"""More are shown as one line a node. JSON has them all."""

_JOULE_UNITS = ((1e9, "GJ"), (1e6, "MJ"), (1e3, "kJ"), (1.0, "J"))
_GRAM_UNITS = ((1e6, "t"), (1e3, "kg"), (1.0, "g"), (1e-3, "mg"))


def as_json(report: Report) -> str:
    """Return a report as one JSON object: SI units, times in RFC 3339, null unknown.

    ``gpus`` are by node and then by index; a model card has them in the order of the UUIDs.
    ``hours`` add up to ``joules``, so that emissions can be computed again by anyone.
    """
    energy, carbon = report.energy, report.carbon
    shown = {
        "run": energy.run,
        "start": rfc3339(energy.start_seconds),
        "begins": [rfc3339(at_seconds) for at_seconds in energy.births_seconds],
        "end": rfc3339(energy.end_seconds),
        "ended": energy.ended,
        "joules": energy.joules,
        "gpus": [asdict(gpu) for gpu in energy.gpus],
        "joules_by_phase": dict(energy.joules_by_phase),
        "hours": [
            {"start": rfc3339(at_seconds), "joules": joules}
            for at_seconds, joules in by_hour(energy.portions).items()
        ],
        "carbon": None if carbon is None else asdict(carbon),
        "emissions": None if report.emissions is None else asdict(report.emissions),
        "missing": list(report.missing),
        "problems": list(energy.problems),
    }
    return json.dumps(shown, ensure_ascii=False, allow_nan=False, indent=2)


def as_table(report: Report) -> RenderableType:
    """Return a report for a terminal; fits 80 columns, and reads well without colours."""
    energy = report.energy
    took = f"{_scaled(energy.joules, _JOULE_UNITS)} ({_kilowatt_hours(energy.joules)} kWh)"
    headline = Text(f"{printable(energy.run)}: ")
    headline.append(took, style="bold green")
    span = duration_words(max(energy.end_seconds - energy.start_seconds, 0.0))
    headline.append(f" on {counted(len(energy.gpus), 'GPU')} in {span}")
    start, end = rfc3339(round(energy.start_seconds)), rfc3339(round(energy.end_seconds))
    when = Text(f"{start} to {end}", style="dim")
    parts: list[RenderableType] = [headline, when, Text(), _gpus(report), Text(), _phases(report)]
    if report.carbon is not None:
        parts += [Text(), Text(_carbon_words(report.carbon, energy.joules))]
    if energy.problems or report.missing:
        parts += [Text(), _notes(report)]
    return Group(*parts)


def _notes(report: Report) -> Table:
    """Return what is doubtful and what is missing, a bullet each."""
    table = Table.grid(padding=(0, 1, 0, 0))
    for notes, style in ((report.energy.problems, "yellow"), (report.missing, "dim")):
        for note in notes:
            table.add_row(Text("-", style=style), Text(printable(note), style=style))
    return table


def _gpus(report: Report) -> Table:
    table = _table("node", "GPU", "model", right=("energy", "share"))
    energy = report.energy
    for node, gpu, model, joules in _rows(report):
        table.add_row(
            Text(printable(node)),
            Text(printable(gpu)),
            Text(printable(model)),
            _scaled(joules, _JOULE_UNITS),
            _share(joules, energy.joules),
        )
    return table


def _rows(report: Report) -> Iterator[tuple[str, str, str, float]]:
    """Yield node, GPU, model and joules: GPU by GPU, or node by node where there are many."""
    gpus = report.energy.gpus
    if len(gpus) <= MOST_GPUS:
        for gpu in gpus:
            yield gpu.node, gpu.gpu, gpu.model, gpu.joules
        return
    for node in sorted({gpu.node for gpu in gpus}):
        mine = [gpu for gpu in gpus if gpu.node == node]
        models = ", ".join(sorted({gpu.model for gpu in mine}))
        yield node, counted(len(mine), "GPU"), models, sum(gpu.joules for gpu in mine)


def _phases(report: Report) -> Table:
    table = _table("phase", right=("energy", "share"))
    phases = report.energy.joules_by_phase
    total = sum(phases.values())
    for phase, joules in sorted(phases.items(), key=lambda item: -item[1]):
        shown = _scaled(joules, _JOULE_UNITS)
        table.add_row(Text(printable(phase)), shown, _share(joules, total))
    return table


def _table(*left: str, right: tuple[str, ...]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in left:
        table.add_column(heading, overflow="fold")
    for heading in right:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _carbon_words(carbon: Carbon, joules: float) -> str:
    overhead = "" if carbon.pue_ratio is None else f" x PUE {carbon.pue_ratio:g}"
    about = ", ".join(text for text in (carbon.source, carbon.zone) if text)
    noted = f" ({printable(about)})" if about else ""
    return (
        f"{_scaled(carbon.grams, _GRAM_UNITS)} CO2e = {_kilowatt_hours(joules)} kWh{overhead} x "
        f"{figure(carbon.grams_per_kwh)} g/kWh{noted}"
    )


def _kilowatt_hours(joules: float) -> str:
    return figure(joules / JOULES_PER_KWH)


def _scaled(amount: float, units: tuple[tuple[float, str], ...]) -> str:
    """Return an amount in the largest unit of which it is one at least."""
    size, unit = next((pair for pair in units if amount >= pair[0]), units[-1])
    return f"{figure(amount / size)} {unit}"


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole > 0 else ""
