"""How figures, names and times are written for people."""

import math
from datetime import UTC, datetime

from joulestat.domain.plan import Action, Decision, Expected, Window

SIGNIFICANT_DIGITS = 4
"""Of figures in tables; those of whole numbers are all shown, without an exponent."""

Z_95 = 1.96
"""Standard errors to each side of a value that make its 95 % interval."""

_BYTES_PER_KB = 1_000
_SECONDS_PER_MINUTE = 60
_SECONDS_PER_HOUR = 3_600
_SECONDS_PER_DAY = 86_400


def printable(text: str) -> str:
    """Escape control characters: a run's name must not steer the terminal."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def figure(value: float, digits: int = SIGNIFICANT_DIGITS) -> str:
    """Return a number with so many digits that count, never in exponents."""
    size = abs(value)
    decimals = max(0, digits - 1 - math.floor(math.log10(size))) if size > 0 else 0
    rounded = f"{value:.{decimals}f}"
    # 9.9996 rounds up to one digit more than was asked for.
    if decimals and size > 0 and abs(float(rounded)) >= 10 ** (math.floor(math.log10(size)) + 1):
        rounded = f"{value:.{decimals - 1}f}"
    return rounded


def percent(ratio: float) -> str:
    """Return a difference as signed percent; never "-0.0 %"."""
    rounded = round(100 * ratio, 1)
    return f"{rounded:+.1f} %" if rounded else "0.0 %"


def with_error(value: float, stderr: float | None) -> str:
    """Return a value with its relative 95 % interval, which compares at a glance."""
    if stderr is None or value <= 0:
        return figure(value)
    return f"{figure(value)} ± {100 * Z_95 * stderr / value:.1f} %"


def verdict(decision: Decision) -> str:
    """Return what to do, in a few words, such as "hold 250 W"."""
    if decision.action is Action.NONE:
        return "no advice"
    by_gpu = decision.gpu_power_limits_watts.values()
    if not by_gpu:
        return f"{decision.action.value} {decision.power_limit_watts} W"
    lowest, highest = min(by_gpu), max(by_gpu)
    if lowest == highest:
        return f"{decision.action.value} {lowest} W"
    return f"{decision.action.value} {lowest} to {highest} W, by GPU"


def in_words(expected: Expected) -> str:
    """Return "14.0 % less energy per step; steps take 3.0 % longer."."""
    saving = round(100 * expected.energy_saving_ratio, 1)
    longer = round(100 * (expected.slowdown_ratio - 1), 1)
    energy = f"{abs(saving):.1f} % {'less' if saving > 0 else 'more'}" if saving else "The same"
    pace = f"{abs(longer):.1f} % {'longer' if longer > 0 else 'shorter'}" if longer else "as long"
    return f"{energy} energy per step; steps take {pace}."


def objective_words(objective: dict[str, str | float]) -> str:
    """Return name and parameters of an objective, as they are typed."""
    return " ".join(
        f"{key}={value}" if key != "name" else str(value) for key, value in objective.items()
    )


def counted(number: int, one: str, several: str = "") -> str:
    """Return "1 GPU", "1,024 GPUs"; ``several`` where it is not ``one`` with an s."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def duration_words(duration_seconds: float) -> str:
    """Return a duration with its largest fitting unit, such as "2.5 h"."""
    for unit, unit_seconds in (
        ("d", _SECONDS_PER_DAY),
        ("h", _SECONDS_PER_HOUR),
        ("min", _SECONDS_PER_MINUTE),
    ):
        if duration_seconds >= 2 * unit_seconds:
            return f"{duration_seconds / unit_seconds:.3g} {unit}"
    return f"{duration_seconds:.3g} s"


def size_words(n_bytes: int) -> str:
    """Return a size in B, kB or MB of 1,000."""
    if n_bytes < _BYTES_PER_KB:
        return f"{n_bytes} B"
    if n_bytes < _BYTES_PER_KB**2:
        return f"{n_bytes / _BYTES_PER_KB:.3g} kB"
    return f"{n_bytes / _BYTES_PER_KB**2:.3g} MB"


def window_words(window: Window) -> dict[str, str]:
    """Return both ends of a window in RFC 3339."""
    return {"start": rfc3339(window.start_seconds), "end": rfc3339(window.end_seconds)}


def rfc3339(unix_seconds: float) -> str:
    """Return a moment in RFC 3339, UTC; milliseconds only where it has any."""
    moment = datetime.fromtimestamp(unix_seconds, UTC)
    text = moment.isoformat(timespec="seconds" if moment.microsecond == 0 else "milliseconds")
    return text.replace("+00:00", "Z")
