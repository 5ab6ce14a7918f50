"""Which AMD GPUs there are, and who can be asked about each of them."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from joulestat.devices import amd_libraries
from joulestat.devices.amd_gpu import Offers
from joulestat.devices.amd_rsmi import Rsmi
from joulestat.devices.amd_smi import AmdSmi
from joulestat.devices.amd_source import CapWriter, Card, Gate, Quantity, Source
from joulestat.devices.amd_sysfs import Sysfs
from joulestat.domain.device import Device
from joulestat.domain.errors import DeviceError


@dataclass(frozen=True, slots=True)
class Found:
    """A GPU, and its sources of this opening: the library's first, then the kernel's files."""

    device: Device
    offers: Offers
    writers: Sequence[CapWriter]


class Inventory:
    """Opens amdsmi, or else pyrsmi, and lays the kernel's files beside it, by PCI address.

    Attributes:
        reasons: Source -> why it shows no GPU, of those that show none.
    """

    def __init__(self, gate: Gate, sysfs: Sysfs) -> None:
        self._gate = gate
        self._sysfs = sysfs
        self._library: Source | None = None
        self._version = ""
        self.reasons: dict[str, str] = {}

    @property
    def has_library(self) -> bool:
        """Whether a library shows GPUs, or did; else the kernel's files are all there is."""
        return self._library is not None

    @property
    def is_whole(self) -> bool:
        """Whether no GPU was left out because it did not say who it is."""
        return not self._sysfs.left_out and not (self._library and self._library.left_out)

    def look(self) -> Sequence[Found]:
        """Open the library anew, for its processors are those of its opening; take all in.

        Returns:
            The GPUs in order of index; empty where the library that showed some shows none now,
            because its driver is gone or between two versions. The files do not step in then:
            the GPUs' numbers would change their source in the middle of a series.
        """
        cards = self._library_cards()
        files = {card.bdf: card for card in self._sysfs.cards()}
        if not cards and self._library is None:
            cards = list(files.values())
        if files:
            self.reasons.pop(self._sysfs.name, None)
        else:
            self.reasons[self._sysfs.name] = "no card of vendor 0x1002"
        return self._apart([self._found(card, files.get(card.bdf, card)) for card in cards])

    def close(self) -> None:
        """Let go of the library."""
        if self._library is not None:
            self._library.close()

    def _library_cards(self) -> Sequence[Card]:
        for library in [self._library] if self._library is not None else self._candidates():
            try:
                version = library.open()
                cards = library.cards()
            except DeviceError as error:
                self.reasons[library.name] = str(error)
                continue
            if cards:
                self._library, self._version = library, version
                self.reasons.pop(library.name, None)
                return cards
            library.close()
            self.reasons[library.name] = "it shows no GPU"
        return ()

    def _candidates(self) -> list[Source]:
        if amd_libraries.reasons:  # ROCm may have been installed since
            importlib.reload(amd_libraries)
        self.reasons.update(amd_libraries.reasons)
        candidates: list[Source] = []
        if amd_libraries.amdsmi is not None:
            candidates.append(AmdSmi(amd_libraries.amdsmi, self._gate))
        if amd_libraries.rocml is not None:
            candidates.append(Rsmi(amd_libraries.rocml, self._gate))
        return candidates

    def _found(self, card: Card, files: Card) -> Found:
        through = f"{self._library.name} {self._version}".rstrip() if self._library else "sysfs"
        driver = card.driver_version or files.driver_version or "unknown"
        sides = [card] if card is files else [card, files]
        return Found(
            device=Device(
                uuid=card.uuid or files.uuid or f"AMD-{card.bdf}",
                index=card.index,
                vendor="AMD",
                model=card.model or files.model or "AMD GPU",
                pci_bus_id=card.bdf,
                driver_version=f"{driver} ({through})",
            ),
            offers={
                quantity: [side.offers[quantity] for side in sides if quantity in side.offers]
                for quantity in Quantity
            },
            writers=[side.writer for side in sides if side.writer is not None],
        )

    def _apart(self, found: Sequence[Found]) -> Sequence[Found]:
        """Name by its address whoever has the UUID of another: dies that share a serial number."""
        taken: set[str] = set()
        apart = []
        for each in found:
            device = each.device
            if device.uuid in taken:
                device = replace(device, uuid=f"AMD-{device.pci_bus_id}")
            taken.add(device.uuid)
            apart.append(replace(each, device=device))
        return apart
