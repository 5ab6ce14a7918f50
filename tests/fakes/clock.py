"""A clock that stands still until a test turns it."""

from joulestat.domain.units import NS_PER_SECOND


class FakeClock:
    """Monotonic and boot time start apart, so that mixing them up shows."""

    def __init__(self, *, wall_seconds: float = 1_795_000_000.0, boot_id: str = "boot-1") -> None:
        self._monotonic_ns = 1_000 * NS_PER_SECOND
        self._boottime_ns = 5_000 * NS_PER_SECOND
        self._wall_seconds = wall_seconds
        self._boot_id = boot_id

    def advance(self, seconds: float) -> None:
        """Let time pass on all clocks alike."""
        step_ns = round(seconds * NS_PER_SECOND)
        self._monotonic_ns += step_ns
        self._boottime_ns += step_ns
        self._wall_seconds += seconds

    def step_wall(self, seconds: float) -> None:
        """Step the wall clock alone, as NTP or an administrator does."""
        self._wall_seconds += seconds

    def reboot(self, boot_id: str) -> None:
        """Start another boot: both kernel clocks begin again."""
        self._boot_id = boot_id
        self._monotonic_ns = 10 * NS_PER_SECOND
        self._boottime_ns = 10 * NS_PER_SECOND

    def monotonic_ns(self) -> int:
        return self._monotonic_ns

    def boottime_ns(self) -> int:
        return self._boottime_ns

    def wall_seconds(self) -> float:
        return self._wall_seconds

    def boot_id(self) -> str:
        return self._boot_id
