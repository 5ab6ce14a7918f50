"""Tells a supervisor, which is systemd mostly, how we are: ready, alive, stopping.

It restarts a process that it does not hear of. So that it hears of a live thread is not enough: it
hears of the exporter while ticks end, leases are looked after, and requests are answered; of the
actuator while leases end in time and its socket answers. None of them waits for a driver, so that
a driver that hangs, which no restart cures, causes none.
"""

import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence

from joulestat.loops.heartbeat import Heartbeat

UNWATCHED_INTERVAL_SECONDS = 10.0
"""How often our state is told to a supervisor that waits for nothing."""

LONGEST_WAIT_SECONDS = 5.0
"""How long the event loop may take to come round, at most."""

MOST_DIGITS = 18
"""Of a time in microseconds: 30,000 years."""

SEND_SECONDS = 1.0
"""How long the supervisor may take to make room for a line."""

log = logging.getLogger(__name__)


class Notifier:
    """Sends lines to the supervisor's socket; does nothing where there is none.

    Source:
        sd_notify(3), ``$NOTIFY_SOCKET``.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Prepare; nothing is sent yet."""
        name = environment.get("NOTIFY_SOCKET", "")
        # An @ stands for the zero byte that abstract names begin with. Other kinds of address
        # than these two are for virtual machines.
        self._address = name.replace("@", "\0", 1) if name.startswith("@") else name
        self.is_heard = name.startswith(("/", "@"))
        self._is_failing = False

    def tell(self, *lines: str) -> None:
        """Send lines such as ``READY=1``. Never raises; a failure is logged once."""
        if not self.is_heard:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending:
                sending.settimeout(SEND_SECONDS)
                sending.sendto("\n".join(lines).encode(), self._address)
            self._is_failing = False
        except OSError as error:
            if not self._is_failing:
                log.warning("event=supervisor_not_told error=%r", str(error))
            self._is_failing = True


class Supervisor:
    """Keeps the supervisor informed, on a thread of its own."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        doors: Mapping[str, Callable[[float], bool]],
        rhythms: Mapping[str, Heartbeat],
        status: Callable[[], str | None],
    ) -> None:
        """Prepare; nothing is told yet.

        Args:
            environment: Where the supervisor says how it wants to be told.
            doors: By name, whether requests are answered there, within so many seconds.
            rhythms: By name, what must go on. None of them may wait for a driver.
            status: One line for people on how we are, None before there is anything to say.
        """
        self._notifier = Notifier(environment)
        self._doors = doors
        self._rhythms = rhythms
        self._status = status
        watchdog_seconds = _watchdog_seconds(environment, os.getpid())
        self._is_watched = watchdog_seconds is not None
        self._interval_seconds = (watchdog_seconds or 2 * UNWATCHED_INTERVAL_SECONDS) / 2
        self._is_ready = False
        self._withheld = ""
        self._loop = Heartbeat(
            "supervisor", self._interval_seconds, self.tell, delay_seconds=self._interval_seconds
        )

    def start(self) -> None:
        """Say that we serve, and go on to tell how we are."""
        if self._notifier.is_heard:
            # What has not come round yet does not stand still: there is nothing to log of it.
            self._say(self._standing_still(), self._status())
            self._loop.start()

    def stop(self) -> None:
        """Say that we stop. Idempotent."""
        self._loop.ask_to_stop()
        self._notifier.tell("STOPPING=1", "STATUS=stopping: puts every power limit back")

    def tell(self) -> None:
        """Tell how we are, and nothing of being alive where something stands still."""
        standing, status = self._standing_still(), self._status()
        # At the very beginning nothing has stood still yet.
        self._note(",".join(standing) if status is not None else "")
        self._say(standing, status)

    def _say(self, standing: Sequence[str], status: str | None) -> None:
        lines = [f"STATUS={_in_one_line(status, standing)}"]
        if not self._is_ready and self._doors.keys().isdisjoint(standing):
            self._is_ready = True
            lines.append("READY=1")
        if self._is_watched and not standing:
            lines.append("WATCHDOG=1")
        self._notifier.tell(*lines)

    def _standing_still(self) -> list[str]:
        patience_seconds = min(self._interval_seconds / 2, LONGEST_WAIT_SECONDS)
        late = [
            name
            for name, rhythm in self._rhythms.items()
            if not rhythm.beats(self._interval_seconds)
        ]
        return late + [
            name for name, answers in self._doors.items() if not answers(patience_seconds)
        ]

    def _note(self, standing: str) -> None:
        if standing != self._withheld:
            level = logging.ERROR if standing else logging.INFO
            log.log(level, "event=%s loops=%s", *_event(standing, self._withheld))
        self._withheld = standing


def _in_one_line(status: str | None, standing: Sequence[str]) -> str:
    if status is None:
        return "begins: the GPUs have not been read yet"
    return f"stands still: {', '.join(standing)}" if standing else status


def _event(standing: str, before: str) -> tuple[str, str]:
    return ("stands_still", standing) if standing else ("goes_on", before)


def _watchdog_seconds(environment: Mapping[str, str], pid: int) -> float | None:
    """Return how long the supervisor waits for a sign of life; None if it does not.

    Source:
        sd_watchdog_enabled(3), ``$WATCHDOG_USEC`` and ``$WATCHDOG_PID``.
    """
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    text = environment.get("WATCHDOG_USEC", "")
    if not (text.isascii() and text.isdecimal()) or len(text) > MOST_DIGITS or int(text) == 0:
        return None
    return int(text) / 1e6
