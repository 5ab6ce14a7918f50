"""One AMD GPU: each value asked of the first source that has it, all of them made a reading."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from joulestat.devices.amd_energy import Accumulator
from joulestat.devices.amd_source import (
    GONE,
    NOT_OFFERED,
    Caps,
    CapWriter,
    Offer,
    Quantity,
    Register,
)
from joulestat.domain.clock import Clock
from joulestat.domain.device import CallError, Details, Device, PowerLimits, Reading
from joulestat.domain.errors import DeviceError

Offers = Mapping[Quantity, Sequence[Offer]]
"""Per quantity, who can be asked, best first."""

THROTTLE_BEATS = 10
"""amdsmi samples throttling for 100 ms a GPU, and one thread reads all GPUs: so each is asked at
every tenth slow beat only, and no two neighbours at the same."""

_WATCHED = (Quantity.ENERGY, Quantity.POWER, Quantity.CAPS)
"""What makes up the numbers that people rely on: whose they are is logged."""


class AmdGpu:
    """Reads one GPU; keeps its slow values, and the wraps of its accumulator.

    The same object goes on when the library is opened anew: who holds it, or its limiter,
    then asks through the new handles.

    Attributes:
        device: Which GPU.
        writers: What can set its cap, best first.
        is_gone: Whether the last round found the card, or the driver behind it, gone.
    """

    def __init__(
        self, device: Device, offers: Offers, writers: Sequence[CapWriter], clock: Clock
    ) -> None:
        self._clock = clock
        self._accumulator = Accumulator()
        self._details = Details()
        self._beats = 0
        self._errors: list[CallError] = []
        self._slow_errors: dict[Quantity, list[CallError]] = {}
        self.is_gone = False
        self.take(device, offers, writers)

    def take(self, device: Device, offers: Offers, writers: Sequence[CapWriter]) -> None:
        """Go on with these sources: those of an opening."""
        self._unsupported: set[tuple[Quantity, str]] = set()
        self._offers = offers
        self.writers = writers
        self.device = device

    def take_away(self) -> None:
        """Have no source any more: the libraries do not show this GPU now."""
        gone = {quantity: [Offer("none", _not_there)] for quantity in Quantity}
        self.take(self.device, gone, self.writers)

    def sources(self) -> tuple[str, ...]:
        """Ask once, and return whose energy, power and limits this GPU's readings are.

        ``none`` where no source has any, the error's name where asking failed.
        """
        return tuple(self._source(quantity) for quantity in _WATCHED)

    def caps(self) -> Caps:
        """Return the caps as they are now. Any thread.

        Raises:
            DeviceError: No source answered; NOT_SUPPORTED where none offers them.
        """
        for offer in self._offers.get(Quantity.CAPS, ()):
            try:
                caps: Caps | None = offer.ask()
            except DeviceError as error:
                if error.error not in NOT_OFFERED:
                    raise
                continue
            if caps is not None:
                return caps
        message = f"GPU {self.device.index} tells no power cap"
        raise DeviceError(message, call="amdsmi_get_power_cap_info", error="NOT_SUPPORTED")

    def read(self, *, details: bool) -> Reading:
        """Read energy, power and limits; with ``details`` all the rest.

        Never raises for what a library answers. One thread at a time.
        """
        self._errors = []
        self.is_gone = False
        if details:
            self._unsupported.clear()  # support comes and goes with the driver
        before_ns = self._clock.monotonic_ns()
        register: Register | None = self._ask(Quantity.ENERGY)
        counter_failed = bool(self._errors)
        # The middle of the call halves the error where the driver is slow to answer.
        at_ns = (before_ns + self._clock.monotonic_ns()) // 2
        power_watts: float | None = self._ask(Quantity.POWER)
        caps: Caps | None = self._ask(Quantity.CAPS)
        if self._errors and register is None and power_watts is None and caps is None:
            self.is_gone = True  # whatever the errors are called: UNKNOWN_ERROR, IO, a number
        errors, lost = list(self._errors), self.is_gone
        if details:
            self._read_details()
        if not lost:
            errors += chain.from_iterable(self._slow_errors.values())
        highest_watts = caps.max_watts if caps else None
        return Reading(
            at_ns=at_ns,
            energy_counter_uj=(
                self._accumulator.energy_uj(register, at_ns, highest_watts) if register else None
            ),
            power_watts=power_watts,
            limits=_limits(caps),
            details=self._details,
            errors=tuple(errors),
            counter_failed=counter_failed,
        )

    def _read_details(self) -> None:
        throttle = self._details.throttle_reasons
        if self._beats == 0 or (self._beats + self.device.index) % THROTTLE_BEATS == 0:
            throttle = self._ask_slow(Quantity.THROTTLE)
        self._beats += 1
        used_bytes, size_bytes = self._ask_slow(Quantity.MEMORY) or (None, None)
        self._details = Details(
            throttle_reasons=throttle,
            utilization_ratio=self._ask_slow(Quantity.UTILIZATION),
            temperature_celsius=self._ask_slow(Quantity.TEMPERATURE),
            sm_clock_hertz=self._ask_slow(Quantity.CLOCK),
            memory_used_bytes=used_bytes,
            memory_size_bytes=size_bytes,
        )

    def _ask_slow(self, quantity: Quantity) -> Any:
        """Ask, and keep the error until it is asked again: as long as the value is missing."""
        before = len(self._errors)
        answer = self._ask(quantity)
        self._slow_errors[quantity] = self._errors[before:]
        return answer

    def _ask(self, quantity: Quantity) -> Any:
        """Return the answer of the first source that has one.

        None where none has, and where asking failed, which is then listed: a failure of the
        best source is told, not papered over by the next one's other number. After an error
        that says the card is gone the rest of the round goes unasked.
        """
        offers = self._offers
        for offer in offers.get(quantity, ()):
            if self.is_gone or (quantity, offer.source) in self._unsupported:
                continue
            try:
                answer = offer.ask()
            except DeviceError as error:
                if self._offers is not offers:
                    # The library was opened anew while this call waited for its turn.
                    return self._ask(quantity)
                if error.error in NOT_OFFERED:
                    self._unsupported.add((quantity, offer.source))
                    continue
                self.is_gone = error.error in GONE
                self._errors.append(CallError(error.call, error.error))
                return None
            if answer is not None:
                return answer
        return None

    def _source(self, quantity: Quantity) -> str:
        for offer in self._offers.get(quantity, ()):
            try:
                if offer.ask() is not None:
                    return offer.source
            except DeviceError as error:
                if error.error not in NOT_OFFERED:
                    return error.error
        return "none"


def _not_there() -> None:
    call = "amdsmi_get_processor_handles"
    raise DeviceError("this GPU is not there any more", call=call, error="NOT_FOUND")


def _limits(caps: Caps | None) -> PowerLimits:
    """Return the limits; AMD does not tell the enforced one from the set one."""
    if caps is None:
        return PowerLimits()
    low_watts, high_watts = caps.range_watts or (None, None)
    return PowerLimits(caps.set_watts, None, caps.default_watts, low_watts, high_watts)
