"""Ctrl-C and SIGTERM as a flag, so that cleaning up is never interrupted half way."""

import os
import select
import signal
from types import TracebackType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """Somebody asked to stop. Raised by ``Stopping.wait`` alone, never from a handler."""


class Stopping:
    """A request to stop, from a signal; a context manager of the main thread.

    A handler that raised would raise anywhere: between the fork of a child and the line that
    remembers it, or inside of the clean-up itself. This one writes into a pipe, and whoever waits
    looks at it; a ``threading.Event`` would not do, because its lock may be held by the very
    thread that the handler interrupts. Signals that come while cleaning up change nothing.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before = {number: signal.getsignal(number) for number in SIGNALS}

    def __enter__(self) -> Self:
        for number, handler in self._before.items():
            if handler is not signal.SIG_IGN:  # nohup, and the shell's `&`
                signal.signal(number, lambda *_: self._ask())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)

    def _ask(self) -> None:
        try:
            os.write(self._writer, b"!")
        except BlockingIOError:
            # Thousands of signals before: the request stands.
            return

    @property
    def asked(self) -> bool:
        """Whether somebody asked to stop."""
        return self._asked_within(0)

    def wait(self, seconds: float) -> None:
        """Wait, at most so long.

        Raises:
            Stopped: Somebody asked to stop, before or while waiting.
        """
        if self._asked_within(seconds):
            raise Stopped

    def _asked_within(self, seconds: float) -> bool:
        # What is in the pipe stays in it: once asked, always asked.
        return bool(select.select([self._reader], [], [], max(seconds, 0))[0])
