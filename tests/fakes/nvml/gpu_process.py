"""A process that opens the real NvmlBackend on the stand-in and does what its parent asks.

NVML is looked for when a process starts (LD_LIBRARY_PATH), so the parent cannot do it itself.
The other side is ``remote.py``. Every request has its own thread: one may hang in the driver.
"""

import logging
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from joulestat.devices.backend import Backend
from joulestat.devices.nvml_backend import open_nvml
from joulestat.devices.probe import SimulatedOptions, open_backend
from joulestat.domain.errors import DeviceError


class ForwardedClock:
    """The host's clocks, put forward by what the test let pass."""

    def __init__(self) -> None:
        self.forward_ns = 0

    def monotonic_ns(self) -> int:
        return time.monotonic_ns() + self.forward_ns

    def boottime_ns(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) + self.forward_ns

    def wall_seconds(self) -> float:
        return time.time() + self.forward_ns / 1e9

    def boot_id(self) -> str:
        return "the boot of this test"


class Servant:
    """The methods are the requests."""

    def __init__(self) -> None:
        self._clock = ForwardedClock()
        self._backend: Backend | None = None

    def open(self) -> None:
        self._backend = open_nvml(self._clock)

    def advance(self, seconds: float) -> None:
        self._clock.forward_ns += round(seconds * 1e9)

    def now_ns(self) -> int:
        return self._clock.monotonic_ns()

    def open_descriptors(self) -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def open_auto(self) -> bool:
        simulated = SimulatedOptions(path=None, model="V100", gpus=1, seed=1)
        self._backend = open_backend("auto", clock=self._clock, simulated=simulated)
        return self._backend is not None

    def backend(self, method: str, *arguments: Any, **named: Any) -> Any:
        return getattr(self._backend, method)(*arguments, **named)

    def has_limiter(self, device_uuid: str) -> bool:
        assert self._backend is not None
        return self._backend.limiter(device_uuid) is not None

    def limiter(self, device_uuid: str, method: str, *arguments: Any) -> Any:
        assert self._backend is not None
        return getattr(self._backend.limiter(device_uuid), method)(*arguments)


def serve(connection: Connection, servant: Servant) -> None:
    """Answer (number, "answer", value) or (number, "raise", what) to each request, until EOF."""
    sending = threading.Lock()

    def fulfil(number: int, request: str, arguments: Any, named: Any) -> None:
        try:
            reply = (number, "answer", getattr(servant, request)(*arguments, **named))
        except DeviceError as error:
            described = (type(error).__name__, str(error), error.call, error.error)
            reply = (number, "raise", described)
        with sending:
            connection.send(reply)

    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        threading.Thread(target=fulfil, args=request, daemon=True).start()


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    serve(Connection(int(sys.argv[1])), Servant())
