"""A server program on a loopback port: starts on entering, stops on leaving."""

import shutil
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

START_TIMEOUT_SECONDS = 30.0
STOP_TIMEOUT_SECONDS = 30.0


class ServerProgram(ABC):
    """One process, from ``__enter__`` to ``stop``.

    Attributes:
        url: Where its API is, once started.
    """

    def __init__(self, log: Path, *, scheme: str = "http") -> None:
        """Let it write to a file what it has to say."""
        self._log = log
        self._scheme = scheme
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    @abstractmethod
    def command(self, address: str) -> Sequence[str]:
        """Return what starts it, listening on host:port."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Tell whether it answers."""

    def __enter__(self) -> Self:
        """Start, and wait until it answers."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{listener.getsockname()[1]}"
        self.url = f"{self._scheme}://{address}"
        with self._log.open("ab") as log:
            command = self.command(address)
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """End the process that was started, and no other."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if self.is_ready():
                return
            time.sleep(0.05)
        raise AssertionError(self._log.read_text())


def program(name: str) -> str:
    """Return where a program is that ``make prometheus`` or ``make victoria`` has unpacked."""
    found = shutil.which(name)
    assert found, f"no {name} on PATH: run `make prometheus`"
    return found
