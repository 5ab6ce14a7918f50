"""``joulestat serve``: the exporter."""

import logging
from pathlib import Path

import click

from joulestat.cli.configured import read_config, telling_errors
from joulestat.cli.logs import configure_logging
from joulestat.cli.signals import Signals
from joulestat.config import OPTIONS
from joulestat.loops.driver_threads import spawn
from joulestat.loops.system_clock import SystemClock
from joulestat.service import Service

log = logging.getLogger(__name__)


def config_options(command: click.Command) -> click.Command:
    """Give a command one flag for every setting of the table."""
    for option in reversed(OPTIONS):
        text = option.help if option.default is None else f"{option.help} [{option.default}]"
        command.params.insert(
            0,
            click.Option(
                [option.flag, option.parameter],
                multiple=option.key == "web.listen-address",
                metavar="VALUE",
                help=text,
            ),
        )
    return command


@click.command()
@click.option(
    "--config.file",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="YAML file; environment variables override it, flags override both.",
)
def serve(config_file: Path | None, **flags: object) -> None:
    """Run the exporter until SIGTERM or Ctrl-C, then put every power limit back.

    SIGUSR2 puts every power limit back at once, with no network and no token, and goes on.
    """
    config = read_config(config_file, flags)
    configure_logging(config.log.level, config.log.format)
    signals = Signals()
    service = None
    try:
        with telling_errors():
            service = Service(config, SystemClock())
            if not signals.end:
                service.start()
            while not signals.end:
                if signals.wait(1.0):
                    spawn(service.revert_all)
    finally:
        if service is not None:
            log.info("event=stopping")
            service.stop()
            log.info("event=stopped")


config_options(serve)
