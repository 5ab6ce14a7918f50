"""Makes one rising energy of an AMD card's accumulator, which may have 32 bits only."""

from joulestat.devices.amd_source import Register

_SPAN_TICKS = 1 << 32
"""65.7 kJ at 15.3 uJ a tick: a 32-bit accumulator starts again after 4 minutes at 300 W."""

_UNTOLD_WATTS = 2_000.0
"""What a card may be able to draw that does not tell its highest limit."""

_HEADROOM = 2.0
"""Draws peak above the limit for moments."""


class Accumulator:
    """Counts the wraps of one card's accumulator. One thread.

    Any fall that a wrap does not explain is handed on as it is: whether it is a reset or a bad
    reading is judged by the meter, for all vendors alike.
    """

    def __init__(self) -> None:
        self._ticks: int | None = None
        self._at_ns = 0
        self._wraps = 0

    def energy_uj(self, register: Register, at_ns: int, highest_watts: float | None) -> int:
        """Return the energy since driver load, uJ rounded down, exact in integers.

        Args:
            register: The accumulator as read.
            at_ns: When, CLOCK_MONOTONIC.
            highest_watts: The card's highest limit, None where it does not tell.
        """
        if self._is_wrapped(register, at_ns, highest_watts or _UNTOLD_WATTS):
            self._wraps += 1
        self._ticks, self._at_ns = register.ticks, at_ns
        numerator, denominator = register.resolution_uj.as_integer_ratio()
        return (register.ticks + self._wraps * _SPAN_TICKS) * numerator // denominator

    def _is_wrapped(self, register: Register, at_ns: int, highest_watts: float) -> bool:
        if self._ticks is None or not register.ticks < self._ticks < _SPAN_TICKS:
            return False
        drawn_uj = (register.ticks + _SPAN_TICKS - self._ticks) * register.resolution_uj
        drawable_uj = highest_watts * _HEADROOM * (at_ns - self._at_ns) / 1e3
        # After a gap in which the card could draw the whole span, any fall would look like one.
        return drawn_uj <= drawable_uj < _SPAN_TICKS * register.resolution_uj
