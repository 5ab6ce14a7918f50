"""What ``--explain`` shows: each query that was asked, and each number behind a decision."""

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from joulestat.domain.plan import Decision
from joulestat.optimizer.history.query_record import QueryRecord
from joulestat.optimizer.show.wording import counted, duration_words, printable, size_words

_INDENT = (0, 0, 0, 3)


def explain(decision: Decision, records: Sequence[QueryRecord]) -> RenderableType:
    """Return the numbers behind a decision and the queries that brought them, for a terminal."""
    return Group(explain_numbers(decision), Text(), explain_queries(records))


def explain_numbers(decision: Decision) -> RenderableType:
    """Return the numbers behind one decision, a line each."""
    parts: list[RenderableType] = [
        Text(f"The numbers behind {printable(decision.run)}", style="bold")
    ]
    if not decision.numbers:
        parts.append(Padding(Text("none", style="dim"), _INDENT))
    parts += [Padding(Text(f"- {printable(number)}"), _INDENT) for number in decision.numbers]
    return Group(*parts)


def explain_queries(records: Sequence[QueryRecord]) -> RenderableType:
    """Return every query with what it cost, in the order asked; nothing is cut short."""
    parts: list[RenderableType] = [Text(total_words(records), style="bold")]
    for number, record in enumerate(records, start=1):
        parts.append(Text(f"{number}. {_cost(record)}", style="dim"))
        # Not printable(): a query of many lines is meant to be copied as it is.
        lines = "\n".join(printable(line) for line in record.expression.splitlines())
        parts.append(Padding(Text(lines, overflow="fold"), _INDENT))
    return Group(*parts)


def total_words(records: Iterable[QueryRecord]) -> str:
    """Return how many queries there were and what all of them cost together."""
    known = list(records)
    return (
        f"{counted(len(known), 'query', 'queries')}: "
        f"{counted(sum(r.n_points for r in known), 'point')}, "
        f"{size_words(sum(r.n_bytes for r in known))}, "
        f"{duration_words(sum(r.seconds for r in known))}"
    )


def asked_words(record: QueryRecord) -> str:
    """Return what span was asked for, in which steps."""
    if record.span_seconds <= 0:
        return "one moment"
    span = f"over {duration_words(record.span_seconds)}"
    if record.step_seconds is None:
        return f"{span}, as stored"
    return f"{span} every {duration_words(record.step_seconds)}"


def _cost(record: QueryRecord) -> str:
    return (
        f"{printable(record.endpoint)}, {asked_words(record)}: {record.n_series:,} series, "
        f"{counted(record.n_points, 'point')}, {size_words(record.n_bytes)}, "
        f"{duration_words(record.seconds)}"
    )
