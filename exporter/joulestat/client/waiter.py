"""Waiting for a push, in any thread and in a signal handler, never longer than was asked for."""

import contextlib
import threading


class Waiter:
    """Somebody who waits for a push.

    Attributes:
        awaited: Whether anybody has waited at all.
    """

    def __init__(self) -> None:
        self.awaited = False
        self._answered = threading.Lock()
        self._answered.acquire()
        self._sent = False

    def resolve(self, *, sent: bool) -> None:
        """Answer; only the first answer counts."""
        if self._answered.locked():
            self._sent = sent
            with contextlib.suppress(RuntimeError):  # somebody else was faster
                self._answered.release()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for the answer; return whether the exporter has everything."""
        self.awaited = self.awaited or timeout_seconds > 0
        return self._answered.acquire(timeout=max(0.0, timeout_seconds)) and self._sent
