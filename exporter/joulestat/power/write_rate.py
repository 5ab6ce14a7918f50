"""How often one device's limit may be written."""

from joulestat.domain.units import ns_to_seconds, seconds_to_ns


class WriteRate:
    """A leaky bucket in its one-number form (GCRA): the time when the bucket will be empty.

    Not thread-safe: used under its device's lock.
    """

    def __init__(self, *, interval_seconds: float, burst: int) -> None:
        self._interval_ns = seconds_to_ns(interval_seconds)
        self._slack_ns = (burst - 1) * self._interval_ns
        self.empty_at_ns = 0
        """CLOCK_BOOTTIME when every write is earned back; kept across restarts."""

    def wait_seconds(self, now_ns: int) -> float:
        """Return how long until the next write is allowed; 0.0 means now."""
        if self._interval_ns == 0:
            # Even where an earlier process counted with another interval.
            return 0.0
        return ns_to_seconds(max(0, self.empty_at_ns - self._slack_ns - now_ns))

    def take(self, now_ns: int) -> None:
        """Count one write, whatever becomes of it: a refused one wears the driver as well."""
        self.empty_at_ns = max(self.empty_at_ns, now_ns) + self._interval_ns
