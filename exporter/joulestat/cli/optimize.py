"""``joulestat optimize``: from a run's history to the power limit that it should have."""

import contextlib
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import click

from joulestat.cli.optimize_files import write_files
from joulestat.cli.optimize_flags import Flags
from joulestat.cli.optimize_options import (
    control_options,
    goal_options,
    output_options,
    source_options,
)
from joulestat.cli.optimize_source import Source, opened
from joulestat.cli.optimizing import (
    FAILURE,
    Printer,
    ended_by_signals,
    exit_code,
    release_all,
    show_errors,
    watch,
)
from joulestat.domain.errors import AdminError, ConfigError, HistoryError
from joulestat.optimizer.publish import LeasePublisher
from joulestat.optimizer.rounds import Optimizer, Outcome


@click.command()
@source_options
@goal_options
@control_options
@output_options
@click.pass_context
def optimize(ctx: click.Context, /, **given: Any) -> None:
    """Find the power limit that a training run should have, from its history.

    The history is in a PromQL server (--prometheus.url), or the exporters' own (--history.file,
    --history.admin). Exits 0 with advice (hold or probe), 3 with none, 1 on failure, 2 on wrong
    usage.
    """
    flags = Flags(**given)
    flags.check(ctx)
    question = flags.question(ctx)
    try:
        with opened(flags) as source:
            publisher = flags.publisher()
            optimizer = Optimizer(source.history, question, publisher, source.read_gpus)
            sys.exit(_run(flags, optimizer, publisher, source))
    except (HistoryError, AdminError, ConfigError) as error:
        show_errors("", (str(error),))
        sys.exit(FAILURE)


def _run(
    flags: Flags, optimizer: Optimizer, publisher: LeasePublisher | None, source: Source
) -> int:
    """Decide once or until stopped; return the exit code."""
    runs = None if flags.run is None else [flags.run]
    printer = Printer(
        as_json=flags.output == "json",
        several=flags.all_runs,
        watching=flags.watch is not None,
        explained=source.records if flags.explain else None,
    )

    def decide(at_seconds: float | None) -> Sequence[Outcome]:
        source.records.clear()
        with source.progress():
            outcomes = optimizer.round(runs, at_seconds)
        printer.show(outcomes)
        write_files(flags, outcomes, source.records)
        return outcomes

    if flags.watch is not None:
        _watch(flags, flags.watch, lambda: decide(None), publisher)
        return 0
    try:
        outcomes = decide(flags.at)
    except BaseException:
        release_all(publisher, keep_holds=False)
        raise
    return exit_code(outcomes)


def _watch(
    flags: Flags,
    interval_seconds: float,
    one_round: Callable[[], object],
    publisher: LeasePublisher | None,
) -> None:
    """Decide round after round; at the end, release what was leased."""
    nothing = threading.Event()

    def keep() -> None:
        # Without a decision single limits may lapse; those of a budget must not, all at once.
        if publisher is not None and flags.power_budget_kw is not None:
            show_errors("", publisher.renew().errors)

    with ended_by_signals() as ending:
        try:
            with contextlib.suppress(KeyboardInterrupt):
                watch(one_round, lambda: nothing.wait(interval_seconds), keep)
        finally:
            ending.asked = True
            release_all(publisher, keep_holds=flags.keep_lease)
