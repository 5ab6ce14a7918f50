"""``joulestat actuator``: holds power limits for an exporter that has no privilege."""

import logging
import sys
import threading
from pathlib import Path

import click

from joulestat.actuator.service import ActuatorService
from joulestat.cli.configured import (
    FAILURE,
    USAGE_ERROR,
    read_config,
    setting_flags,
    telling_errors,
)
from joulestat.cli.logs import configure_logging
from joulestat.cli.signals import Signals
from joulestat.config import ListenAddress
from joulestat.loops.driver_threads import spawn
from joulestat.loops.system_clock import SystemClock

SOCKET = "unix:/run/joulestat/actuator.sock"

SETTINGS = (
    "policy.file",
    "state-path",
    "backend",
    "simulated.model",
    "simulated.gpus",
    "simulated.seed",
    "simulated.state-file",
    "log.level",
    "log.format",
)
"""Which of the exporter's settings are the actuator's too."""

log = logging.getLogger(__name__)


@click.command()
@click.option(
    "--listen-address",
    default=SOCKET,
    show_default=True,
    metavar="VALUE",
    help="The Unix socket to serve; it can only be used by its owner and its group.",
)
@click.option(
    "--socket-group",
    metavar="GROUP",
    help="Group of the socket: the exporter's user is in it. [this process's group]",
)
@click.option(
    "--config.file",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="YAML file, as the exporter's; environment variables override it, flags both.",
)
@setting_flags(*SETTINGS)
def actuator(
    listen_address: str, socket_group: str | None, config_file: Path | None, **flags: object
) -> None:
    """Hold power limits until SIGTERM or Ctrl-C, then put every one back.

    Needs root or CAP_SYS_ADMIN, and no network. Whoever may use its socket can ask for leases
    within the policy, see them and end them, and can do nothing else. SIGUSR2 puts every power
    limit back at once, and goes on.
    """
    listen = _unix_socket(listen_address)
    config = read_config(config_file, flags)
    configure_logging(config.log.level, config.log.format)
    signals, failed = Signals(), threading.Event()
    service = None
    try:
        with telling_errors():
            service = ActuatorService(
                config, SystemClock(), listen, socket_group, on_failure=failed.set
            )
            if not signals.end:
                service.start()
            while not (signals.end or failed.is_set()):
                if signals.wait(0.5):
                    spawn(service.revert_all)
    finally:
        if service is not None:
            log.info("event=stopping")
            service.stop()
            log.info("event=stopped")
    if failed.is_set():
        sys.exit(FAILURE)


def _unix_socket(text: str) -> ListenAddress:
    try:
        address = ListenAddress.parse(text)
        why = "the actuator has no network: it listens on a Unix socket alone"
    except ValueError as error:
        address, why = ListenAddress(), str(error)
    if address.unix_path is None:
        click.echo(
            f"joulestat: --listen-address cannot be {text!r}; {why}; allowed: unix:/PATH", err=True
        )
        sys.exit(USAGE_ERROR)
    return address
