"""A stand-in for the kernel driver amdgpu: the files below /sys of the host's cards.

The tree lies in a folder of the test. In a process that called ``install`` every open of one of
its files goes through here first, as through the driver: the files then say what the card does
now, a cap written before has taken effect, and a planned fault is the errno of the open.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from fakes.amd import host

_WRITING = os.O_WRONLY | os.O_RDWR


def build(root: Path, cards: list[dict[str, Any]]) -> None:
    """Make the tree anew: cards, a partition's node and a connector, as they lie in /sys."""
    shutil.rmtree(root / "class", ignore_errors=True)
    drm = root / "class" / "drm"
    for index, card in enumerate(cards):
        if card["partition"]:  # a partition is a platform device: no vendor, no address
            device = drm / f"card{index}" / "device"
            device.mkdir(parents=True)
            (device / "uevent").write_text("DRIVER=amdgpu_xcp_drv\n")
            continue
        device = drm / f"card{index}" / "device"
        (device / "hwmon" / f"hwmon{index + 3}").mkdir(parents=True)
        (drm / f"card{index}-DP-1").mkdir()
        (device / "vendor").write_text("0x1002\n")
        (device / "device").write_text(f"{card['device_id']:#06x}\n")
        (device / "uevent").write_text(f"DRIVER=amdgpu\nPCI_SLOT_NAME={card['bdf'].upper()}\n")
        if card["unique_id"]:
            (device / "unique_id").write_text(f"{card['unique_id']}\n")
        (device / "product_name").write_text(f"{card['name']}\n")
        write(root, index, card)
    module = root / "module" / "amdgpu"
    module.mkdir(parents=True, exist_ok=True)
    (module / "version").write_text("6.14.14\n")


def write(root: Path, index: int, card: dict[str, Any]) -> None:
    """Bring the files of one card up to date."""
    device = root / "class" / "drm" / f"card{index}" / "device"
    sensors = next(device.glob("hwmon/hwmon*"))
    values = {
        "power1_input" if card["tells_current"] else "power1_average": host.power_mw(card) * 1_000,
        "power1_cap": card["cap_uw"],
        "power1_cap_default": card["default_uw"],
        "power1_cap_min": card["min_uw"],
        "power1_cap_max": card["max_uw"],
        "temp1_input": 51_000,
        "temp2_input": 67_000,
        "freq1_input": 1_700_000_000,
    }
    for name, value in values.items():
        (sensors / name).write_text(f"{value}\n")
    _shown(root, index).write_text(str(card["cap_uw"]))
    (device / "gpu_busy_percent").write_text("98\n" if card["demand_mw"] > 100_000 else "0\n")
    (device / "mem_info_vram_total").write_text(f"{card['vram_mb'] << 20}\n")
    (device / "mem_info_vram_used").write_text(f"{(card['vram_mb'] << 20) // 4}\n")


def install(root: Path) -> None:
    """Stand in for the driver in this process, from now on."""
    nodes = f"{root}/class/drm/card"
    inside = False

    def before(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal inside
        if event != "open" or inside or not str(arguments[0]).startswith(nodes):
            return
        inside = True
        try:
            _open(root, Path(arguments[0]), writing=bool(arguments[2] & _WRITING))
        finally:
            inside = False

    sys.addaudithook(before)


def _open(root: Path, file: Path, *, writing: bool) -> None:
    index = int(file.relative_to(root).parts[2].removeprefix("card"))
    card = host.state_now()["cards"][index]
    if card["partition"] or file.name in {"vendor", "device", "uevent"}:
        return  # not the driver's files: those of PCI itself
    number = host.fault(file.name + (" write" if writing else ""), index).get("errno")
    if number:
        raise OSError(number, os.strerror(number))
    take_cap(root, index)
    if file.exists():
        write(root, index, host.state_now()["cards"][index])


def take_cap(root: Path, index: int, state: Path | None = None) -> None:
    """Set the cap that was written since. The driver refuses one at once, this one ignores it."""
    device = root / "class" / "drm" / f"card{index}" / "device"
    written = next(device.glob("hwmon/hwmon*")).joinpath("power1_cap").read_text().strip()
    if written and written != _shown(root, index).read_text():
        host.set_cap(index, int(written), state)


def _shown(root: Path, index: int) -> Path:
    """The file that remembers which cap was last shown: any other one was written by somebody."""
    return root / f"shown-{index}"
