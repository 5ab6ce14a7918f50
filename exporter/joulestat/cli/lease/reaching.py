"""How the commands of ``joulestat lease`` reach an admin API, and how they fail."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from joulestat.cli.admin_client import client_maker
from joulestat.cli.admin_options import ADMIN_TLS
from joulestat.cli.prometheus_options import many
from joulestat.domain.errors import AdminError

FAILURE = 1

_Command = Callable[..., None]


def reach(*, instead: tuple[str, ...] = ()) -> Callable[[_Command], _Command]:
    """Give a command a client, and the options that say of which admin API.

    Args:
        instead: Parameters that make do without one: where any of them is given, the client is
            None, and ``--admin.url`` must not be given.
    """

    def decorate(command: _Command) -> _Command:
        @functools.wraps(command)
        def with_client(
            admin_url: str | None,
            token_file: Path | None,
            admin_ca_file: Path | None,
            admin_certificate_file: Path | None,
            admin_key_file: Path | None,
            **given: Any,
        ) -> None:
            chosen = [name for name in instead if given[name]]
            if (admin_url is None) != bool(chosen):
                flags = " or ".join(f"--{name}" for name in instead)
                raise click.UsageError(f"give either --admin.url or {flags}")
            client = None
            if admin_url is not None:
                url = admin_url
                make = client_maker(
                    token_file, admin_ca_file, admin_certificate_file, admin_key_file
                )
                client = answered(lambda: make(url, None))
            command(client=client, **given)

        token = click.option(
            "--admin.token-file",
            "token_file",
            type=click.Path(path_type=Path, exists=True, dir_okay=False),
            envvar="JOULESTAT_ADMIN_CLIENT_TOKEN_FILE",
            help="File that holds the token, as 'joulestat lease token' printed it.",
        )
        url = click.option(
            "--admin.url",
            "admin_url",
            required=not instead,
            metavar="URL",
            help="unix:/path/to/admin.sock, http://127.0.0.1:PORT or https://HOST:PORT",
        )
        return url(token(many(*ADMIN_TLS)(with_client)))

    return decorate


def answered(call: Callable[[], Any]) -> Any:
    """Return what the admin API answers, or say what is wrong and exit."""
    try:
        return call()
    except AdminError as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    """Say what is wrong, in one line, and exit."""
    click.echo(f"joulestat: {message}", err=True)
    sys.exit(FAILURE)
