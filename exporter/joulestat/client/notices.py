"""What the client has to say: each thing once, in one line, and never an exception."""

import contextlib
import functools
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

LOGGER = logging.getLogger("joulestat")

P = ParamSpec("P")
R = TypeVar("R")


class Notices:
    """The log lines of one run. Any thread may call it, a signal handler too."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def once(self, level: int, key: str, message: str, *values: object) -> None:
        """Log a message unless one with the same key was logged before.

        Args:
            level: A level of ``logging``.
            key: What the message is about; keys come from the code, never from the network,
                so that their number is bounded.
            message: Text with ``%s`` places.
            values: What goes there.
        """
        if key in self._said:
            return
        self._said.add(key)
        # A broken log handler must not stop a training.
        with contextlib.suppress(Exception):
            LOGGER.log(level, message, *values)


_FAULTS = Notices()


def harmless(fallback: Callable[[], R]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function answer with ``fallback()`` where it would raise.

    A bug of ours costs one log line, never a training. ``KeyboardInterrupt`` and ``SystemExit``
    pass: they are the user's.
    """

    def wrap(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - this is the promise never to raise
                report_fault(function.__qualname__, error)
                return fallback()

        return guarded

    return wrap


def report_fault(place: str, error: Exception) -> None:
    """Log an error that should not have happened, once per place."""
    _FAULTS.once(
        logging.WARNING,
        place,
        "joulestat: %s failed and was skipped; training goes on. error=%r",
        place,
        error,
    )


def nothing() -> None:
    """Be the fallback of what returns nothing."""
