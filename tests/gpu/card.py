"""Looks at one real NVIDIA card for a while, reading only."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

import pynvml

from joulestat.devices.nvml_backend import NvmlBackend
from joulestat.domain.clock import Clock
from joulestat.domain.device import Device, Reading
from joulestat.loops.system_clock import SystemClock

WATCH_SECONDS = 10.0
READ_INTERVAL_SECONDS = 0.02
COUNTER_WATCH_SECONDS = 2.0

POWER_CAP_FIELD = pynvml.NVML_FI_DEV_PERF_POLICY_POWER
OTHER_FIELDS = {
    "total energy, mJ": pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION,
    "power average, mW": pynvml.NVML_FI_DEV_POWER_AVERAGE,
    "power instant, mW": pynvml.NVML_FI_DEV_POWER_INSTANT,
    "power limit current, mW": pynvml.NVML_FI_DEV_POWER_CURRENT_LIMIT,
    "power limit requested, mW": pynvml.NVML_FI_DEV_POWER_REQUESTED_LIMIT,
    "held back by the power cap": POWER_CAP_FIELD,
}


@dataclass(frozen=True, slots=True)
class Watched:
    """One card, watched for some seconds.

    Attributes:
        device: Which.
        first: A full reading at the start.
        seconds: From the first reading to the last.
        counter_joules: Energy by the hardware's counter; None without one.
        integrated_joules: Energy as the trapezoid under the power readings.
        powers_watts: Lowest, median and highest power draw.
        read_seconds: Median of what one fast reading took.
        capped_share: Share of the readings in which the card was held back by its power cap.
        cap_counter_growth: By how much field 74 grew, in its own unit; None where the driver
            does not offer it.
        counter_periods_seconds: From one change of the energy counter to the next.
        fields: What nvmlDeviceGetFieldValues answers, by name: value or error code.
    """

    device: Device
    first: Reading
    seconds: float
    counter_joules: float | None
    integrated_joules: float
    powers_watts: tuple[float, float, float]
    read_seconds: float
    capped_share: float
    cap_counter_growth: int | None
    counter_periods_seconds: Sequence[float]
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def cap_counter_unit(self) -> str | None:
        """``ns`` or ``us``; None where the card was not held back for long enough to tell.

        A counter of time held back cannot grow by more than the time that passed: growth that
        is too large for us is ns.
        """
        growth = self.cap_counter_growth
        if growth is None or self.capped_share < 0.5:
            return None
        held_back_seconds = self.capped_share * self.seconds
        for unit, per_second in (("ns", 1e9), ("us", 1e6)):
            if 0.2 < growth / per_second / held_back_seconds < 5:
                return unit
        return None


def watch(backend: NvmlBackend, device: Device, clock: Clock | None = None) -> Watched:
    """Read a card as often as the exporter never would, for ten seconds."""
    clock = clock or SystemClock()
    handle = pynvml.nvmlDeviceGetHandleByIndex(device.index)
    first = backend.read(device.uuid, details=True)
    cap_before = field_of(handle, POWER_CAP_FIELD)
    readings, capped, took = [backend.read(device.uuid, details=False)], [], []
    end_ns = clock.monotonic_ns() + round(WATCH_SECONDS * 1e9)
    while clock.monotonic_ns() < end_ns:
        time.sleep(READ_INTERVAL_SECONDS)
        before_ns = clock.monotonic_ns()
        readings.append(backend.read(device.uuid, details=False))
        took.append((clock.monotonic_ns() - before_ns) / 1e9)
        capped.append(is_capped(handle))
    cap_after = field_of(handle, POWER_CAP_FIELD)
    powers = [each.power_watts for each in readings if each.power_watts is not None]
    return Watched(
        device=device,
        first=first,
        seconds=(readings[-1].at_ns - readings[0].at_ns) / 1e9,
        counter_joules=counted_joules(readings),
        integrated_joules=integrated_joules(readings),
        powers_watts=(min(powers), median(powers), max(powers)),
        read_seconds=median(took),
        capped_share=sum(capped) / len(capped),
        cap_counter_growth=None if None in (cap_before, cap_after) else cap_after - cap_before,
        counter_periods_seconds=counter_periods(handle),
        fields={name: shown(handle, number) for name, number in OTHER_FIELDS.items()},
    )


def counted_joules(readings: Sequence[Reading]) -> float | None:
    """Return the energy from the first to the last reading by the counter."""
    first_uj, last_uj = readings[0].energy_counter_uj, readings[-1].energy_counter_uj
    return None if first_uj is None or last_uj is None else (last_uj - first_uj) / 1e6


def integrated_joules(readings: Sequence[Reading]) -> float:
    """Return the area under the power readings."""
    return sum(
        (earlier.power_watts + later.power_watts) / 2 * (later.at_ns - earlier.at_ns) / 1e9
        for earlier, later in pairwise(readings)
        if earlier.power_watts is not None and later.power_watts is not None
    )


def counter_periods(handle: Any) -> list[float]:
    """Return the times between changes of the energy counter, s; empty without a counter."""
    changes: list[int] = []
    try:
        last = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        end_ns = time.monotonic_ns() + round(COUNTER_WATCH_SECONDS * 1e9)
        while (now_ns := time.monotonic_ns()) < end_ns:
            energy = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
            if energy != last:
                changes.append(now_ns)
                last = energy
            time.sleep(0.0005)
    except pynvml.NVMLError_NotSupported:
        return []
    return [(later - earlier) / 1e9 for earlier, later in pairwise(changes)]


def is_capped(handle: Any) -> bool:
    """Tell whether the power cap holds the clocks back now."""
    mask = pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
    return bool(mask & pynvml.nvmlClocksThrottleReasonSwPowerCap)


def field_of(handle: Any, number: int) -> int | None:
    """Return a field as the type that it says it is; None where it cannot be read."""
    answer = pynvml.nvmlDeviceGetFieldValues(handle, [number])[0]
    if answer.nvmlReturn != pynvml.NVML_SUCCESS:
        return None
    if answer.valueType == pynvml.NVML_VALUE_TYPE_UNSIGNED_INT:
        return int(answer.value.uiVal)
    return int(answer.value.ullVal)


def shown(handle: Any, number: int) -> str:
    """Return a field for people."""
    value = field_of(handle, number)
    return "not offered" if value is None else str(value)
