"""``joulestat lease``: see, take and end leases by hand; read and check the audit log; tokens."""

import click

from joulestat.cli.lease.auditing import audit
from joulestat.cli.lease.holding import list_leases, release_lease, set_lease
from joulestat.cli.lease.reverting import revert_all
from joulestat.cli.lease.tokens import make_token


@click.group()
def lease() -> None:
    """See, take and end leases on power limits; read what became of them; make tokens."""


for _command in (list_leases, set_lease, release_lease, revert_all, audit, make_token):
    lease.add_command(_command)
