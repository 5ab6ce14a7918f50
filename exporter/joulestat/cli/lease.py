"""``joulestat lease``: see, take and end leases by hand; make tokens."""

import functools
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from joulestat.cli.admin_client import client_maker
from joulestat.cli.admin_options import ADMIN_TLS
from joulestat.cli.prometheus_options import many
from joulestat.client.admin import AdminClient
from joulestat.domain.errors import AdminError, JoulestatError
from joulestat.server.auth import new_token
from joulestat.server.token_file import add_token

FAILURE = 1
NEEDED_COLUMNS = 150

_HEADINGS = (
    *("GPU", "UUID", "limit", "range", "holder", "target", "ends"),
    *("token", "revision", "drift"),
)

_ENDS = {
    "restored": "the limit from before is back",
    "foreign": "somebody else changed the limit meanwhile; it was left alone",
    "none": "there was no lease",
}
"""What became of a lease -> how to say it."""


@click.group()
def lease() -> None:
    """See, take and end leases on power limits; make tokens."""


def _reach(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command a client, and the options that say of which admin API."""

    @functools.wraps(command)
    def with_client(
        admin_url: str,
        token_file: Path | None,
        admin_ca_file: Path | None,
        admin_certificate_file: Path | None,
        admin_key_file: Path | None,
        **given: Any,
    ) -> None:
        make = client_maker(token_file, admin_ca_file, admin_certificate_file, admin_key_file)
        command(client=_answered(lambda: make(admin_url, None)), **given)

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
        required=True,
        metavar="URL",
        help="unix:/path/to/admin.sock, http://127.0.0.1:PORT or https://HOST:PORT",
    )
    return url(token(many(*ADMIN_TLS)(with_client)))


def _answered(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except AdminError as error:
        click.echo(f"joulestat: {error}", err=True)
        sys.exit(FAILURE)


def _condition(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say which lease, or which revision, is meant."""
    token = click.option(
        "--fencing-token",
        type=click.IntRange(min=0),
        help="Only if the lease with this token is in force.",
    )
    revision = click.option(
        "--if-match",
        type=click.IntRange(min=0),
        metavar="REVISION",
        help="Only if the GPU is at this revision still.",
    )
    return token(revision(command))


@lease.command("list")
@_reach
def list_leases(client: AdminClient) -> None:
    """Show every GPU: its limits, who holds it and until when."""
    gpus: list[Mapping[str, Any]] = _answered(client.gpus)
    table = Table(box=None, pad_edge=False)
    for heading in _HEADINGS:
        table.add_column(heading, no_wrap=True)
    for gpu in gpus:
        held: Mapping[str, Any] = gpu.get("lease") or {}
        table.add_row(
            _text(gpu.get("index")),
            _text(gpu.get("gpu_uuid")),
            _watts(gpu.get("power_limit_watts")),
            # Less what the host's policy forbids.
            f"{_text(gpu.get('allowed_min_watts'))}-{_watts(gpu.get('allowed_max_watts'))}",
            _text(held.get("holder")),
            _watts(held.get("power_limit_watts")),
            _ends(held.get("expires_timestamp_seconds")),
            _text(held.get("fencing_token")),
            _text(gpu.get("revision")),
            "yes" if gpu.get("drift") else "",
        )
    # UUIDs are there to be copied, so a narrow terminal wraps lines rather than cutting them.
    Console(width=max(Console().width, NEEDED_COLUMNS)).print(table)


@lease.command("set")
@click.argument("gpu_uuid")
@click.option("--watts", type=float, required=True, help="The limit to hold.")
@click.option("--ttl", "ttl_seconds", type=float, default=900.0, show_default=True, help="Seconds.")
@click.option("--holder", default="cli", show_default=True, help="Who holds it.")
@click.option("--reason", default="set by hand", show_default=True, help="For the audit log.")
@click.option("--takeover", is_flag=True, help="Take it from another holder.")
@click.option("--dry-run", is_flag=True, help="Check only; change nothing.")
@_condition
@_reach
def set_lease(gpu_uuid: str, client: AdminClient, **request: Any) -> None:
    """Hold a power limit on one GPU until the lease ends."""
    request["power_limit_watts"] = request.pop("watts")
    answer: Mapping[str, Any] = _answered(lambda: client.put_lease(gpu_uuid, **request))
    click.echo("  ".join(f"{key}={_text(value)}" for key, value in _flat(answer)))


@lease.command("release")
@click.argument("gpu_uuid")
@click.option("--holder", help="End it only if this one holds it.")
@_condition
@_reach
def release_lease(gpu_uuid: str, client: AdminClient, **asked: Any) -> None:
    """End the lease on one GPU; the limit from before it comes back."""
    answer = _answered(lambda: client.delete_lease(gpu_uuid, **asked))
    if answer is None:
        click.echo(f"{gpu_uuid}: there was no lease")
    else:
        click.echo("  ".join(f"{key}={_text(value)}" for key, value in _flat(answer)))


@lease.command("revert-all")
@_reach
def revert_all(client: AdminClient) -> None:
    """End every lease; every limit from before comes back."""
    answer: Mapping[str, Any] = _answered(client.revert_all)
    for end in answer.get("gpus", ()):
        limit = end.get("power_limit_watts")
        now = "" if limit is None else f", now at {_watts(limit)}"
        click.echo(f"{_text(end.get('gpu_uuid'))}: {_ENDS.get(end.get('outcome'), '-')}{now}")


@lease.command("token")
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
        click.echo(f"joulestat: {error}", err=True)
        sys.exit(FAILURE)
    click.echo(token)


def _flat(answer: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in answer.items():
        if isinstance(value, Mapping):
            flat.extend(_flat(value, f"{prefix}{key}."))
        else:
            flat.append((prefix + key, value))
    return flat


def _text(value: object) -> str:
    if value is None:
        return "-"
    # Ten digits hold a Unix time in full.
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _watts(value: float | None) -> str:
    return "-" if value is None else f"{value:g} W"


def _ends(unix_seconds: float | None) -> str:
    if unix_seconds is None:
        return "-"
    return f"{datetime.fromtimestamp(unix_seconds, UTC):%H:%M:%S} UTC"
