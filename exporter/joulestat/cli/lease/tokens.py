"""``joulestat lease token``: makes a token, and keeps only its digest."""

from pathlib import Path

import click

from joulestat.cli.lease.reaching import fail
from joulestat.domain.errors import JoulestatError
from joulestat.server.auth import new_token
from joulestat.server.token_file import add_token


@click.command("token")
@click.option("--principal", required=True, help="Whose token: a name for the audit log.")
@click.option(
    "--role", type=click.Choice(["viewer", "operator"]), default="operator", show_default=True
)
@click.option("--expires", help="ISO date after which it is refused, such as 2027-06-30.")
@click.option(
    "--gpu",
    "gpus",
    multiple=True,
    metavar="UUID",
    help="The only GPU whose limit it may change; may be given several times.",
)
@click.option(
    "--file",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The exporter's token file; made with mode 600 if it is not there.",
)
def make_token(
    principal: str, role: str, expires: str | None, gpus: tuple[str, ...], file: Path
) -> None:
    """Make a token: print it once, keep only its SHA-256 in the exporter's file."""
    token, sha256 = new_token()
    entry: dict[str, object] = {"sha256": sha256, "principal": principal, "role": role}
    if expires:
        entry["expires"] = expires
    if gpus:
        entry["gpus"] = list(gpus)
    try:
        add_token(file, entry)
    except (JoulestatError, OSError) as error:
        fail(str(error))
    click.echo(token)
