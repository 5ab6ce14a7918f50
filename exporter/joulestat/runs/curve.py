"""One device's energy at any instant, interpolated between readings."""

from bisect import bisect_left, bisect_right


class EnergyCurve:
    """Points (CLOCK_MONOTONIC ns, energy total uJ), both never falling."""

    def __init__(self, at_ns: int, total_uj: int) -> None:
        self._times_ns = [at_ns]
        self._totals_uj = [total_uj]

    @property
    def end_ns(self) -> int:
        """Up to when the energy is known."""
        return self._times_ns[-1]

    @property
    def end_uj(self) -> int:
        """The energy total there."""
        return self._totals_uj[-1]

    def append(self, at_ns: int, total_uj: int) -> None:
        """Add a point. One that is not later than the last is ignored."""
        if at_ns > self._times_ns[-1]:
            self._times_ns.append(at_ns)
            self._totals_uj.append(max(total_uj, self._totals_uj[-1]))

    def at(self, at_ns: int) -> int:
        """Return the energy total at an instant, uJ.

        Interpolated on a straight line and rounded down, so that the same instant always gives
        the same number. Outside of the known span the nearest known total is returned: the
        ledger asks only when the span covers the instant, or when the device is gone.
        """
        after = bisect_right(self._times_ns, at_ns)
        if after == 0:
            return self._totals_uj[0]
        if after == len(self._times_ns):
            return self._totals_uj[-1]
        t0, t1 = self._times_ns[after - 1], self._times_ns[after]
        e0, e1 = self._totals_uj[after - 1], self._totals_uj[after]
        return e0 + (e1 - e0) * (at_ns - t0) // (t1 - t0)

    def forget_before(self, at_ns: int) -> None:
        """Drop points that no instant from ``at_ns`` on needs."""
        keep_from = max(0, bisect_left(self._times_ns, at_ns) - 1)
        if keep_from > 64:  # in lumps: deleting from the front of a list moves the rest
            del self._times_ns[:keep_from]
            del self._totals_uj[:keep_from]
