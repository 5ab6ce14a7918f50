"""Seeded noise whose integral is known, so that simulated energy stays exact."""

import hashlib
import math

from joulestat.domain.units import NS_PER_SECOND

_TURN = 2.0 * math.pi
_PERIOD_RANGES_SECONDS = ((2.0, 5.0), (5.0, 11.0))
"""One sine from each: shorter than a measurement window, longer than a tick."""


class Wobble:
    """Two sines of equal weight: a value from -1 to 1 at any instant, zero in the long run.

    A function of time alone: it has no state, so looking at it changes nothing, and two
    processes with the same seed see the same noise.
    """

    __slots__ = ("_sines",)

    def __init__(self, seed: str) -> None:
        digest = hashlib.sha256(seed.encode()).digest()
        fractions = [int.from_bytes(digest[at : at + 8], "big") / 2**64 for at in (0, 8, 16, 24)]
        # Whole nanoseconds: taking the phase modulo an integer keeps it exact however long the
        # host has been up.
        self._sines = tuple(
            (
                round((low + (high - low) * fractions[number]) * NS_PER_SECOND),
                _TURN * fractions[number + 2],
            )
            for number, (low, high) in enumerate(_PERIOD_RANGES_SECONDS)
        )

    def at(self, at_ns: int) -> float:
        """Return the value at an instant, -1 to 1."""
        return sum(
            0.5 * math.sin(_TURN * (at_ns % period_ns) / period_ns + phase)
            for period_ns, phase in self._sines
        )

    def integral_ns(self, start_ns: int, end_ns: int) -> float:
        """Return the integral of the value from start to end, in ns (value x time)."""
        total = 0.0
        for period_ns, phase in self._sines:
            at_start = math.cos(_TURN * (start_ns % period_ns) / period_ns + phase)
            at_end = math.cos(_TURN * (end_ns % period_ns) / period_ns + phase)
            total += 0.5 * period_ns / _TURN * (at_start - at_end)
        return total
