"""Whether a register and the integral of power tell the same story, window by window."""

from joulestat.domain.energy import Anomaly
from joulestat.domain.units import NS_PER_SECOND, power_to_uj

FIRST_WINDOW_NS = 10 * NS_PER_SECOND
"""The start-up check: short, so that a card with a useless register is known at once."""

WINDOW_NS = 60 * NS_PER_SECOND
"""Long enough that lumps of the register (0.1 s) do not matter."""

LEAST_READINGS = 50
"""... and that samples of a bursty power are no matter of luck: a slow beat has longer windows."""

LEAST_UJ = 200_000_000
"""A window lasts until at least 200 J were drawn: next to nothing compares with nothing."""

SENSOR_LAG_NS = 600 * NS_PER_SECOND // 1_000
"""A sensor that tells the mean of a second has not told half a second of a step in power: as much
as this long at the highest limit may be missing in a window, or be of the time before it."""

LOWEST_RATIO, HIGHEST_RATIO = 0.5, 2.0
"""A register outside of this is not a matter of accuracy: it counts something else, or nothing."""

GOOD_WINDOWS = 3
"""A register that was found wrong is believed again after so many windows without a fault."""


class Comparison:
    """Compares what the register counted with what power adds up to, over long windows."""

    def __init__(self, *, far_off: bool = False) -> None:
        self.far_off = far_off
        self._from: tuple[int, int, int] | None = None
        self._readings = 0
        self._window_ns = FIRST_WINDOW_NS
        self._good = 0

    def add(
        self, register_uj: int, integral_uj: int, at_ns: int, highest_watts: float
    ) -> tuple[Anomaly, ...]:
        """Take the register and the integral as they stand at one reading that has both.

        Returns:
            The anomaly, when the register has just been found to be far off: ``jump`` where it
            counts more than twice what is drawn, ``frozen`` where less than half.
        """
        now = (register_uj, integral_uj, at_ns)
        if self._from is None:
            self._from = now
            return ()
        self._readings += 1
        counted_uj, drawn_uj, lasted_ns = (
            after - before for after, before in zip(now, self._from, strict=True)
        )
        untold_uj = power_to_uj(highest_watts, SENSOR_LAG_NS)
        is_long = lasted_ns >= self._window_ns and self._readings >= LEAST_READINGS
        if not is_long or drawn_uj < max(LEAST_UJ, 2 * untold_uj):
            return ()
        self._window_ns = WINDOW_NS
        self.begin()
        self._from = now
        return self._judge(counted_uj, drawn_uj, untold_uj)

    def begin(self) -> None:
        """Begin a window anew: one of the two was not believed, or has a hole."""
        self._from = None
        self._readings = 0

    def _judge(self, counted_uj: int, drawn_uj: int, untold_uj: int) -> tuple[Anomaly, ...]:
        if LOWEST_RATIO <= counted_uj / drawn_uj <= HIGHEST_RATIO:
            self._good += 1
            if self._good >= GOOD_WINDOWS:
                self.far_off = False
            return ()
        too_much = counted_uj > HIGHEST_RATIO * (drawn_uj + untold_uj)
        if not too_much and counted_uj >= LOWEST_RATIO * (drawn_uj - untold_uj):
            return ()  # a lagging sensor explains it
        self._good = 0
        if self.far_off:
            return ()
        self.far_off = True
        return (Anomaly.JUMP if too_much else Anomaly.FROZEN,)
