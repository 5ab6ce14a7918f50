"""What systemd listens on, for processes that tell it how they are."""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

PATIENCE_SECONDS = 30.0


class NotifySocket:
    """A bound ``$NOTIFY_SOCKET``.

    Attributes:
        environment: What a process has to find, so that it tells us.
        watchdog_seconds: How long we wait for a sign of life.
    """

    def __init__(self, path: Path, *, watchdog_seconds: float = 1.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(PATIENCE_SECONDS)
        self.watchdog_seconds = watchdog_seconds
        self.environment = {
            "NOTIFY_SOCKET": str(path),
            "WATCHDOG_USEC": str(round(watchdog_seconds * 1e6)),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def next_with(self, line: str) -> str:
        """Wait for a message that has a line and return it; anything else is passed over."""
        while True:
            message = self._socket.recv(4096).decode()
            if line in message.split("\n"):
                return message

    def forget(self) -> None:
        """Drop what has arrived already."""
        self._socket.settimeout(0)
        try:
            while self._socket.recv(4096):
                pass
        except BlockingIOError:
            self._socket.settimeout(PATIENCE_SECONDS)

    def signs_of_life(self, seconds: float) -> int:
        """Count them for a while."""
        deadline = time.monotonic() + seconds
        count = 0
        try:
            while (left_seconds := deadline - time.monotonic()) > 0:
                self._socket.settimeout(left_seconds)
                count += "WATCHDOG=1" in self._socket.recv(4096).decode().split("\n")
        except TimeoutError:
            pass
        finally:
            self._socket.settimeout(PATIENCE_SECONDS)
        return count


def stopped(pid: int) -> bool:
    """Tell whether a process stands still, as after SIGSTOP."""
    return "State:\tT" in Path(f"/proc/{pid}/status").read_text()


def until(condition: Callable[[], bool]) -> None:
    """Wait for something; fail where it never comes."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
