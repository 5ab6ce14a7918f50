"""What a source of AMD readings is: amdsmi, pyrsmi or sysfs; and what all their answers mean."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from joulestat.domain.errors import DeviceError

NOT_OFFERED = frozenset(
    {
        *("NOT_SUPPORTED", "NOT_YET_IMPLEMENTED", "FUNCTION_NOT_FOUND", "FAIL_LOAD_SYMBOL"),
        *("ENOENT", "EOPNOTSUPP", "ENODATA"),
    }
)
"""Errors that mean: this card, driver or library does not offer it; the next source may."""

GONE = frozenset(
    {
        *("NOT_FOUND", "NOT_INIT", "INIT_ERROR", "DRIVER_NOT_LOADED", "DRM_ERROR", "NO_DRV"),
        *("AMDGPU_RESTART_ERR", "NO_SLOT", "ENODEV", "ENXIO", "STUCK"),
    }
)
"""Errors after which the rest of a round would fail alike: the card or its driver is gone, or
another call hangs. Opening the library anew may help."""

HIGHEST_WATTS = 10_000.0
"""Above this a power or a limit is none: UINT64_MAX uW are 18 million MW, 0xFFFF W are N/A."""

NO_UINT64 = 0xFFFF_FFFF_FFFF_FFFF


class Quantity(StrEnum):
    """What can be asked of a card, and what the answer is."""

    ENERGY = "energy"
    """``Register``"""
    POWER = "power"
    """W, float"""
    CAPS = "limits"
    """``Caps``"""
    THROTTLE = "throttle"
    """frozenset of ``ThrottleReason``"""
    UTILIZATION = "utilization"
    """ratio, float"""
    TEMPERATURE = "temperature"
    """degrees Celsius, float"""
    CLOCK = "clock"
    """Hz, float"""
    MEMORY = "memory"
    """bytes used, bytes in all"""


@dataclass(frozen=True, slots=True)
class Register:
    """An energy counter as it stands: ``ticks`` of ``resolution_uj`` each, since driver load."""

    ticks: int
    resolution_uj: float


@dataclass(frozen=True, slots=True)
class Caps:
    """The power cap of a card, in W; None where the driver says nothing that could be true."""

    set_watts: float | None
    default_watts: float | None
    min_watts: float | None
    max_watts: float | None

    @property
    def range_watts(self) -> tuple[float, float] | None:
        """The range that may be set; None where the bounds are missing or contradict."""
        low_watts, high_watts = self.min_watts, self.max_watts
        if low_watts is None or high_watts is None or low_watts > high_watts:
            return None
        return low_watts, high_watts


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to ask for a quantity.

    Attributes:
        source: ``amdsmi``, ``pyrsmi`` or ``sysfs``.
        ask: Returns the answer, None for N/A; raises DeviceError.
    """

    source: str
    ask: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class CapWriter:
    """One way to set the cap.

    Attributes:
        write: Takes uW; raises DeviceError.
        call: The vendor's name of it.
        invalid: The vendor's name of the error for a value out of range.
    """

    write: Callable[[int], None]
    call: str
    invalid: str


@dataclass(frozen=True, slots=True)
class Card:
    """One GPU as a source shows it.

    Attributes:
        bdf: PCI address in lower case, ``0000:c1:00.0``: the same for all sources.
        index: Place in the source's own order.
        uuid: None where the source has none that tells cards apart.
        model: None where the source does not say.
        driver_version: None likewise.
        offers: What can be asked.
        writer: Sets the cap; None where the source cannot.
    """

    bdf: str
    index: int
    uuid: str | None
    model: str | None
    driver_version: str | None
    offers: Mapping[Quantity, Offer]
    writer: CapWriter | None


class Source(Protocol):
    """A library or the kernel's files."""

    name: str

    left_out: Mapping[int, str]
    """Index -> call and error, of the GPUs that ``cards`` left out: nobody knows who they are."""

    def open(self) -> str:
        """Open it, anew where it was open; return its version, empty where it has none.

        Raises:
            DeviceError: It cannot be used here.
        """
        ...

    def cards(self) -> Sequence[Card]:
        """Return the physical GPUs, without the other partitions of a card.

        Raises:
            DeviceError: It does not say.
        """
        ...

    def close(self) -> None:
        """Let go of it; never raises."""
        ...


class Gate:
    """Lets one thread at a time into AMD's libraries: none was thread-safe before ROCm 7.2.

    Who waits too long behind a call that hangs gets an error instead of hanging as well.
    """

    def __init__(self, wait_seconds: float = 5.0) -> None:
        self._lock = threading.RLock()
        self._wait_seconds = wait_seconds

    @contextmanager
    def entered(self, call: str, *, wait_seconds: float | None = None) -> Iterator[None]:
        """Hold the gate; a thread that holds it may enter again.

        Raises:
            DeviceError: Another thread has been inside for longer than the wait.
        """
        patience_seconds = self._wait_seconds if wait_seconds is None else wait_seconds
        if not self._lock.acquire(timeout=patience_seconds):
            message = f"{call} waited {patience_seconds:g} s for another call that hangs"
            raise DeviceError(message, call=call, error="STUCK")
        try:
            yield
        finally:
            self._lock.release()


def number(answer: object) -> float | None:
    """Return a plain number at least 0; None for "N/A", -1 and whatever else is none."""
    if isinstance(answer, bool) or not isinstance(answer, int | float):
        return None
    return answer if 0 <= answer < float("inf") else None


def watts(answer: object) -> float | None:
    """Return a power draw in W; None for N/A, and for 0: no die that is measured draws nothing.

    An MI250's odd die answers 0 W, because its even neighbour carries both.
    """
    power_watts = number(answer)
    return float(power_watts) if power_watts and power_watts <= HIGHEST_WATTS else None


def caps(set_uw: object, default_uw: object, min_uw: object, max_uw: object) -> Caps:
    """Return a cap from what a driver says in uW, without what cannot be true.

    A lowest cap of 0 is true: Instinct cards have no floor.
    """
    low_uw = number(min_uw)
    return Caps(
        set_watts=_cap_watts(set_uw),
        default_watts=_cap_watts(default_uw),
        min_watts=0.0 if low_uw == 0 else _cap_watts(low_uw),
        max_watts=_cap_watts(max_uw),
    )


def _cap_watts(cap_uw: object) -> float | None:
    microwatts = number(cap_uw)
    # Below 1 W: an SR-IOV host's driver answers in W where uW are due.
    if microwatts is None or not 1.0 <= microwatts / 1e6 <= HIGHEST_WATTS:
        return None
    return microwatts / 1e6
