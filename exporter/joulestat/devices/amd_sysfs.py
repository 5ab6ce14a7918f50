"""AMD GPUs through the files of the kernel driver, amdgpu: power and its cap, no energy counter.

Source: https://docs.kernel.org/gpu/amdgpu/thermal.html. Power is in uW, temperature in 1/1000
degree, the clock in Hz, memory in bytes.
"""

import errno
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from joulestat.devices.amd_names import uuid_of
from joulestat.devices.amd_source import Caps, CapWriter, Card, Offer, Quantity, caps, watts
from joulestat.domain.errors import DeviceError

_VENDOR = "0x1002"
_CARD = re.compile(r"card\d+")


class Sysfs:
    """The tree below /sys. It needs no opening, and any number of threads may read it."""

    name = "sysfs"

    def __init__(self, root: Path = Path("/sys")) -> None:
        """Take the tree's root, which is elsewhere in some containers and in tests."""
        self.root = root
        self.left_out: Mapping[int, str] = {}

    def open(self) -> str:
        """Do nothing: files have no version."""
        return ""

    def close(self) -> None:
        """Do nothing."""

    def addresses(self) -> frozenset[str]:
        """Return the PCI addresses of the cards that are there now: cheap, no driver is asked."""
        return frozenset(filter(None, map(_address, self._devices())))

    def cards(self) -> Sequence[Card]:
        """Return the cards, in order of PCI address.

        Partitions have card nodes as well, but of a platform device: no vendor, no address.
        """
        found = sorted(
            (bdf, device) for device in self._devices() if (bdf := _address(device)) is not None
        )
        cards = []
        left_out: dict[int, str] = {}
        for index, (bdf, device) in enumerate(found):
            try:
                cards.append(self._card(index, bdf, device))
            except DeviceError as error:
                left_out[index] = f"{error.call} {error.error}"
        self.left_out = left_out
        return cards

    def _devices(self) -> list[Path]:
        return [
            card / "device"
            for card in self.root.glob("class/drm/card*")
            if _CARD.fullmatch(card.name) and _text(card / "device" / "vendor") == _VENDOR
        ]

    def _card(self, index: int, bdf: str, device: Path) -> Card:
        files = _Files(device)
        device_id = _text(device / "device")
        offers: dict[Quantity, Callable[[], object]] = {
            Quantity.POWER: files.power_watts,
            Quantity.CAPS: files.caps,
            Quantity.UTILIZATION: files.utilization_ratio,
            Quantity.TEMPERATURE: files.temperature_celsius,
            Quantity.CLOCK: files.clock_hertz,
            Quantity.MEMORY: files.memory_bytes,
        }
        return Card(
            bdf=bdf,
            index=index,
            uuid=uuid_of(files.text("unique_id"), device_id),
            model=_text(device / "product_name") or f"AMD GPU {device_id}",
            driver_version=_text(self.root / "module/amdgpu/version") or os.uname().release,
            offers={quantity: Offer(self.name, ask) for quantity, ask in offers.items()},
            writer=CapWriter(partial(files.write, "power1_cap"), "power1_cap", "EINVAL"),
        )


class _Files:
    """The files of one card."""

    def __init__(self, device: Path) -> None:
        self._device = device

    def power_watts(self) -> float | None:
        """The power now where the card measures it, else its average."""
        for name in ("power1_input", "power1_average"):
            microwatts = self._sensor(name)
            power_watts = None if microwatts is None else watts(microwatts / 1e6)
            if power_watts is not None:
                return power_watts
        return None

    def caps(self) -> Caps | None:
        set_uw = self._sensor("power1_cap")
        if set_uw is None:
            return None
        names = ("power1_cap_default", "power1_cap_min", "power1_cap_max")
        return caps(set_uw, *(self._sensor(name) for name in names))

    def utilization_ratio(self) -> float | None:
        percent = self._number(self._device / "gpu_busy_percent")
        return None if percent is None or percent > 100 else percent / 100

    def temperature_celsius(self) -> float | None:
        """The junction's, which every card since Vega has, else the edge's."""
        for number in ("2", "1"):
            millidegrees = self._sensor(f"temp{number}_input")
            if millidegrees is not None:
                return millidegrees / 1e3
        return None

    def clock_hertz(self) -> float | None:
        hertz = self._sensor("freq1_input")
        return None if not hertz else float(hertz)

    def memory_bytes(self) -> tuple[int, int] | None:
        used = self._number(self._device / "mem_info_vram_used")
        total = self._number(self._device / "mem_info_vram_total")
        return None if used is None or not total else (used, total)

    def text(self, name: str) -> str | None:
        """Return what a file says, None where this card has no such file."""
        try:
            return (self._device / name).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(name, error) from error

    def write(self, name: str, value: int) -> None:
        folder = self._folder()
        try:
            if folder is None or not (folder / name).exists():
                self._check_there(name)
                raise FileNotFoundError(errno.ENOENT, "this card has no such file")
            (folder / name).write_text(str(value), encoding="ascii")
        except OSError as error:
            raise self._failed(name, error) from error

    def _sensor(self, name: str) -> int | None:
        folder = self._folder()
        if folder is None:
            self._check_there(name)
            return None
        return self._number(folder / name)

    def _folder(self) -> Path | None:
        # Looked for each time: its number is another one after the driver was loaded again.
        return next(self._device.glob("hwmon/hwmon*"), None)

    def _number(self, file: Path) -> int | None:
        try:
            return int(file.read_text(encoding="ascii"))
        except FileNotFoundError:
            self._check_there(file.name)
            return None
        except ValueError:  # "unsupported", or nothing at all
            return None
        except OSError as error:
            raise self._failed(file.name, error) from error

    def _check_there(self, name: str) -> None:
        """Tell a file that this card lacks from a card that is gone."""
        if not (self._device / "vendor").exists():
            raise self._failed(name, OSError(errno.ENODEV, "the card is gone"))

    def _failed(self, name: str, error: OSError) -> DeviceError:
        word = errno.errorcode.get(error.errno or 0, type(error).__name__)
        return DeviceError(f"{self._device.parent.name}: {name}: {word}", call=name, error=word)


def _address(device: Path) -> str | None:
    found = re.search(r"^PCI_SLOT_NAME=(\S+)$", _text(device / "uevent") or "", re.MULTILINE)
    return found[1].lower() if found else None


def _text(file: Path) -> str | None:
    """Return what a file says; None where it is missing, empty or cannot be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None
