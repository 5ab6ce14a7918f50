"""Frameworks of training code, as far as they can tell whether their devices are at work."""

from types import SimpleNamespace

from fakes.clock import FakeClock


class Devices:
    """Devices that are done with everything at a time of their own."""

    def __init__(self, clock: FakeClock, busy_seconds: float) -> None:
        self.clock = clock
        self.busy_seconds = busy_seconds
        self.asked = 0

    def work(self) -> "Work":
        """Return what was asked of them until now."""
        self.asked += 1
        return Work(self.clock, self.clock.monotonic_ns() + round(self.busy_seconds * 1e9))


class Work:
    """Is done at a time."""

    def __init__(self, clock: FakeClock, done_ns: int) -> None:
        self._clock = clock
        self._done_ns = done_ns

    def record(self) -> None:
        """As an event of PyTorch."""

    def query(self) -> bool:
        """As an event of PyTorch."""
        return self._clock.monotonic_ns() >= self._done_ns

    def is_ready(self) -> bool:
        """As an array of JAX."""
        return self.query()

    def is_deleted(self) -> bool:
        """As an array of JAX."""
        return False


class DonatedArray:
    """An array of JAX whose memory was given away: asking whether it is ready is an error."""

    def is_deleted(self) -> bool:
        return True

    def is_ready(self) -> bool:
        raise RuntimeError("Array has been deleted.")


def torch_with(devices: Devices, *, initialised: bool = True, recording: bool = False) -> object:
    """Return a module like ``torch``."""
    return SimpleNamespace(
        cuda=SimpleNamespace(
            is_initialized=lambda: initialised,
            is_current_stream_capturing=lambda: recording,
            Event=devices.work,
        )
    )


def jax_with(devices: Devices, *, initialised: bool = True) -> dict[str, object]:
    """Return modules like those of JAX."""
    return {
        "jax": SimpleNamespace(live_arrays=lambda: [devices.work(), DonatedArray()]),
        "jax._src.xla_bridge": SimpleNamespace(backends_are_initialized=lambda: initialised),
    }
