"""The functions of pyrsmi 1.1.0 that are of use, with what is odd about them.

They return -1, or an empty string, for whatever went wrong; device indices are its own.
"""

from typing import Any

from fakes.amd import host


class ROCMLError_LibraryNotFound(Exception):  # noqa: N801 - the vendor's name
    pass


_is_open = False


def smi_initialize() -> None:
    global _is_open  # noqa: PLW0603
    planned = host.fault("smi_initialize", None)
    if "raises" in planned:
        raise {"KeyError": KeyError, "NotFound": ROCMLError_LibraryNotFound}[planned["raises"]](
            "libamd_smi.so"
        )
    _is_open = True


def smi_shutdown() -> None:
    global _is_open  # noqa: PLW0603
    _is_open = False


def smi_get_device_count() -> int:
    return len(host.state_now()["cards"]) if _is_open else 0


def smi_get_device_name(dev: int) -> str:
    card = _card("smi_get_device_name", dev)
    return str(card["name"]) if card else ""


def smi_get_device_pci_id(dev: int) -> int:
    card = _card("smi_get_device_pci_id", dev)
    if card is None:
        return -1
    domain, bus, rest = card["bdf"].split(":")
    slot, function = rest.split(".")
    # As amdsmi_bdf_t: 48 bits of domain, 8 of bus, 5 of device, 3 of function.
    return int(domain, 16) << 16 | int(bus, 16) << 8 | int(slot, 16) << 3 | int(function)


def smi_get_device_average_power(dev: int) -> float:
    card = _card("smi_get_device_average_power", dev)
    if card is None or not card["tells_current"]:  # it compares "N/A" with 0
        return -1
    power = host.power_mw(card) // 1_000
    return float(power) if power > 0 else -1


def smi_get_device_utilization(dev: int) -> int:
    card = _card("smi_get_device_utilization", dev)
    if card is None:
        return -1
    return 98 if card["demand_mw"] > 100_000 else 0


def smi_get_device_memory_used(dev: int, type: str = "VRAM") -> int:  # noqa: A002
    card = _card("smi_get_device_memory_used", dev)
    return -1 if card is None else (card["vram_mb"] << 20) // 4


def smi_get_device_memory_total(dev: int, type: str = "VRAM") -> int:  # noqa: A002
    card = _card("smi_get_device_memory_total", dev)
    return -1 if card is None else card["vram_mb"] << 20


def _card(call: str, dev: int) -> dict[str, Any] | None:
    planned = host.fault(call, dev)
    cards = host.state_now()["cards"]
    if not _is_open or "status" in planned or not 0 <= dev < len(cards):
        return None
    card: dict[str, Any] = cards[dev]
    return card
