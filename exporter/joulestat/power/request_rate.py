"""How often leases may be asked for in all, whatever their devices and whoever asks."""

from threading import Lock

from joulestat.domain.clock import Clock
from joulestat.domain.errors import TooManyWrites
from joulestat.power.write_rate import WriteRate

REQUEST_INTERVAL_SECONDS = 0.05
REQUEST_BURST = 256
"""A renewal is on the disk twice before it is answered, and a dry run asks the driver: somebody who
asks without end must fill no disk. Ends of leases are not counted: they are no more than leases."""


class RequestRate:
    """Counts lease requests: new ones, renewals, changes and dry runs. Any thread may use it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._requests = WriteRate(interval_seconds=REQUEST_INTERVAL_SECONDS, burst=REQUEST_BURST)

    def take(self) -> None:
        """Count a request.

        Raises:
            TooManyWrites: It is one too many; it is not counted, and the error says when to ask
                again.
        """
        with self._lock:
            now_ns = self._clock.boottime_ns()
            wait_seconds = self._requests.wait_seconds(now_ns)
            if wait_seconds > 0:
                raise TooManyWrites(
                    "leases were asked for too often lately, whatever their GPUs; the next "
                    f"request is taken in {wait_seconds:.2f} s",
                    retry_after_seconds=wait_seconds,
                )
            self._requests.take(now_ns)
