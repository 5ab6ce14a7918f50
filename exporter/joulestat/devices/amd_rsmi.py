"""AMD GPUs through pyrsmi: which there are, and their average power; nothing else of use.

No version of it (1.1.0 is the newest) has an energy counter or a power cap.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from joulestat.devices.amd_source import Card, Gate, Offer, Quantity, number, watts
from joulestat.domain.errors import DeviceError


class Rsmi:
    """pyrsmi, where amdsmi cannot be used: it finds ``libamd_smi.so`` in /opt/rocm by itself."""

    name = "pyrsmi"
    left_out: Mapping[int, str] = {}  # it tells no failure

    def __init__(self, library: Any, gate: Gate) -> None:
        """Take the module ``pyrsmi.rocml`` and the gate that it shares with amdsmi."""
        self._library = library
        self._gate = gate
        self._open = False

    def open(self) -> str:
        """Initialise; it fails in many ways: LibraryNotFound, RuntimeError, KeyError.

        It imports amdsmi first, which prints to stdout where it finds no library.
        """
        self.close()
        with contextlib.redirect_stdout(io.StringIO()):
            self._ask("smi_initialize")
        self._open = True
        return ""

    def cards(self) -> Sequence[Card]:
        """Return a card per PCI slot: pyrsmi does not tell the partitions of a card apart."""
        cards: dict[str, Card] = {}
        for index in range(int(number(self._ask("smi_get_device_count")) or 0)):
            bdf = bdf_of(self._ask("smi_get_device_pci_id", index))
            if bdf is not None:
                cards.setdefault(bdf.partition(".")[0], self._card(index, bdf))
        return list(cards.values())

    def close(self) -> None:
        """Shut it down."""
        if not self._open:
            return
        self._open = False
        try:
            self._ask("smi_shutdown")
        except DeviceError:
            return  # a driver that is gone cannot be shut down

    def _card(self, index: int, bdf: str) -> Card:
        model = self._ask("smi_get_device_name", index)
        offers = {
            Quantity.POWER: self._power,
            Quantity.UTILIZATION: self._utilization,
            Quantity.MEMORY: self._memory,
        }
        return Card(
            bdf=bdf,
            index=index,
            # Its UUID is one made of the PCI address wherever the library refuses: never trusted.
            uuid=None,
            model=model if isinstance(model, str) and model not in {"", "N/A"} else None,
            driver_version=None,
            offers={
                quantity: Offer(self.name, partial(ask, index)) for quantity, ask in offers.items()
            },
            writer=None,
        )

    def _power(self, index: int) -> float | None:
        """Return the average power in W.

        1.1.0 compares "N/A" with 0 on cards without a current power (MI200), swallows what
        that raises and answers -1 although the library has the average: unknown, as any -1.
        """
        return watts(self._ask("smi_get_device_average_power", index))

    def _utilization(self, index: int) -> float | None:
        percent = number(self._ask("smi_get_device_utilization", index))
        return None if percent is None or percent > 100 else percent / 100

    def _memory(self, index: int) -> tuple[int, int] | None:
        used = number(self._ask("smi_get_device_memory_used", index))
        total = number(self._ask("smi_get_device_memory_total", index))
        return None if used is None or not total else (int(used), int(total))

    def _ask(self, call: str, *arguments: Any) -> Any:
        function = getattr(self._library, call, None)
        if function is None:
            message = f"this pyrsmi has no {call}"
            raise DeviceError(message, call=call, error="FUNCTION_NOT_FOUND")
        with self._gate.entered(call):
            try:
                return function(*arguments)
            except Exception as error:  # foreign code of any version answers here
                name = type(error).__name__
                message = f"{call} answered {error!r}"
                raise DeviceError(message, call=call, error=name) from error


def bdf_of(pci_id: object) -> str | None:
    """Return the PCI address of pyrsmi's number; None for -1.

    The domain stands above bit 32 where pyrsmi asked amdsmi, and above bit 16 where it asked
    the library itself.
    """
    if not isinstance(pci_id, int) or pci_id < 0:
        return None
    domain = pci_id >> 32 or pci_id >> 16
    bus, device, function = pci_id >> 8 & 0xFF, pci_id >> 3 & 0x1F, pci_id & 7
    return f"{domain:04x}:{bus:02x}:{device:02x}.{function}"
