"""Prints what this machine's NVIDIA cards really do, as Markdown for docs/hardware.md.

Reads only. Run it as `python tests/gpu/report.py`; ten seconds a card.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

from gpu.card import Watched, watch
from joulestat.devices.nvml_backend import open_nvml
from joulestat.domain.errors import BackendUnavailable
from joulestat.loops.system_clock import SystemClock


def rows(seen: Watched) -> Iterator[tuple[str, str]]:
    """Yield what was seen of a card: name and value."""
    limits, details = seen.first.limits, seen.first.details
    lowest, middle, highest = seen.powers_watts
    yield "driver", seen.device.driver_version
    yield "watched", f"{seen.seconds:.2f} s"
    yield "power draw, lowest / median / highest", f"{lowest:.1f} / {middle:.1f} / {highest:.1f} W"
    yield "energy by integrated power", f"{seen.integrated_joules:.1f} J"
    if seen.counter_joules is None:
        yield "energy by the counter", "no counter"
    else:
        ratio = seen.counter_joules / seen.integrated_joules
        yield "energy by the counter", f"{seen.counter_joules:.1f} J ({ratio:.4f} x integrated)"
    if periods := [seconds * 1e3 for seconds in seen.counter_periods_seconds]:
        span = f"{min(periods):.1f} to {max(periods):.1f} ms"
        yield "the counter changes every", f"{median(periods):.1f} ms ({span})"
    yield "one fast reading takes", f"{seen.read_seconds * 1e6:.0f} us"
    yield "limit set / enforced", f"{_watts(limits.set_watts)} / {_watts(limits.enforced_watts)}"
    yield "limit default", _watts(limits.default_watts)
    yield "limit range", f"{_watts(limits.min_watts)} to {_watts(limits.max_watts)}"
    yield "persistence mode", _known(details.persistence_mode)
    yield "utilization", _known(details.utilization_ratio)
    yield "temperature, C", _known(details.temperature_celsius)
    yield "SM clock, Hz", _known(details.sm_clock_hertz)
    yield "memory, bytes", f"{_known(details.memory_used_bytes)} / {details.memory_size_bytes}"
    yield "held back by the power cap", f"{seen.capped_share:.0%} of the readings"
    yield (
        "field 74 grew by",
        f"{seen.cap_counter_growth}, unit {seen.cap_counter_unit or 'unknown'}",
    )
    for name, value in seen.fields.items():
        yield f"field: {name}", value
    if seen.first.errors:
        yield "errors", ", ".join(f"{each.call} {each.error}" for each in seen.first.errors)


def _watts(limit_watts: float | None) -> str:
    return "not offered" if limit_watts is None else f"{limit_watts:g} W"


def _known(value: object) -> str:
    return "not offered" if value is None else str(value)


def main() -> int:
    """Watch every card and print a table of each."""
    try:
        backend = open_nvml(SystemClock())
    except BackendUnavailable as missing:
        sys.stderr.write(f"{missing}\n")
        return 1
    for device in backend.devices():
        lines = [f"### {device.model}", "", "| what | seen |", "|---|---|"]
        lines += [f"| {name} | {value} |" for name, value in rows(watch(backend, device))]
        sys.stdout.write("\n".join([*lines, "", ""]))
    backend.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
