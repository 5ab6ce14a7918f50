"""A hardware energy register, believed only as far as it can be true.

One sample that lies 8.5 kJ too low near 22 MJ makes PromQL's ``increase()`` return 22.3 MJ
instead of 150 kJ. So a reading is believed only if the device can have drawn the difference;
anything else is held back until three readings in a row agree on a new base.
"""

from dataclasses import dataclass

from joulestat.domain.energy import Anomaly
from joulestat.domain.units import NS_PER_SECOND, power_to_uj

CONFIRMATIONS = 3
"""Readings that must agree on a new base: registers have been seen to drop to zero for one. And
they must have counted on it: one that only stands at another value is broken, not reset."""

DRAW_FACTOR = 2
"""A GPU overshoots its limit for milliseconds; twice the highest limit is beyond any of them."""

CATCH_UP_SHARE = 4
"""A register that catches up may count a quarter more than the sensor of power."""

REGISTER_PERIOD_NS = NS_PER_SECOND // 2
"""Slack for a register that is updated in lumps (20-100 ms are usual)."""

FALLBACK_MAX_WATTS = 2_000.0
"""Bound for a card that does not tell its highest limit: above every card on the market."""


@dataclass(frozen=True, slots=True)
class CounterRecord:
    """What must survive a restart of the exporter.

    Attributes:
        raw_uj: Last believed register value, None before the first.
        at_ns: CLOCK_MONOTONIC of that reading.
    """

    raw_uj: int | None
    at_ns: int


class EnergyRegister:
    """Turns raw register values into believed increments."""

    def __init__(self, record: CounterRecord | None = None) -> None:
        self._raw_uj = record.raw_uj if record else None
        self._at_ns = record.at_ns if record else 0
        self._candidates: list[tuple[int, int]] = []

    @property
    def record(self) -> CounterRecord:
        """What to write to disk."""
        return CounterRecord(self._raw_uj, self._at_ns)

    def advance(
        self, raw_uj: int, at_ns: int, max_watts: float | None, drawn_uj: int = 0
    ) -> tuple[int | None, tuple[Anomaly, ...]]:
        """Take one register value.

        Args:
            raw_uj: Register value in uJ.
            at_ns: CLOCK_MONOTONIC of the reading, later than the last one.
            max_watts: The highest limit of the device, None where unknown.
            drawn_uj: What power added up to since the register last moved: one that stood
                still may catch up with it in one step.

        Returns:
            The believed increment in uJ since the last believed reading (None while the reading
            is held back), and the anomalies that this reading showed.
        """
        if self._raw_uj is None:
            self._believe(raw_uj, at_ns)
            return 0, ()
        bound = bound_watts(max_watts)
        catches_up = 0 <= raw_uj - self._raw_uj <= drawn_uj + drawn_uj // CATCH_UP_SHARE
        if catches_up or _possible(self._raw_uj, self._at_ns, raw_uj, at_ns, bound):
            increment_uj = raw_uj - self._raw_uj
            self._believe(raw_uj, at_ns)
            return increment_uj, ()
        return self._hold(raw_uj, at_ns, bound)

    def _hold(
        self, raw_uj: int, at_ns: int, bound: float
    ) -> tuple[int | None, tuple[Anomaly, ...]]:
        """Keep a strange value as a candidate for a new base; accept it when confirmed."""
        fell = raw_uj < (self._raw_uj or 0)
        if self._candidates:
            last_raw_uj, last_at_ns = self._candidates[-1]
            if not _possible(last_raw_uj, last_at_ns, raw_uj, at_ns, bound):
                self._candidates.clear()
        found: tuple[Anomaly, ...] = ()
        if not self._candidates:
            found = (Anomaly.BACKWARDS if fell else Anomaly.JUMP,)
        self._candidates.append((raw_uj, at_ns))
        counted_uj = raw_uj - self._candidates[0][0]
        if len(self._candidates) < CONFIRMATIONS or counted_uj == 0:
            del self._candidates[CONFIRMATIONS:]
            return None, found
        # Nothing is known of the step itself, only what was counted since the first look at the
        # new base.
        self._believe(raw_uj, at_ns)
        return counted_uj, (*found, Anomaly.RESET)

    def _believe(self, raw_uj: int, at_ns: int) -> None:
        self._raw_uj = raw_uj
        self._at_ns = at_ns
        self._candidates.clear()


def bound_watts(max_watts: float | None) -> float:
    """Return the power that no reading of a card with this highest limit can exceed, W."""
    return DRAW_FACTOR * (max_watts or FALLBACK_MAX_WATTS)


def _possible(from_uj: int, from_ns: int, to_uj: int, to_ns: int, bound: float) -> bool:
    """Tell whether a device below ``bound`` watts can have taken the register from a to b."""
    ceiling_uj = power_to_uj(bound, max(0, to_ns - from_ns) + REGISTER_PERIOD_NS)
    return 0 <= to_uj - from_uj <= ceiling_uj
