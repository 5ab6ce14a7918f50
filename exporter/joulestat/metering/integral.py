"""Energy as the integral of power, for cards without a register and as a cross-check.

Exact in integers: mW x ns = 1e-12 J, so the trapezoid of two samples is a whole number of half
picojoules, and nothing is lost to rounding however long it runs.
"""

from joulestat.domain.units import NS_PER_SECOND

MAX_GAP_NS = 15 * NS_PER_SECOND
"""Longest gap bridged by a straight line: beyond it the power between is unknown. Above the slowest
beat that can be asked for, 10 s, of which some come late."""

_HALF_PJ_PER_UJ = 2_000_000


class PowerIntegral:
    """The trapezoid over power samples; gaps longer than MAX_GAP_NS add nothing."""

    def __init__(self, total_half_pj: int = 0) -> None:
        self._total_half_pj = total_half_pj
        self._last: tuple[int, int] | None = None

    @property
    def record(self) -> int:
        """What to write to disk: the total in half picojoules."""
        return self._total_half_pj

    @property
    def total_uj(self) -> int:
        """Energy so far, in whole uJ, rounded down; never falls."""
        return self._total_half_pj // _HALF_PJ_PER_UJ

    def add(self, at_ns: int, power_watts: float) -> int | None:
        """Take one sample.

        Args:
            at_ns: CLOCK_MONOTONIC; a sample not later than the last one is ignored.
            power_watts: Power draw, W; a negative one is no reading and is ignored.

        Returns:
            What this sample added, uJ; None where nothing is known of the time before it.
        """
        if power_watts < 0:
            return None
        power_mw = round(power_watts * 1_000)
        last, before_uj = self._last, self.total_uj
        if last is not None and at_ns <= last[0]:
            return None
        self._last = (at_ns, power_mw)
        if last is None or at_ns - last[0] > MAX_GAP_NS:
            return None
        self._total_half_pj += (last[1] + power_mw) * (at_ns - last[0])
        return self.total_uj - before_uj
