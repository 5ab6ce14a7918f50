"""Decisions as one self-contained HTML file: no script, nothing loaded from anywhere.

Importing this takes matplotlib, half a second: only what writes such a page imports it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from joulestat import __version__
from joulestat.domain.plan import Decision
from joulestat.optimizer.history.facts import RunHistory
from joulestat.optimizer.history.query_record import QueryRecord
from joulestat.optimizer.show.explain import asked_words, total_words
from joulestat.optimizer.show.inline_svg import inline_svg
from joulestat.optimizer.show.plot import pictures
from joulestat.optimizer.show.rows import PointRow, legend, point_rows
from joulestat.optimizer.show.saving import saving_per_day
from joulestat.optimizer.show.savings_table import amounts, overhead_note
from joulestat.optimizer.show.summary import Line, in_total, lines_of
from joulestat.optimizer.show.wording import (
    counted,
    duration_words,
    figure,
    in_words,
    objective_words,
    percent,
    printable,
    rfc3339,
    size_words,
    verdict,
)

MOST_DRAWN_RUNS = 20
"""A run's pictures take a second and 130 kB: those that save most have them."""

_TEMPLATE = "page.html.jinja"


@dataclass(frozen=True, slots=True)
class _Figure:
    title: str
    svg: str


@dataclass(frozen=True, slots=True)
class _Section:
    """One run on the page, in words; what is unknown is empty."""

    anchor: str
    run: str
    action: str
    verdict: str
    reason: str
    in_words: str
    amounts: list[tuple[str, str, str]]
    saving_at: str
    overhead: str
    rows: list[PointRow]
    legend: list[str]
    limits_by_gpu: list[tuple[str, int]]
    figures: list[_Figure]
    facts: list[tuple[str, str]]
    numbers: list[str]


@dataclass(frozen=True, slots=True)
class _SummaryRow:
    anchor: str
    run: str
    action: str
    verdict: str
    live: bool
    reference: str
    energy: str
    time: str
    saved: str
    reason: str


def html_report(
    runs: Sequence[tuple[Decision, RunHistory | None]],
    queries: Sequence[QueryRecord],
    generated_at_seconds: float,
    command: str = "",
    *,
    most_drawn_runs: int = MOST_DRAWN_RUNS,
) -> str:
    """Return the page.

    Args:
        runs: Each run's decision and history; a history that is None leaves its pictures out.
        queries: Every query that was asked for them.
        generated_at_seconds: Unix time to write on it.
        command: What repeats it (``repeat_command``); empty leaves that section out.
        most_drawn_runs: So many have pictures, those that save most.
    """
    histories = {decision.run: known for decision, known in runs if known is not None}
    lines = lines_of((decision for decision, _ in runs), histories)
    sections = list(_sections(lines, histories, most_drawn_runs))
    page = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    ).get_template(_TEMPLATE)
    return page.render(
        title=_title(lines),
        version=__version__,
        generated_at=rfc3339(round(generated_at_seconds)),
        sections=sections,
        summary=[_summary_row(line, index) for index, line in enumerate(lines)],
        in_total=in_total(lines),
        most_drawn=most_drawn_runs,
        queries_total=total_words(queries),
        queries=[
            {
                "expression": record.expression,
                "endpoint": record.endpoint,
                "asked": asked_words(record),
                "series": f"{record.n_series:,}",
                "points": counted(record.n_points, "point"),
                "size": size_words(record.n_bytes),
                "took": duration_words(record.seconds),
            }
            for record in queries
        ],
        command=command,
    )


def _title(lines: Sequence[Line]) -> str:
    if len(lines) == 1:
        return f"{printable(lines[0].decision.run)}: {verdict(lines[0].decision)}"
    return f"Power limits of {counted(len(lines), 'run')}"


def _sections(
    lines: Sequence[Line], histories: Mapping[str, RunHistory], most_drawn_runs: int
) -> Iterator[_Section]:
    for index, line in enumerate(lines):
        decision, history = line.decision, histories.get(line.decision.run)
        saving = saving_per_day(decision)
        saves = saving is not None and saving.saved.kilowatt_hours != 0
        rows = point_rows(decision)
        yield _Section(
            anchor=_anchor(index),
            run=printable(decision.run),
            action=decision.action.value,
            verdict=verdict(decision),
            reason=printable(decision.reason),
            in_words=in_words(decision.expected) if saves and decision.expected else "",
            amounts=amounts(saving) if saves and saving else [],
            saving_at=f"{saving.reference_watts} W" if saving else "",
            overhead=overhead_note(decision, saving) if saves and saving else "",
            rows=rows,
            legend=legend(rows),
            limits_by_gpu=sorted(decision.gpu_power_limits_watts.items()),
            figures=list(_figures(decision, history, index)) if index < most_drawn_runs else [],
            facts=list(_facts(decision, history)),
            numbers=[printable(number) for number in decision.numbers],
        )


def _summary_row(line: Line, index: int) -> _SummaryRow:
    decision, expected = line.decision, line.decision.expected
    watts = decision.reference_power_limit_watts
    return _SummaryRow(
        anchor=_anchor(index),
        run=printable(decision.run),
        action=decision.action.value,
        verdict=verdict(decision),
        live=line.live,
        reference="" if watts is None else f"{watts} W",
        energy="" if expected is None else percent(-expected.energy_saving_ratio),
        time="" if expected is None else percent(expected.slowdown_ratio - 1),
        saved="" if line.saving is None else figure(line.saving.saved.kilowatt_hours, 3),
        reason=printable(decision.reason),
    )


def _figures(decision: Decision, history: RunHistory | None, index: int) -> Iterator[_Figure]:
    for number, picture in enumerate(pictures(decision, history)):
        yield _Figure(picture.title, inline_svg(picture.svg, picture.alt, f"r{index}p{number}-"))


def _facts(decision: Decision, history: RunHistory | None) -> Iterator[tuple[str, str]]:
    """Yield what the decision stands on, as far as it is known."""
    yield "objective", objective_words(decision.objective)
    if decision.budget is not None:
        yield "energy budget", decision.budget.reason
    if decision.reference_power_limit_watts is not None:
        yield "reference limit", f"{decision.reference_power_limit_watts} W per GPU"
    model = printable(history.gpu_model) if history is not None else ""
    yield "GPUs", f"{counted(len(decision.gpu_uuids), 'GPU')} {model}".rstrip()
    if history is not None and history.slices:
        nodes = {item.node for item in history.slices}
        yield "nodes", f"{len(nodes):,}"
    if decision.window is not None:
        window = decision.window
        lasts = duration_words(window.end_seconds - window.start_seconds)
        yield (
            "history",
            f"{rfc3339(window.start_seconds)} to {rfc3339(window.end_seconds)}, {lasts}",
        )
    yield from _tariff_facts(decision)


def _tariff_facts(decision: Decision) -> Iterator[tuple[str, str]]:
    tariff = decision.tariff
    if tariff.price_per_kilowatt_hour is not None:
        yield "price", f"{tariff.price_per_kilowatt_hour:g} {printable(tariff.currency)} per kWh"
    if tariff.carbon_grams_per_kilowatt_hour is not None:
        zone = f" ({printable(tariff.zone)})" if tariff.zone else ""
        yield "grid", f"{tariff.carbon_grams_per_kilowatt_hour:g} g CO2e per kWh{zone}"
    if tariff.pue_ratio is not None:
        yield "PUE", f"{tariff.pue_ratio:g}"


def _anchor(index: int) -> str:
    return f"run-{index + 1}"
