"""Whether a register and the integral of power tell the same story, window by window."""

from joulestat.domain.energy import Anomaly
from joulestat.domain.units import NS_PER_SECOND

FIRST_WINDOW_NS = 10 * NS_PER_SECOND
"""The start-up check: short, so that a card with a useless register is known at once."""

WINDOW_NS = 60 * NS_PER_SECOND
"""Long enough that lumps of the register (0.1 s) and a lagging power sensor (1 s) do not matter."""

LEAST_UJ = 200_000_000
"""A window lasts until at least 200 J were drawn: next to nothing compares with nothing."""

LOWEST_RATIO, HIGHEST_RATIO = 0.5, 2.0
"""A register outside of this is not a matter of accuracy: it counts something else, or nothing."""

GOOD_WINDOWS = 3
"""A register that was found wrong is believed again after so many windows without a fault."""


class Comparison:
    """Compares what the register counted with what power adds up to, over long windows."""

    def __init__(self, *, far_off: bool = False) -> None:
        self.far_off = far_off
        self._register_uj = 0
        self._integral_uj = 0
        self._lasted_ns = 0
        self._window_ns = FIRST_WINDOW_NS
        self._good = 0

    def add(self, register_uj: int, integral_uj: int, lasted_ns: int) -> tuple[Anomaly, ...]:
        """Take a span in which both are known.

        Returns:
            The anomaly, when the register has just been found to be far off: ``jump`` where it
            counts more than twice what is drawn, ``frozen`` where less than half.
        """
        self._register_uj += register_uj
        self._integral_uj += integral_uj
        self._lasted_ns += lasted_ns
        if self._lasted_ns < self._window_ns or self._integral_uj < LEAST_UJ:
            return ()
        ratio = self._register_uj / self._integral_uj
        self._window_ns = WINDOW_NS
        self.begin()
        if LOWEST_RATIO <= ratio <= HIGHEST_RATIO:
            self._good += 1
            if self._good >= GOOD_WINDOWS:
                self.far_off = False
            return ()
        self._good = 0
        if self.far_off:
            return ()
        self.far_off = True
        return (Anomaly.JUMP if ratio > HIGHEST_RATIO else Anomaly.FROZEN,)

    def begin(self) -> None:
        """Begin a window anew: one of the two is not known, or was not believed."""
        self._register_uj = self._integral_uj = self._lasted_ns = 0
