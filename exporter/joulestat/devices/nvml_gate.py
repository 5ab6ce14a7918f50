"""Lets one call per GPU in at a time, and none while the library is opened anew."""

import threading

from joulestat.domain.clock import Clock
from joulestat.domain.units import NS_PER_SECOND

HANGING_NS = NS_PER_SECOND
"""A call in flight for longer than this is not waited for: its GPU hangs."""

PATIENCE_SECONDS = 1.0
"""How long a call waits to be let in. Longer than that, and it fails."""

SHUT = "UNINITIALIZED"
"""NVML's own name for a library that is not open."""

STUCK = "STUCK"
"""Our name for a GPU whose earlier call has not come back: another one would only join it."""


class TurnedAway(Exception):
    """A call was not let in; ``error`` says why."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


class Gate:
    """What every call passes. All methods may be called from any thread; about 1 us a call."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition(threading.Lock())
        self._inside: dict[str, int] = {}
        self._waiting = 0
        self._is_shut = False

    def enter(self, who: str) -> None:
        """Let a call in; it must ``leave``.

        Args:
            who: On whose behalf. Nobody is let in twice.

        Raises:
            TurnedAway: The gate stays shut, or the earlier call does not come back.
        """
        with self._changed:
            if (self._is_shut or who in self._inside) and not self._wait_for(who):
                raise TurnedAway(SHUT if self._is_shut else STUCK)
            self._inside[who] = self._clock.monotonic_ns()

    def leave(self, who: str) -> None:
        """Note that a call has returned."""
        with self._changed:
            del self._inside[who]
            if self._waiting or self._is_shut:
                self._changed.notify_all()

    def inside(self) -> frozenset[str]:
        """Return on whose behalf calls are in flight."""
        with self._changed:
            return frozenset(self._inside)

    def hanging(self) -> frozenset[str]:
        """Return on whose behalf calls are in flight for too long."""
        now_ns = self._clock.monotonic_ns()
        with self._changed:
            return frozenset(
                who for who, since_ns in self._inside.items() if now_ns - since_ns > HANGING_NS
            )

    def shut(self, patience_seconds: float) -> frozenset[str]:
        """Let nobody in any more, and wait for those inside.

        Returns:
            Empty once nobody is inside; ``open`` it again then. Otherwise those for whom the
            patience did not suffice, and the gate is open.
        """
        with self._changed:
            self._is_shut = True
            if self._changed.wait_for(lambda: not self._inside, patience_seconds):
                return frozenset()
            self._is_shut = False
            self._changed.notify_all()
            return frozenset(self._inside)

    def open(self) -> None:
        """Let calls in again."""
        with self._changed:
            self._is_shut = False
            self._changed.notify_all()

    def _wait_for(self, who: str) -> bool:
        self._waiting += 1
        try:
            return self._changed.wait_for(
                lambda: not self._is_shut and who not in self._inside, PATIENCE_SECONDS
            )
        finally:
            self._waiting -= 1
