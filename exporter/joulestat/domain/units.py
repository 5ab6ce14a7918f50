"""Units: integer microjoules and nanoseconds inside, SI floats at the door.

Energy is kept in integer microjoules (``_uj``) and time in integer nanoseconds
(``_ns``), so that sums are exact and conservation can be tested with ``==``.
Power and power limits are floats in watts (``_watts``).
"""

UJ_PER_JOULE = 1_000_000
UJ_PER_MILLIJOULE = 1_000
NS_PER_SECOND = 1_000_000_000
NS_PER_MILLISECOND = 1_000_000
JOULES_PER_KWH = 3_600_000.0

LIMIT_TOLERANCE_WATTS = 1.0
"""Two limits closer than this are the same: drivers round to their own grid."""


def uj_to_joules(energy_uj: int) -> float:
    """Return microjoules as joules, correctly rounded (one division, no sum of floats)."""
    return energy_uj / UJ_PER_JOULE


def ns_to_seconds(duration_ns: int) -> float:
    """Return nanoseconds as seconds, correctly rounded."""
    return duration_ns / NS_PER_SECOND


def seconds_to_ns(duration_seconds: float) -> int:
    """Return seconds as whole nanoseconds, rounded to nearest."""
    return round(duration_seconds * NS_PER_SECOND)


def power_to_uj(power_watts: float, duration_ns: int) -> int:
    """Return the energy of a constant power over a duration, in whole microjoules.

    1 W x 1 ns = 1e-3 uJ.
    """
    return round(power_watts * duration_ns / 1_000)


def same_limit(one_watts: float, other_watts: float) -> bool:
    """Tell whether two power limits are one limit, within the driver's rounding."""
    return abs(one_watts - other_watts) <= LIMIT_TOLERANCE_WATTS


def limit_label(limit_watts: float) -> str:
    """Return a power limit as the whole-watt text of the label ``power_limit_watts``.

    ``250.0`` and ``250.4`` become ``"250"``: the label must be canonical, because two
    spellings of one limit would be two time series.
    """
    return str(round(limit_watts))
