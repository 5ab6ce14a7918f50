"""Which lease a request is meant for, so that a late one does no harm to the next."""

from dataclasses import dataclass

from joulestat.domain.errors import LeaseHeld, LeaseLost
from joulestat.domain.limit import Lease
from joulestat.domain.units import ns_to_seconds
from joulestat.power.leases import plain_text


@dataclass(frozen=True, slots=True)
class Meant:
    """What must be so for a request to be carried out. None leaves it open.

    Attributes:
        fencing_token: The lease with this token is in force.
        revision: The device is at this revision still.
        holder: This one holds the lease, if anybody does.
    """

    fencing_token: int | None = None
    revision: int | None = None
    holder: str | None = None

    def check_current(self, device_uuid: str, lease: Lease | None, revision: int) -> None:
        """Refuse a request that comes too late.

        Args:
            device_uuid: Which device.
            lease: The one in force.
            revision: The device's.

        Raises:
            LeaseLost: It was meant for a lease, or a revision, that is over.
        """
        if self.fencing_token is not None and (
            lease is None or lease.fencing_token != self.fencing_token
        ):
            now = (
                "nobody holds one now"
                if lease is None
                else f"{lease.holder!r} holds one with fencing token {lease.fencing_token}"
            )
            raise LeaseLost(
                f"the lease of {device_uuid} with fencing token {self.fencing_token} is over; "
                f"{now}; nothing was changed"
            )
        if self.revision is not None and revision != self.revision:
            raise LeaseLost(
                f"{device_uuid} is at revision {revision}, no longer at {self.revision} that "
                "If-Match names; nothing was changed: read the GPU again and decide anew"
            )

    def check_holder(self, device_uuid: str, lease: Lease | None, now_ns: int) -> None:
        """Refuse to end a lease of somebody else than the one named.

        Raises:
            LeaseHeld: Another holder has it.
        """
        if lease is None or self.holder is None or plain_text(self.holder) == lease.holder:
            return
        raise LeaseHeld(
            f"{device_uuid} is leased by {lease.holder!r}, not by {plain_text(self.holder)!r}; "
            "nothing was changed",
            holder=lease.holder,
            expires_in_seconds=ns_to_seconds(max(0, lease.expires_boottime_ns - now_ns)),
        )

    def covers(self, lease: Lease) -> bool:
        """Tell whether a lease that came into force after this was asked for is meant too."""
        return (
            self.revision is None
            and self.fencing_token in (None, lease.fencing_token)
            and (self.holder is None or plain_text(self.holder) == lease.holder)
        )


ANY = Meant()
"""Whatever lease is in force."""
