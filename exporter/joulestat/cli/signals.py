"""What signals ask of a service: to end in order, or to put every power limit back and go on."""

import os
import select
import signal
from contextlib import suppress
from types import FrameType

_ENDINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Signals:
    """Heeds SIGTERM, SIGINT and SIGHUP, which end the service, and SIGUSR2, which does not.

    To be made by the main thread, before anything that must not be ended in the middle.

    Attributes:
        end: Whether the service was asked to end.
    """

    def __init__(self) -> None:
        self.end = False
        self._revert = False
        # Not an Event: its lock may be held by the very code that the handler interrupts.
        self._woken, self._waking = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in _ENDINGS:
            # A terminal that closes must not leave limits behind; nohup says to survive that.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._note)
        signal.signal(signal.SIGUSR2, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if number == signal.SIGUSR2:
            self._revert = True
        else:
            self.end = True
        # Full: then whoever waits is awake already.
        with suppress(BlockingIOError):
            os.write(self._waking, b"!")

    def wait(self, seconds: float) -> bool:
        """Wait for a signal, at most so long.

        Returns:
            Whether every limit shall be put back.
        """
        select.select([self._woken], [], [], seconds)
        # Empty: nobody asked anything.
        with suppress(BlockingIOError):
            os.read(self._woken, 512)
        revert, self._revert = self._revert, False
        return revert
