"""``joulestat lease list``, ``set`` and ``release``: what is held, and holding it by hand."""

from collections.abc import Callable, Mapping
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from joulestat.cli.lease.reaching import answered, reach
from joulestat.cli.lease.wording import in_one_line, text, time_of_day, watts
from joulestat.client.admin import AdminClient

NEEDED_COLUMNS = 150

_HEADINGS = (
    *("GPU", "UUID", "limit", "range", "holder", "target", "ends"),
    *("token", "revision", "drift"),
)


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


@click.command("list")
@reach()
def list_leases(client: AdminClient) -> None:
    """Show every GPU: its limits, who holds it and until when."""
    gpus: list[Mapping[str, Any]] = answered(client.gpus)
    table = Table(box=None, pad_edge=False)
    for heading in _HEADINGS:
        table.add_column(heading, no_wrap=True)
    for gpu in gpus:
        held: Mapping[str, Any] = gpu.get("lease") or {}
        table.add_row(
            text(gpu.get("index")),
            text(gpu.get("gpu_uuid")),
            watts(gpu.get("power_limit_watts")),
            # Less what the host's policy forbids.
            f"{text(gpu.get('allowed_min_watts'))}-{watts(gpu.get('allowed_max_watts'))}",
            text(held.get("holder")),
            watts(held.get("power_limit_watts")),
            time_of_day(held.get("expires_timestamp_seconds")),
            text(held.get("fencing_token")),
            text(gpu.get("revision")),
            "yes" if gpu.get("drift") else "",
        )
    # UUIDs are there to be copied, so a narrow terminal wraps lines rather than cutting them.
    Console(width=max(Console().width, NEEDED_COLUMNS)).print(table)
    # An actuator that is gone leaves a table without leases, which says nothing of them.
    reason = answered(client.read_only_reason)
    if reason is not None:
        click.echo(f"joulestat: no lease is granted now: {text(reason)}", err=True)


@click.command("set")
@click.argument("gpu_uuid")
@click.option("--watts", type=float, required=True, help="The limit to hold.")
@click.option("--ttl", "ttl_seconds", type=float, default=900.0, show_default=True, help="Seconds.")
@click.option("--holder", default="cli", show_default=True, help="Who holds it.")
@click.option("--reason", default="set by hand", show_default=True, help="For the audit log.")
@click.option("--takeover", is_flag=True, help="Take it from another holder.")
@click.option("--dry-run", is_flag=True, help="Check only; change nothing.")
@_condition
@reach()
def set_lease(gpu_uuid: str, client: AdminClient, **request: Any) -> None:
    """Hold a power limit on one GPU until the lease ends."""
    request["power_limit_watts"] = request.pop("watts")
    answer: Mapping[str, Any] = answered(lambda: client.put_lease(gpu_uuid, **request))
    click.echo(in_one_line(answer))


@click.command("release")
@click.argument("gpu_uuid")
@click.option("--holder", help="End it only if this one holds it.")
@_condition
@reach()
def release_lease(gpu_uuid: str, client: AdminClient, **asked: Any) -> None:
    """End the lease on one GPU; the limit from before it comes back."""
    answer = answered(lambda: client.delete_lease(gpu_uuid, **asked))
    if answer is None:
        click.echo(f"{gpu_uuid}: there was no lease")
    else:
        click.echo(in_one_line(answer))
