"""Whoever holds the power limits: the governor of this process, or the actuator that has one."""

from collections.abc import Mapping
from typing import Protocol

from joulestat.domain.limit import Grant, Lease, LeaseRequest, PowerControl, Revert


class LimitAuthority(Protocol):
    """Grants, shows and ends leases; any thread may call any method.

    Implemented by ``Governor``, and by ``ActuatorClient`` where another process has it.
    """

    @property
    def read_only_reason(self) -> str | None:
        """Why no lease can be granted, None where one can."""
        ...

    def controls(self) -> Mapping[str, PowerControl]:
        """Return every controlled device's state by UUID, immutable; never waits."""
        ...

    def lease(self, device_uuid: str) -> Lease | None:
        """Return the lease in force, None without one; never waits."""
        ...

    def grant(
        self,
        device_uuid: str,
        request: LeaseRequest,
        *,
        principal: str,
        dry_run: bool = False,
        idempotency_key: str | None = None,
        if_match: int | None = None,
    ) -> Grant:
        """Grant, renew or change a lease; see ``Governor.grant``.

        Raises:
            LeaseError: It was not; the class says why.
        """
        ...

    def release(
        self,
        device_uuid: str,
        *,
        principal: str,
        holder: str | None = None,
        fencing_token: int | None = None,
        if_match: int | None = None,
    ) -> Revert:
        """End a lease and put the baseline back; see ``Governor.release``.

        Raises:
            LeaseError: It was not; the class says why.
        """
        ...

    def revert_all(self, *, principal: str) -> Mapping[str, Revert]:
        """End every lease, whoever holds it; return what became of each device.

        Raises:
            ControlReadOnly: The actuator does not answer.
        """
        ...
