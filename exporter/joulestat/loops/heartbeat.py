"""A rhythm: one thread that calls the same thing again and again."""

import logging
import threading
import time
from collections.abc import Callable

from joulestat.domain.units import ns_to_seconds, seconds_to_ns

log = logging.getLogger(__name__)


class Heartbeat:
    """Calls something at a fixed rhythm on a thread of its own.

    A call that takes too long makes the next one late; missed beats are dropped, not caught up.
    """

    def __init__(
        self,
        name: str,
        interval_seconds: float,
        beat: Callable[[], None],
        *,
        delay_seconds: float = 0.0,
    ) -> None:
        self._delay_ns = seconds_to_ns(delay_seconds)
        self._interval_ns = seconds_to_ns(interval_seconds)
        self._beat = beat
        self._stop = threading.Event()
        self._failing = False
        self._ended_ns: int | None = None
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    def start(self) -> None:
        """Begin; the first call comes after the delay."""
        self._thread.start()

    def beats(self, within_seconds: float) -> bool:
        """Tell whether a call came back of late, also by failing. Any thread.

        Args:
            within_seconds: How late; taken for two intervals where it is less.
        """
        ended_ns = self._ended_ns
        if ended_ns is None:
            return False
        late_ns = max(seconds_to_ns(within_seconds), 2 * self._interval_ns)
        return time.monotonic_ns() - ended_ns <= late_ns

    def ask_to_stop(self) -> None:
        """Let the call in progress be the last one."""
        self._stop.set()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the last call; a driver that hangs is not waited for longer than this.

        Returns:
            Whether it ended.
        """
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _loop(self) -> None:
        due_ns = time.monotonic_ns() + self._delay_ns
        self._stop.wait(ns_to_seconds(self._delay_ns))
        while not self._stop.is_set():
            try:
                self._beat()
                self._failing = False
            except Exception:
                # The service must outlive any one failure; a repeated one is logged once.
                if not self._failing:
                    log.exception("event=beat_failed loop=%s", self._thread.name)
                self._failing = True
            self._ended_ns = now_ns = time.monotonic_ns()
            due_ns += self._interval_ns
            if due_ns < now_ns:
                due_ns = now_ns - (now_ns - due_ns) % self._interval_ns + self._interval_ns
            self._stop.wait(ns_to_seconds(due_ns - now_ns))
