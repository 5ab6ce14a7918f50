"""``joulestat serve``: the exporter."""

import logging
import signal
import sys
import threading
from pathlib import Path

import click

from joulestat.cli.configured import FAILURE, USAGE_ERROR, read_config
from joulestat.cli.logs import configure_logging
from joulestat.config import OPTIONS
from joulestat.domain.errors import ConfigError, JoulestatError
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
    """Run the exporter until SIGTERM or Ctrl-C, then put every power limit back."""
    config = read_config(config_file, flags)
    configure_logging(config.log.level, config.log.format)
    wake = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A terminal that closes must not leave limits behind; nohup says to survive that.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: wake.set())
    service = None
    try:
        service = Service(config, SystemClock())
        if not wake.is_set():
            service.start()
            _wait(wake)
    except ConfigError as error:
        click.echo(f"joulestat: {error}", err=True)
        sys.exit(USAGE_ERROR)
    except JoulestatError as error:
        click.echo(f"joulestat: {error}", err=True)
        sys.exit(FAILURE)
    finally:
        if service is not None:
            log.info("event=stopping")
            service.stop()
            log.info("event=stopped")


def _wait(wake: threading.Event) -> None:
    # Not forever in one call: a signal's handler runs only between two bytecodes.
    while not wake.wait(0.5):
        pass


config_options(serve)
