"""``joulestat lease revert-all``: through the admin API, or from the journal with no service."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from joulestat.actuator.offline import PutBack, put_back
from joulestat.cli.configured import read_config, setting_flags
from joulestat.cli.lease.reaching import FAILURE, answered, fail, reach
from joulestat.cli.lease.wording import ended, text
from joulestat.cli.logs import configure_logging
from joulestat.cli.moments import Duration
from joulestat.client.admin import AdminClient
from joulestat.config import Config
from joulestat.devices.probe import SimulatedOptions, open_backend
from joulestat.domain.errors import StateError
from joulestat.loops.system_clock import SystemClock

SETTINGS = (
    "state-path",
    "backend",
    "simulated.model",
    "simulated.gpus",
    "simulated.seed",
    "simulated.state-file",
)
"""Which of the service's settings say where its journal and its devices are."""


@click.command("revert-all")
@click.option(
    "--offline",
    is_flag=True,
    help="With no service running: put back what the journal in --state-path says. For after a "
    "crash; does nothing where nothing is left.",
)
@click.option(
    "--timeout",
    "patience_seconds",
    type=Duration(),
    default="6s",
    show_default=True,
    help="With --offline: how long drivers are waited for.",
)
@setting_flags(*SETTINGS)
@reach(instead=("offline",))
def revert_all(
    *, client: AdminClient | None, offline: bool, patience_seconds: float, **flags: object
) -> None:
    """End every lease; every limit from before comes back.

    Exits with 1 where a limit could not be put back, or nobody could be asked.
    """
    if client is not None:
        _online(client)
    elif offline:
        _offline(read_config(None, flags), patience_seconds)


def _online(client: AdminClient) -> None:
    answer: Mapping[str, Any] = answered(client.revert_all)
    gpus: list[Mapping[str, Any]] = list(answer.get("gpus", ()))
    for end in gpus:
        outcome = str(end.get("outcome"))
        click.echo(ended(text(end.get("gpu_uuid")), outcome, end.get("power_limit_watts")))
    if any(end.get("outcome") == "failed" for end in gpus):
        sys.exit(FAILURE)


def _offline(config: Config, patience_seconds: float) -> None:
    configure_logging("error", "logfmt")
    clock = SystemClock()
    simulated = config.simulated
    options = SimulatedOptions(
        simulated.state_file, simulated.model, simulated.gpus, simulated.seed
    )
    try:
        done = put_back(
            config.state_path,
            lambda: open_backend(config.backend, clock=clock, simulated=options),
            clock,
            patience_seconds=patience_seconds,
        )
    except StateError as error:
        fail(f"no limit was put back: {error}")
    else:
        if done is not None:
            _tell(done, config.state_path)


def _tell(done: PutBack, state_path: Path) -> None:
    for uuid, end in done.ended.items():
        if uuid not in done.left:
            click.echo(ended(uuid, end.outcome.value, end.limit_watts))
    for uuid in done.left:
        why = done.problem or (
            "the driver refused it" if uuid in done.ended else "the GPU is not there"
        )
        click.echo(
            f"joulestat: {uuid}: the limit from before could not be put back: {why}; it stays in "
            f"{state_path}, and the next start tries again",
            err=True,
        )
    if done.left:
        sys.exit(FAILURE)
