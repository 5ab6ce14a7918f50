"""The real NvmlBackend in another process, which loads the stand-in instead of a driver."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from fakes.nvml.standin import StandIn
from joulestat.devices.backend import Limiter
from joulestat.domain import errors
from joulestat.domain.device import Device, Reading

PROGRAM = Path(__file__).with_name("gpu_process.py")
ANSWER_SECONDS = 20.0
"""Longer than any honest answer takes, on a busy machine too."""


class RemoteNvml:
    """Fulfils ``Backend`` by asking a process of its own; ``kill`` it after use."""

    name = "nvml"
    serial = False
    program = PROGRAM

    def __init__(self, standin: StandIn, *, keep_log: bool = False) -> None:
        """Start the process.

        Args:
            standin: The host that it is on.
            keep_log: Keep what it logs, for ``events``.
        """
        self._connection, theirs = Pipe()
        self._process = subprocess.Popen(
            [sys.executable, self.program, str(theirs.fileno())],
            env={**os.environ, **standin.environment()},
            pass_fds=[theirs.fileno()],
            stderr=subprocess.PIPE if keep_log else None,
            text=True,
        )
        theirs.close()
        self._number = 0
        self._replies: dict[int, tuple[str, Any]] = {}

    def open(self) -> None:
        """Open the backend there; BackendUnavailable as ``open_nvml`` raises it."""
        self.ask("open")

    def devices(self) -> Sequence[Device]:
        devices: Sequence[Device] = self.ask("backend", "devices")
        return devices

    def refresh(self) -> bool:
        return bool(self.ask("backend", "refresh"))

    def processes(self, device_uuid: str) -> frozenset[int] | None:
        found: frozenset[int] | None = self.ask("backend", "processes", device_uuid)
        return found

    def read(self, device_uuid: str, *, details: bool) -> Reading:
        reading: Reading = self.ask("backend", "read", device_uuid, details=details)
        return reading

    def limiter(self, device_uuid: str) -> Limiter | None:
        return RemoteLimiter(self, device_uuid) if self.ask("has_limiter", device_uuid) else None

    def close(self) -> None:
        self.ask("backend", "close")

    def ask(self, request: str, *arguments: Any, **named: Any) -> Any:
        """Have a method of ``Servant`` called; return or raise what it does."""
        return self.answer(self.begin(request, *arguments, **named))

    def begin(self, request: str, *arguments: Any, **named: Any) -> int:
        """Have it called and return the request's number, without waiting."""
        self._number += 1
        self._connection.send((self._number, request, arguments, named))
        return self._number

    def answered(self, number: int, *, within_seconds: float) -> bool:
        """Tell whether a request is answered, or will be in this time."""
        while number not in self._replies and self._connection.poll(within_seconds):
            answered, kind, value = self._connection.recv()
            self._replies[answered] = (kind, value)
        return number in self._replies

    def answer(self, number: int) -> Any:
        """Wait for a request's answer."""
        if not self.answered(number, within_seconds=ANSWER_SECONDS):
            raise TimeoutError(f"the NVML process did not answer in {ANSWER_SECONDS:g} s")
        kind, value = self._replies.pop(number)
        if kind == "answer":
            return value
        name, message, call, error = value
        raise getattr(errors, name)(message, call=call, error=error)

    def kill(self) -> None:
        """End the process by SIGKILL: nothing in it can clean up. Idempotent."""
        self._process.kill()
        self._process.wait()
        self._connection.close()
        if self._process.stderr is not None:
            self._process.stderr.close()

    def logged(self) -> list[str]:
        """End the process and return the lines that it logged."""
        assert self._process.stderr is not None
        self._process.kill()
        return self._process.stderr.read().splitlines()

    def events(self) -> list[str]:
        """End the process and return the names of the events that it logged, in order."""
        return re.findall(r"event=(\w+)", "\n".join(self.logged()))


class RemoteLimiter:
    """Fulfils ``Limiter`` there."""

    def __init__(self, remote: RemoteNvml, device_uuid: str) -> None:
        self._remote = remote
        self._device_uuid = device_uuid

    def range_watts(self) -> tuple[float, float]:
        lowest_watts, highest_watts = self._ask("range_watts")
        return lowest_watts, highest_watts

    def read_watts(self) -> float:
        return float(self._ask("read_watts"))

    def enforced_watts(self) -> float | None:
        enforced_watts: float | None = self._ask("enforced_watts")
        return enforced_watts

    def write_watts(self, limit_watts: float) -> None:
        self._ask("write_watts", limit_watts)

    def _ask(self, method: str, *arguments: float) -> Any:
        return self._remote.ask("limiter", self._device_uuid, method, *arguments)


Start = Callable[[StandIn], RemoteNvml]
"""Starts a process on a host."""


def read_all(nvml: RemoteNvml) -> list[Reading]:
    """Read every GPU, slow values and all."""
    return [nvml.read(device.uuid, details=True) for device in nvml.devices()]


def errors_of(nvml: RemoteNvml) -> list[set[str]]:
    """Read every GPU and return the names of the errors of each."""
    return [{error.error for error in reading.errors} for reading in read_all(nvml)]


def limiter_of(nvml: RemoteNvml, place: int) -> Limiter:
    """Return the limiter of the GPU at this place of ``devices()``."""
    limiter = nvml.limiter(nvml.devices()[place].uuid)
    assert limiter is not None
    return limiter
