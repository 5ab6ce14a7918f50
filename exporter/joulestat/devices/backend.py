"""The two protocols that every vendor's code fulfils."""

from collections.abc import Sequence
from typing import Protocol

from joulestat.domain.device import Device, Reading


class Limiter(Protocol):
    """Sets the power limit of one device. A device that cannot be set has no limiter.

    Calls block on the driver (10-20 ms to set). They may come from any thread, but never two
    at once for one device: the governor sees to that.
    """

    def range_watts(self) -> tuple[float, float]:
        """Return the lowest and the highest limit that the driver accepts, W.

        Raises:
            DeviceError: The driver did not answer.
        """
        ...

    def read_watts(self) -> float:
        """Return the limit as set now (not as enforced), W.

        Raises:
            DeviceError: The driver did not answer.
        """
        ...

    def enforced_watts(self) -> float | None:
        """Return the limit really in force, W; None where the driver does not tell it apart.

        Raises:
            DeviceError: The driver did not answer.
        """
        ...

    def write_watts(self, limit_watts: float) -> None:
        """Set the limit. The caller reads it back.

        Raises:
            LimitPermissionDenied: This process lacks the privilege.
            LimitRefused: The driver refused the value.
            DeviceError: Anything else the driver answered.
        """
        ...


class Backend(Protocol):
    """Reads the devices of one vendor library. Opened by its constructor or ``open`` function."""

    name: str
    """The literal name on the command line, for example ``nvml``."""

    serial: bool
    """Whether one thread must do all reads, because the vendor's library stands no other."""

    def devices(self) -> Sequence[Device]:
        """Return the devices as of the last ``refresh``, in order of index; empty without any."""
        ...

    def refresh(self) -> bool:
        """Look again at what is there: devices that came, went or moved to another index.

        Opens the vendor's library anew where nothing less helps (the driver was reloaded, the
        library was replaced). Called every few seconds by one thread; never raises, and never
        waits longer than a second for a read that hangs.

        Returns:
            Whether ``devices()`` changed.
        """
        ...

    def parent_of(self, part_uuid: str) -> str | None:
        """Return the UUID of the device that a partition (a MIG instance) is cut from.

        Asks no driver. None where no such partition was there at the last ``refresh``.
        """
        ...

    def processes(self, device_uuid: str) -> frozenset[int] | None:
        """Return the ids of the processes that compute on a device now; None for unknown.

        Never raises. Blocks as long as the driver does.
        """
        ...

    def read(self, device_uuid: str, *, details: bool) -> Reading:
        """Read one device.

        Never raises for a failing call: what failed is None and listed in ``Reading.errors``;
        what the card does not support is None and not listed. May block as long as the driver
        does. Called by one thread per device.

        Args:
            device_uuid: One of ``devices()``.
            details: Read the slow values too; otherwise the last ones are repeated.
        """
        ...

    def limiter(self, device_uuid: str) -> Limiter | None:
        """Return what sets this device's limit, or None where that is impossible.

        Whether the privilege suffices is known only after trying; see ``LimitPermissionDenied``.
        """
        ...

    def close(self) -> None:
        """Release the library. Idempotent."""
        ...
