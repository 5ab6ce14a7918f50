"""What the optimizer holds on one GPU, and how it asks for it."""

import secrets
from dataclasses import dataclass
from typing import Any

from joulestat.client.admin import AdminClient
from joulestat.domain.errors import AdminError
from joulestat.domain.plan import Action

HOLDER = "optimizer"


@dataclass(frozen=True, slots=True)
class Held:
    """A lease of the optimizer's.

    Attributes:
        run: For which run.
        action: Whether it is a probe or a hold.
        limit_watts: The limit, W.
        admin: Of the exporter that has the GPU.
        fencing_token: Of the lease, None where its answer got lost.
    """

    run: str
    action: Action
    limit_watts: int
    admin: AdminClient
    fencing_token: int | None = None


def put_held(
    uuid: str,
    wanted: Held,
    ttl_seconds: float,
    *,
    fencing_token: int | None = None,
    if_match: int | None = None,
) -> dict[str, Any]:
    """Put a lease; once more where no answer came, which the idempotency key makes harmless.

    Args:
        uuid: The GPU.
        wanted: What to hold.
        ttl_seconds: How long.
        fencing_token: Only if the lease with this token is in force.
        if_match: Only if the GPU is at this revision still.

    Raises:
        AdminError: It was refused, or there was no answer to either.
    """
    key = secrets.token_hex(16)

    def put() -> dict[str, Any]:
        return wanted.admin.put_lease(
            uuid,
            power_limit_watts=wanted.limit_watts,
            ttl_seconds=ttl_seconds,
            holder=HOLDER,
            reason=f"{wanted.run}: {wanted.action.value} {wanted.limit_watts} W",
            idempotency_key=key,
            fencing_token=fencing_token,
            if_match=if_match,
        )

    try:
        return put()
    except AdminError as error:
        if error.status is not None:
            raise
        return put()
