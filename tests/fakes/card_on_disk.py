"""Cards whose limits outlive every process, as real ones' do: each a number in a file."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from joulestat.devices.backend import Limiter
from joulestat.domain.device import Device, Reading


class CardOnDisk:
    """The driver of one card.

    Attributes:
        step: Called before and after a limit is read or written, with what happens next.
    """

    def __init__(self, path: Path, step: Callable[[str], None] = lambda _: None) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.step = step

    def range_watts(self) -> tuple[float, float]:
        return 100.0, 400.0

    def read_watts(self) -> float:
        self.step("the card is read")
        return float(os.pread(self._fd, 16, 0))

    def enforced_watts(self) -> float | None:
        return None

    def write_watts(self, limit_watts: float) -> None:
        self.step("the card is written")
        os.pwrite(self._fd, f"{limit_watts:<16.3f}".encode(), 0)
        self.step("the card was written")

    def close(self) -> None:
        os.close(self._fd)


class CardsOnDisk:
    """A vendor's library with some such cards, of which only limits can be asked."""

    name = "simulated"
    serial = False

    def __init__(self, cards: Mapping[str, CardOnDisk]) -> None:
        self._cards = cards

    def devices(self) -> Sequence[Device]:
        return [
            Device(uuid, index, "none", "card on disk", "", "")
            for index, uuid in enumerate(self._cards)
        ]

    def limiter(self, device_uuid: str) -> Limiter | None:
        return self._cards.get(device_uuid)

    def refresh(self) -> bool:
        return False

    def parent_of(self, part_uuid: str) -> None:
        del part_uuid

    def processes(self, device_uuid: str) -> None:
        del device_uuid

    def read(self, device_uuid: str, *, details: bool) -> Reading:
        raise NotImplementedError(device_uuid, details)

    def close(self) -> None:
        """The cards belong to whoever made them."""
