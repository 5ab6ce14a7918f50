"""The three clocks of a host, behind one protocol, so that tests can turn them."""

from typing import Protocol


class Clock(Protocol):
    """What time it is. Every method may be called from any thread."""

    def monotonic_ns(self) -> int:
        """Return CLOCK_MONOTONIC in ns: shared by all processes of a host, stops in suspend.

        Readings, pushes (``at_ns``) and intervals use it.
        """
        ...

    def boottime_ns(self) -> int:
        """Return CLOCK_BOOTTIME in ns: runs through suspend and is never stepped.

        Leases use it: a lease must not be extended by closing a laptop's lid or by NTP.
        """
        ...

    def wall_seconds(self) -> float:
        """Return Unix time in seconds: for people and for Prometheus, never for intervals."""
        ...

    def boot_id(self) -> str:
        """Return an identity of this boot: monotonic and boot times compare only within one."""
        ...
