"""The host's clocks."""

import contextlib
import time
from pathlib import Path


class SystemClock:
    """The host's clocks."""

    def __init__(self) -> None:
        with contextlib.suppress(OSError):
            self._boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    _boot_id = "unknown"

    def monotonic_ns(self) -> int:
        """Return CLOCK_MONOTONIC, ns."""
        return time.monotonic_ns()

    def boottime_ns(self) -> int:
        """Return CLOCK_BOOTTIME, ns."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def wall_seconds(self) -> float:
        """Return Unix time, s."""
        return time.time()

    def boot_id(self) -> str:
        """Return the kernel's random identity of this boot."""
        return self._boot_id
