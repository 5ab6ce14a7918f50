"""Showing the optimizer's decisions, once or round after round, and ending cleanly."""

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType

import click
from rich.console import Console

from joulestat.domain.errors import ConfigError, HistoryError
from joulestat.domain.plan import Action, Decision
from joulestat.optimizer.history.query_record import QueryRecord
from joulestat.optimizer.publish import LeasePublisher, Published
from joulestat.optimizer.rounds import Outcome
from joulestat.optimizer.show.explain import explain_numbers, explain_queries
from joulestat.optimizer.show.summary import as_summary_table
from joulestat.optimizer.show.table import as_table
from joulestat.optimizer.show.wire import as_json

ADVICE = 0
FAILURE = 1
NO_ADVICE = 3

PIPED_WIDTH_COLUMNS = 100
FEW_RUNS = 3
"""More runs are shown as one table, a line each."""


class Printer:
    """Writes decisions to standard output, and what went wrong to standard error."""

    def __init__(
        self,
        *,
        as_json: bool,
        several: bool,
        watching: bool,
        explained: Sequence[QueryRecord] | None = None,
    ) -> None:
        """Choose the form.

        Args:
            as_json: JSON instead of tables.
            several: More runs than one may be shown: an array, even of one.
            watching: Round follows round: one line per decision.
            explained: The round's queries, to be printed with the numbers; None to print neither.
        """
        self._explained = explained
        self._as_json = as_json
        self._several = several
        self._watching = watching

    def show(self, outcomes: Sequence[Outcome]) -> None:
        """Show one round."""
        decisions = [outcome.decision for outcome in outcomes if outcome.decision is not None]
        if not self._as_json:
            self._show_tables(decisions)
        elif self._watching:
            for decision in decisions:
                click.echo(as_json(decision, compact=True))
        elif self._several:
            click.echo(as_json(decisions))
        else:
            for decision in decisions:
                click.echo(as_json(decision))
        for outcome in outcomes:
            show_errors(f"{outcome.run}: ", outcome.errors)
            if outcome.published is not None:
                _show_published(outcome.run, outcome.published)

    def _show_tables(self, decisions: Sequence[Decision]) -> None:
        # Made anew each time: the terminal may have been resized since.
        console = Console(highlight=False, emoji=False)
        if not console.is_terminal:
            console.width = PIPED_WIDTH_COLUMNS
        if len(decisions) > FEW_RUNS:
            console.print(as_summary_table(decisions))
        else:
            for decision in decisions:
                console.print(as_table(decision))
                console.print()
        self._explain(console, decisions)

    def _explain(self, console: Console, decisions: Sequence[Decision]) -> None:
        if self._explained is None:
            return
        for decision in decisions:
            console.print(explain_numbers(decision))
        console.print(explain_queries(self._explained))


def show_errors(prefix: str, errors: Sequence[str]) -> None:
    """Write errors to standard error, one line each."""
    for error in errors:
        click.echo(f"joulestat optimize: {prefix}{error}", err=True)


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """Return 1 if anything failed, 0 if there is any advice, else 3."""
    if any(outcome.errors for outcome in outcomes):
        return FAILURE
    actions = [outcome.decision.action for outcome in outcomes if outcome.decision is not None]
    return ADVICE if any(action is not Action.NONE for action in actions) else NO_ADVICE


@dataclass(slots=True)
class Ending:
    """Whether somebody asked to end.

    A plain flag: the lock inside of a ``threading.Event`` may be held by the very thread that the
    signal handler interrupts, and setting it there would then never return.
    """

    asked: bool = False


@contextlib.contextmanager
def ended_by_signals() -> Iterator[Ending]:
    """Let SIGTERM and Ctrl-C end what is inside, once.

    The first of them sets the flag and raises KeyboardInterrupt, which breaks off whatever waits.
    With the flag set, further ones do nothing: what goes on then is the release of leases, which
    ends by itself.
    """
    ending = Ending()

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        if not ending.asked:
            ending.asked = True
            raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def watch(
    one_round: Callable[[], object], wait: Callable[[], object], keep: Callable[[], object]
) -> None:
    """Do rounds until broken off. A failed one is said, and the next one tries again.

    Args:
        one_round: Decides and shows.
        wait: Waits for the next round.
        keep: Called after a failed round.
    """
    while True:
        try:
            one_round()
        except (HistoryError, ConfigError) as error:
            show_errors("", (str(error),))
            keep()
        wait()


def release_all(publisher: LeasePublisher | None, *, keep_holds: bool) -> None:
    """End what was leased; what cannot be ended now ends by its time to live."""
    if publisher is not None:
        show_errors("", publisher.release(keep_holds=keep_holds).errors)


def _show_published(run: str, published: Published) -> None:
    for verb, uuids in (("leased", published.leased), ("released", published.released)):
        if uuids:
            click.echo(f"{verb} for {run}: {', '.join(uuids)}", err=True)
