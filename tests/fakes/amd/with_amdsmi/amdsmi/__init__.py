"""A stand-in for ROCm's package amdsmi (7.0.2): its names, units, keys, "N/A" and exceptions.

Statuses that a test plans are answered as the library's wrapper answers them.
"""

import ctypes
from enum import IntEnum
from typing import Any

from amdsmi.amdsmi_exception import (
    AmdSmiException,
    AmdSmiLibraryException,
    AmdSmiParameterException,
    AmdSmiRetryException,
    AmdSmiTimeoutException,
)
from fakes.amd import host

__all__ = [
    "AmdSmiException",
    "AmdSmiLibraryException",
    "AmdSmiParameterException",
    "AmdSmiRetryException",
    "AmdSmiTimeoutException",
]

RESOLUTION_UJ = ctypes.c_float(15.3).value
"""Hard-coded in the library; the register counts in 15.2588 uJ."""


class AmdSmiTemperatureType(IntEnum):
    EDGE = 0
    HOTSPOT = 1
    VRAM = 2


class AmdSmiTemperatureMetric(IntEnum):
    CURRENT = 0


class AmdSmiClkType(IntEnum):
    SYS = 0
    GFX = 0
    MEM = 4


class processor_handle:  # noqa: N801 - the vendor's name
    """A pointer, good until the library is shut down."""

    def __init__(self, index: int, opening: int) -> None:
        self.index, self.opening = index, opening


_openings = 0
_is_open = False
_inside = 0


def _check(call: str, handle: object = None, *, of_gpu: bool = True) -> tuple[dict[str, Any], Any]:
    """Fail as planned, or return the plan and the card."""
    if of_gpu and not isinstance(handle, processor_handle):
        raise AmdSmiParameterException(handle, processor_handle)
    index = handle.index if isinstance(handle, processor_handle) else None
    planned = _alone(call, index)
    status = planned.get("status", 0)
    if status == 0 and call != "amdsmi_init":
        if not _is_open:
            status = 32
        elif isinstance(handle, processor_handle) and (
            handle.opening != _openings or index not in range(len(host.state_now()["cards"]))
        ):
            status = 31
    if status == 9:
        raise AmdSmiRetryException
    if status == 8:
        raise AmdSmiTimeoutException
    if status:
        raise AmdSmiLibraryException(status)
    return planned, None if index is None else host.state_now()["cards"][index]


def _alone(call: str, index: int | None) -> dict[str, Any]:
    """Take the plan's time; two threads inside at once are what the library does not stand."""
    global _inside  # noqa: PLW0603
    _inside += 1
    try:
        if _inside > 1:
            raise AmdSmiLibraryException(43)
        return host.fault(call, index)
    finally:
        _inside -= 1


def _without(answer: dict[str, Any], planned: dict[str, Any]) -> dict[str, Any]:
    return answer | dict.fromkeys(answer.keys() & set(planned.get("na", ())), "N/A")


def amdsmi_init(flag: int = 2) -> None:
    global _openings, _is_open  # noqa: PLW0603
    _check("amdsmi_init", of_gpu=False)
    _openings += 1
    _is_open = True


def amdsmi_shut_down() -> None:
    global _is_open  # noqa: PLW0603
    _check("amdsmi_shut_down", of_gpu=False)
    _is_open = False


def amdsmi_get_lib_version() -> dict[str, Any]:
    _check("amdsmi_get_lib_version", of_gpu=False)
    return {"major": 26, "minor": 0, "release": 2, "build": "0"}


def amdsmi_get_processor_handles() -> list[processor_handle]:
    _check("amdsmi_get_processor_handles", of_gpu=False)
    return [processor_handle(index, _openings) for index in range(len(host.state_now()["cards"]))]


def amdsmi_get_gpu_device_bdf(handle: processor_handle) -> str:
    _, card = _check("amdsmi_get_gpu_device_bdf", handle)
    return str(card["bdf"])


def amdsmi_get_gpu_device_uuid(handle: processor_handle) -> str:
    _, card = _check("amdsmi_get_gpu_device_uuid", handle)
    digits, device = f"{int(card['unique_id'] or '0', 16):016x}", card["device_id"]
    return f"{digits[:2]}ff{device:04x}-0000-1000-80{digits[2:4]}-{digits[4:]}"


def amdsmi_get_gpu_kfd_info(handle: processor_handle) -> dict[str, Any]:
    _, card = _check("amdsmi_get_gpu_kfd_info", handle)
    partition = "N/A" if card["partition"] is None else card["partition"]
    return {"kfd_id": 1234, "node_id": handle.index + 1, "current_partition_id": partition}


def amdsmi_get_gpu_asic_info(handle: processor_handle) -> dict[str, Any]:
    _, card = _check("amdsmi_get_gpu_asic_info", handle)
    return {"market_name": card["name"], "vendor_id": "0x1002", "device_id": hex(card["device_id"])}


def amdsmi_get_gpu_board_info(handle: processor_handle) -> dict[str, Any]:
    _check("amdsmi_get_gpu_board_info", handle)
    return {"model_number": "N/A", "product_name": "Stand-in board"}


def amdsmi_get_gpu_driver_info(handle: processor_handle) -> dict[str, Any]:
    _check("amdsmi_get_gpu_driver_info", handle)
    return {"driver_name": "amdgpu", "driver_version": "6.14.14", "driver_date": "N/A"}


def amdsmi_get_energy_count(handle: processor_handle) -> dict[str, Any]:
    planned, card = _check("amdsmi_get_energy_count", handle)
    key = "power" if planned.get("old_key") else "energy_accumulator"
    return {
        key: host.accumulator(card),
        "counter_resolution": RESOLUTION_UJ,
        "timestamp": card["since_ns"],
    }


def amdsmi_get_power_info(handle: processor_handle) -> dict[str, Any]:
    planned, card = _check("amdsmi_get_power_info", handle)
    power = host.power_mw(card) // 1_000  # in W
    current = card["tells_current"]
    answer = {
        "socket_power": power,
        "current_socket_power": power if current else "N/A",
        "average_socket_power": "N/A" if current else power,
        "gfx_voltage": 800,
        "power_limit": card["cap_uw"],
    }
    return _without(answer, planned)


def amdsmi_get_power_cap_info(handle: processor_handle) -> dict[str, Any]:
    _, card = _check("amdsmi_get_power_cap_info", handle)
    return {
        "power_cap": card["cap_uw"],
        "default_power_cap": card["default_uw"],
        "dpm_cap": 0,
        "min_power_cap": card["min_uw"],
        "max_power_cap": card["max_uw"],
    }


def amdsmi_set_power_cap(handle: processor_handle, sensor_ind: int, cap: int) -> None:
    _check("amdsmi_set_power_cap", handle)
    if not isinstance(cap, int):
        raise AmdSmiParameterException(cap, int)
    if sensor_ind != 0 or not host.set_cap(handle.index, ctypes.c_uint64(cap).value):
        raise AmdSmiLibraryException(1)


def amdsmi_get_violation_status(handle: processor_handle) -> dict[str, Any]:
    planned, card = _check("amdsmi_get_violation_status", handle)
    answer = {
        "active_prochot_thrm": False,
        "active_ppt_pwr": card["demand_mw"] > card["cap_uw"] // 1_000,
        "active_socket_thrm": False,
        "active_vr_thrm": False,
        "active_hbm_thrm": "N/A",
    }
    return _without(answer | planned.get("answer", {}), planned)


def amdsmi_get_gpu_activity(handle: processor_handle) -> dict[str, Any]:
    planned, card = _check("amdsmi_get_gpu_activity", handle)
    busy = 98 if card["demand_mw"] > 100_000 else 0
    return _without({"gfx_activity": busy, "umc_activity": 20, "mm_activity": "N/A"}, planned)


def amdsmi_get_temp_metric(
    handle: processor_handle, sensor: AmdSmiTemperatureType, metric: AmdSmiTemperatureMetric
) -> int:
    _check("amdsmi_get_temp_metric", handle)
    if sensor is not AmdSmiTemperatureType.HOTSPOT:
        raise AmdSmiLibraryException(2)
    return 67


def amdsmi_get_clock_info(handle: processor_handle, clock: AmdSmiClkType) -> dict[str, Any]:
    planned, _ = _check("amdsmi_get_clock_info", handle)
    return _without({"clk": 1_700, "min_clk": 132, "max_clk": 2_100, "clk_locked": False}, planned)


def amdsmi_get_gpu_vram_usage(handle: processor_handle) -> dict[str, Any]:
    _, card = _check("amdsmi_get_gpu_vram_usage", handle)
    return {"vram_total": card["vram_mb"], "vram_used": card["vram_mb"] // 4}
