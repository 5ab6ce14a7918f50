"""A device's lease in force, and the numbers that outlive every lease of it."""

from joulestat.domain.limit import Lease
from joulestat.power.journal_rows import DeviceNumbers
from joulestat.power.write_rate import WriteRate


class InForce:
    """Fencing tokens, revisions and writes of one device. Changed under the device's lock.

    Attributes:
        shown: The lease in force and the revision, in one: who reads them without the lock must
            not find the new revision with the old lease.
        last_token: The last fencing token that was, or may have been, given to a lease.
        rate: How often the limit may be written.
    """

    def __init__(self, device_uuid: str, rate: WriteRate) -> None:
        self._device_uuid = device_uuid
        self.shown: tuple[Lease | None, int] = (None, 0)
        self.last_token = 0
        self.rate = rate

    @property
    def lease(self) -> Lease | None:
        """The lease in force, None without one."""
        return self.shown[0]

    @property
    def revision(self) -> int:
        """How often the lease has changed."""
        return self.shown[1]

    def begin(self, lease: Lease) -> None:
        """Count a lease that was granted, renewed or changed, and take it as the one in force."""
        self.shown = (lease, self.revision + 1)

    def end(self) -> None:
        """Take no lease as in force, and count that end once."""
        if self.lease is not None:
            self.shown = (None, self.revision + 1)

    def count_end_of_left_lease(self) -> None:
        """Count the end of a lease that an earlier process granted."""
        self.shown = (self.lease, self.revision + 1)

    def go_on_from(self, numbers: DeviceNumbers, boot_id: str) -> None:
        """Count on where an earlier process ended: nothing is given out twice."""
        self.last_token = numbers.fencing_token
        self.shown = (None, numbers.revision)
        # The clock of another boot says nothing here, and the driver was loaded anew since.
        if numbers.boot_id == boot_id:
            self.rate.empty_at_ns = numbers.writes_until_ns

    def numbers(self, boot_id: str, *, revisions_ahead: int = 0) -> DeviceNumbers:
        """Return what has to outlive this process.

        Args:
            boot_id: This boot.
            revisions_ahead: How many more there will be once this is on the disk.
        """
        revision = self.revision + revisions_ahead
        return DeviceNumbers(
            self._device_uuid, self.last_token, revision, boot_id, self.rate.empty_at_ns
        )
