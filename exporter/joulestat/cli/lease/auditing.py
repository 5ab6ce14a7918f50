"""``joulestat lease audit``: reads the audit log, or checks on the disk that nobody changed it."""

import json
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from joulestat.actuator.own_limits import AUDIT_NAME
from joulestat.cli.configured import read_config, setting_flags
from joulestat.cli.lease.reaching import FAILURE, answered, fail, reach
from joulestat.cli.lease.wording import text
from joulestat.client.admin import AdminClient
from joulestat.power.chain import ChainCheck, verify, verify_all

PAGE_RECORDS = 1000

_SHOWN_FIRST = ("phase", "action", "gpu_uuid", "principal", "holder", "outcome")
_LEFT_OUT = {"seq", "wall_seconds", "boot_id", "boottime_ns", "prev_sha256", "sha256"}


@click.command("audit")
@click.option("--after", type=click.IntRange(min=0), default=0, help="Only records after this one.")
@click.option("--json", "as_json", is_flag=True, help="Every record as it is, one JSON a line.")
@click.option(
    "--verify",
    is_flag=True,
    help="Instead, on the host itself: check that no line on the disk was changed, added, moved "
    "or removed.",
)
@click.option(
    "--file",
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="With --verify: the log to check, instead of those in --state-path.",
)
@setting_flags("state-path")
@reach(instead=("verify",))
def audit(
    *,
    client: AdminClient | None,
    after: int,
    as_json: bool,
    verify: bool,  # noqa: ARG001 - without it there is a client
    file: Path | None,
    **flags: object,
) -> None:
    """Show what was asked, by whom, and what became of it, oldest first."""
    if client is None:
        log = file or read_config(None, flags).state_path / AUDIT_NAME
        _tell(log, _checked(log, only=file is not None))
        return
    for record in _records(client, after):
        click.echo(json.dumps(record) if as_json else _line(record))


def _records(client: AdminClient, after: int) -> Iterator[Mapping[str, Any]]:
    while page := answered(partial(client.audit, after, PAGE_RECORDS)):
        yield from page
        after = page[-1]["seq"]


def _line(record: Mapping[str, Any]) -> str:
    when = datetime.fromtimestamp(float(record.get("wall_seconds", 0.0)), UTC)
    named = [name for name in _SHOWN_FIRST if name in record]
    others = [name for name in record if name not in _LEFT_OUT and name not in _SHOWN_FIRST]
    members = "  ".join(f"{name}={_shown(record[name])}" for name in [*named, *others])
    return f"{record.get('seq'):>6}  {when:%Y-%m-%d %H:%M:%S}  {members}"


def _shown(value: object) -> str:
    return json.dumps(value) if isinstance(value, str) and " " in value else text(value)


def _checked(log: Path, *, only: bool) -> Mapping[Path, ChainCheck]:
    try:
        return {log: verify(log)} if only else verify_all(log)
    except OSError as error:
        fail(f"cannot read the audit log {log}: {error.strerror or error}")


def _tell(log: Path, checks: Mapping[Path, ChainCheck]) -> None:
    """Say what was found; exit with 1 where a line of any log is not what was written."""
    for path, check in checks.items():
        for problem in check.breaks:
            click.echo(f"{path}: {problem}", err=True)
        if path == log or check.records:
            verdict = "all as they were written" if check.ok else "NOT all as they were written"
            click.echo(f"{path}: {check.records} records, {verdict}")
    if not all(check.ok for check in checks.values()):
        sys.exit(FAILURE)
