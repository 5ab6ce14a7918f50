"""Counts the calls in flight, so that a library is never closed under one of them."""

import itertools
import threading

from joulestat.domain.clock import Clock
from joulestat.domain.units import NS_PER_SECOND

HANGING_NS = NS_PER_SECOND
"""A call in flight for longer than this is not waited for: its GPU hangs."""

_CLOSED_GATE_SECONDS = 1.0
"""How long a call waits while the library is opened anew. Longer than that, and it fails."""


class Gate:
    """What every call passes. All methods may be called from any thread; about 1 us a call."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition(threading.Lock())
        self._tickets = itertools.count()
        self._inside: dict[int, tuple[str, int]] = {}
        self._is_shut = False

    def enter(self, who: str) -> int | None:
        """Let a call in.

        Args:
            who: On whose behalf, for ``hanging``.

        Returns:
            A ticket for ``leave``; None where the gate stays shut.
        """
        with self._changed:
            if self._is_shut and not self._changed.wait_for(
                lambda: not self._is_shut, _CLOSED_GATE_SECONDS
            ):
                return None
            ticket = next(self._tickets)
            self._inside[ticket] = (who, self._clock.monotonic_ns())
            return ticket

    def leave(self, ticket: int) -> None:
        """Note that a call has returned."""
        with self._changed:
            del self._inside[ticket]
            if self._is_shut and not self._inside:
                self._changed.notify_all()

    def inside(self) -> frozenset[str]:
        """Return on whose behalf calls are in flight."""
        with self._changed:
            return frozenset(who for who, _ in self._inside.values())

    def hanging(self) -> frozenset[str]:
        """Return on whose behalf calls are in flight for too long."""
        now_ns = self._clock.monotonic_ns()
        with self._changed:
            return frozenset(
                who for who, since_ns in self._inside.values() if now_ns - since_ns > HANGING_NS
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
            return frozenset(who for who, _ in self._inside.values())

    def open(self) -> None:
        """Let calls in again."""
        with self._changed:
            self._is_shut = False
            self._changed.notify_all()
