"""``joulestat optimize``: from a run's history in Prometheus to the power limit it should have."""

import contextlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from joulestat.cli.moments import Duration, Moment
from joulestat.cli.optimize_flags import Flags
from joulestat.cli.optimizing import (
    FAILURE,
    Printer,
    ended_by_signals,
    exit_code,
    release_all,
    show_errors,
    watch,
)
from joulestat.domain.errors import AdminError, HistoryError
from joulestat.optimizer.evidence.profile import Minimum
from joulestat.optimizer.history.prometheus import PrometheusHistory
from joulestat.optimizer.publish import LeasePublisher
from joulestat.optimizer.rounds import Optimizer

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option(
    "--prometheus.url",
    "prometheus_url",
    required=True,
    envvar="JOULESTAT_PROMETHEUS_URL",
    metavar="URL",
    help="Where the history is, a path prefix included.",
)
@click.option(
    "--prometheus.token-file", "prometheus_token_file", type=_FILE, help="File with a bearer token."
)
@click.option(
    "--prometheus.user",
    "prometheus_user",
    metavar="NAME",
    help="User name for basic authentication.",
)
@click.option(
    "--prometheus.password-file",
    "prometheus_password_file",
    type=_FILE,
    help="File with that user's password.",
)
@click.option(
    "--prometheus.header",
    "prometheus_headers",
    multiple=True,
    metavar="NAME:VALUE",
    help="Further header, for example X-Scope-OrgID:team-a. Repeatable.",
)
@click.option(
    "--prometheus.timeout",
    "prometheus_timeout",
    type=Duration(),
    default="60s",
    show_default=True,
    help="Per request.",
)
@click.option("--run", "run", metavar="RUN", help="Name of the run.")
@click.option("--all-runs", is_flag=True, help="Every run that is shown at that time.")
@click.option(
    "--match",
    "matches",
    multiple=True,
    metavar="LABEL=VALUE",
    help="Only series with this label, where runs of one name exist twice. Repeatable.",
)
@click.option(
    "--objective",
    type=click.Choice(["slowdown", "cost"]),
    default="slowdown",
    show_default=True,
    help="slowdown: least energy within --max-slowdown. cost: energy against time, by --eta.",
)
@click.option("--eta", type=float, default=0.5, show_default=True, help="Weight of energy, 0 to 1.")
@click.option(
    "--max-slowdown",
    type=float,
    default=1.05,
    show_default=True,
    help="Steps may take this many times as long as at the reference limit.",
)
@click.option("--explore", is_flag=True, help="Also propose limits only to measure them.")
@click.option("--apply", "apply", is_flag=True, help="Hold the limit on the run's GPUs, as leases.")
@click.option(
    "--admin.url",
    "admin_urls",
    multiple=True,
    metavar="URL",
    help="Admin API of an exporter: unix:/PATH or http://127.0.0.1:PORT. Repeatable.",
)
@click.option(
    "--admin.token-file",
    "admin_token_file",
    type=_FILE,
    envvar="JOULESTAT_ADMIN_CLIENT_TOKEN_FILE",
    help="File with the admin API's token.",
)
@click.option("--lease-ttl", type=Duration(), help="Default 15m; with --watch three rounds.")
@click.option("--keep-lease", is_flag=True, help="At the end of --watch let holds run out.")
@click.option("--watch", type=Duration(), metavar="INTERVAL", help="Decide anew, this often.")
@click.option("--at", type=Moment(), help="Decide as of then; default is now.")
@click.option("--window", type=Duration(), help="How far back to look; default is the whole run.")
@click.option(
    "--min-steps",
    type=click.IntRange(min=1),
    default=Minimum().steps,
    show_default=True,
    help="Fewer steps at a limit are no measurement.",
)
@click.option(
    "--min-seconds",
    type=Duration(),
    default=Minimum().seconds,
    show_default=True,
    help="Less training time at a limit is no measurement.",
)
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def optimize(ctx: click.Context, /, **given: Any) -> None:
    """Find the power limit that a training run should have, from its history in Prometheus.

    Exits 0 with advice (hold or probe), 3 with none, 1 on failure, 2 on wrong usage.
    """
    flags = Flags(**given)
    flags.check(ctx)
    question = flags.question(ctx)
    try:
        with flags.prometheus() as client:
            publisher = flags.publisher()
            optimizer = Optimizer(PrometheusHistory(client, flags.matchers()), question, publisher)
            sys.exit(_run(flags, optimizer, publisher))
    except (HistoryError, AdminError) as error:
        show_errors("", (str(error),))
        sys.exit(FAILURE)


def _run(flags: Flags, optimizer: Optimizer, publisher: LeasePublisher | None) -> int:
    """Decide once or until stopped; return the exit code."""
    runs = None if flags.run is None else [flags.run]
    printer = Printer(
        as_json=flags.output == "json", several=flags.all_runs, watching=flags.watch is not None
    )
    if flags.watch is not None:
        _watch(flags, flags.watch, lambda: printer.show(optimizer.round(runs)), publisher)
        return 0
    try:
        outcomes = optimizer.round(runs, flags.at)
    except BaseException:
        release_all(publisher, keep_holds=False)
        raise
    printer.show(outcomes)
    return exit_code(outcomes)


def _watch(
    flags: Flags,
    interval_seconds: float,
    one_round: Callable[[], None],
    publisher: LeasePublisher | None,
) -> None:
    """Decide round after round; at the end, release what was leased."""
    nothing = threading.Event()
    with ended_by_signals() as ending:
        try:
            with contextlib.suppress(KeyboardInterrupt):
                watch(one_round, lambda: nothing.wait(interval_seconds))
        finally:
            ending.asked = True
            release_all(publisher, keep_holds=flags.keep_lease)
