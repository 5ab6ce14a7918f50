"""``joulestat optimize``: from a run's history in Prometheus to the power limit it should have."""

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from joulestat.cli.moments import Duration, Moment
from joulestat.cli.optimizing import (
    FAILURE,
    Printer,
    ended_by_signals,
    exit_code,
    release_all,
    show_errors,
    watch,
)
from joulestat.client.admin import AdminClient
from joulestat.domain.errors import AdminError, ConfigError, HistoryError
from joulestat.optimizer.history import HistoryReader
from joulestat.optimizer.objective import Cost, Objective, Slowdown
from joulestat.optimizer.profile import Minimum
from joulestat.optimizer.promql import PrometheusClient
from joulestat.optimizer.publish import LeasePublisher, ttl_for
from joulestat.optimizer.rounds import Optimizer, Question
from joulestat.optimizer.selector import equals

ONE_SHOT_TTL_SECONDS = 900.0

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flags:
    """The command line, parsed; names and meanings are those of its options."""

    prometheus_url: str
    prometheus_token_file: Path | None
    prometheus_user: str | None
    prometheus_password_file: Path | None
    prometheus_headers: tuple[str, ...]
    prometheus_timeout: float
    run: str | None
    all_runs: bool
    matches: tuple[str, ...]
    objective: str
    eta: float
    max_slowdown: float
    explore: bool
    apply: bool
    admin_urls: tuple[str, ...]
    admin_token_file: Path | None
    lease_ttl: float | None
    keep_lease: bool
    watch: float | None
    at: float | None
    window: float | None
    min_steps: int
    min_seconds: float
    output: str


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
    help="Admin API of an exporter, http(s):// or unix:. Repeatable, one per node.",
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
    flags = _Flags(**given)
    _check(ctx, flags)
    try:
        objective = _objective(flags)
    except ConfigError as error:
        raise click.UsageError(str(error), ctx) from error
    question = Question(
        objective,
        Minimum(flags.min_steps, flags.min_seconds),
        window_seconds=flags.window,
        explore=flags.explore,
    )
    try:
        with _prometheus(flags) as client:
            matchers = [equals(*_pair(text, "=", "--match")) for text in flags.matches]
            publisher = _publisher(flags)
            optimizer = Optimizer(HistoryReader(client, matchers), question, publisher)
            sys.exit(_run(flags, optimizer, publisher))
    except (HistoryError, AdminError) as error:
        show_errors("", (str(error),))
        sys.exit(FAILURE)


def _run(flags: _Flags, optimizer: Optimizer, publisher: LeasePublisher | None) -> int:
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
    flags: _Flags,
    interval_seconds: float,
    one_round: Callable[[], None],
    publisher: LeasePublisher | None,
) -> None:
    """Decide round after round; at the end, release what was leased."""
    with ended_by_signals() as stop:
        try:
            with contextlib.suppress(KeyboardInterrupt):
                watch(one_round, lambda: stop.wait(interval_seconds))
        finally:
            stop.set()
            release_all(publisher, keep_holds=flags.keep_lease)


def _check(ctx: click.Context, flags: _Flags) -> None:
    """Refuse combinations that cannot mean what was meant."""
    wrong = {
        "give either --run RUN or --all-runs": (flags.run is None) is not flags.all_runs,
        "--apply needs --admin.url, the exporter's admin API": flags.apply and not flags.admin_urls,
        "--apply acts now: it cannot go with --at": flags.apply and flags.at is not None,
        "--watch follows the present: it cannot go with --at": flags.watch is not None
        and flags.at is not None,
        "--eta belongs to --objective cost": flags.objective != "cost" and _typed(ctx, "eta"),
        "--max-slowdown belongs to --objective slowdown": flags.objective != "slowdown"
        and _typed(ctx, "max_slowdown"),
        "--prometheus.user and --prometheus.password-file go together": (
            flags.prometheus_user is None
        )
        is not (flags.prometheus_password_file is None),
        "--keep-lease is for --watch with --apply": flags.keep_lease
        and not (flags.apply and flags.watch),
    }
    for message, is_wrong in wrong.items():
        if is_wrong:
            raise click.UsageError(message, ctx)


def _typed(ctx: click.Context, parameter: str) -> bool:
    return ctx.get_parameter_source(parameter) is ParameterSource.COMMANDLINE


def _objective(flags: _Flags) -> Objective:
    if flags.objective == "cost":
        return Cost(flags.eta)
    return Slowdown(flags.max_slowdown)


def _prometheus(flags: _Flags) -> PrometheusClient:
    basic_auth = None
    if flags.prometheus_user is not None and flags.prometheus_password_file is not None:
        basic_auth = (flags.prometheus_user, _secret(flags.prometheus_password_file))
    token_file = flags.prometheus_token_file
    return PrometheusClient(
        flags.prometheus_url,
        bearer_token=None if token_file is None else _secret(token_file),
        basic_auth=basic_auth,
        headers=dict(_pair(text, ":", "--prometheus.header") for text in flags.prometheus_headers),
        timeout_seconds=flags.prometheus_timeout,
    )


def _publisher(flags: _Flags) -> LeasePublisher | None:
    if not flags.apply:
        return None
    token = None if flags.admin_token_file is None else _secret(flags.admin_token_file)
    ttl_seconds = flags.lease_ttl or (
        ONE_SHOT_TTL_SECONDS if flags.watch is None else ttl_for(flags.watch)
    )
    return LeasePublisher([AdminClient(url, token) for url in flags.admin_urls], ttl_seconds)


def _pair(text: str, separator: str, option: str) -> tuple[str, str]:
    name, found, value = text.partition(separator)
    if not found or not name.strip():
        raise click.BadParameter(f"{text!r} is not NAME{separator}VALUE", param_hint=option)
    return name.strip(), value.strip()


def _secret(file: Path) -> str:
    """Return what a file holds, without the newline that editors add."""
    secret = file.read_bytes().strip()
    if not secret or not secret.isascii() or b"\n" in secret:
        raise click.UsageError(f"{file} must hold one secret, on one line, in ASCII")
    return secret.decode()
