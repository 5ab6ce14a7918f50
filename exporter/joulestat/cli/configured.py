"""The configuration of a command, from its flags, the environment and a file."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from joulestat.config import OPTIONS, Config, load_config
from joulestat.domain.errors import ConfigError, JoulestatError

USAGE_ERROR = 2
FAILURE = 1


def read_config(file: Path | None, flags: dict[str, object]) -> Config:
    """Return the configuration, or exit 2 with one clear line."""
    by_parameter = {option.parameter: option.key for option in OPTIONS}
    given = {by_parameter[name]: value for name, value in flags.items() if value not in (None, ())}
    try:
        return load_config(
            flags=given,
            environment=os.environ,
            file=file,
            is_root=os.geteuid() == 0,
            home=_home(),
        )
    except ConfigError as error:
        click.echo(f"joulestat: {error}", err=True)
        sys.exit(USAGE_ERROR)


@contextmanager
def telling_errors() -> Iterator[None]:
    """Exit 2 for a configuration that cannot be, 1 for what else fails, with one clear line."""
    try:
        yield
    except ConfigError as error:
        click.echo(f"joulestat: {error}", err=True)
        sys.exit(USAGE_ERROR)
    except JoulestatError as error:
        click.echo(f"joulestat: {error}", err=True)
        sys.exit(FAILURE)


def setting_flags(*keys: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that gives a command a flag for each of these settings, in this order."""
    by_key = {option.key: option for option in OPTIONS}

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in (by_key[key] for key in reversed(keys)):
            shown = option.default_note if option.default is None else option.default
            default = f" [{shown}]" if shown else ""
            command = click.option(
                option.flag, option.parameter, metavar="VALUE", help=option.help + default
            )(command)
        return command

    return decorate


def _home() -> Path:
    """Return the home folder; ``/``, as containers have it, for a user that no one knows."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")
