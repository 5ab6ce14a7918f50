"""Threads that may hang in a driver, so that nobody else does."""

import itertools
import threading
from collections.abc import Callable, Iterable

from joulestat.devices.backend import Backend
from joulestat.domain.device import Reading
from joulestat.loops.heartbeat import Heartbeat


def spawn(job: Callable[[], None]) -> None:
    """Run a job that may hang in a driver on a thread that nobody waits for."""
    threading.Thread(target=job, name="driver", daemon=True).start()


def attempt(job: Callable[[], None], patience_seconds: float) -> bool:
    """Run a job that may hang in a driver, and wait for it only so long; then it goes on alone.

    Returns:
        Whether it came back. What it raised until then is raised here.
    """
    failed: list[Exception] = []
    done = threading.Event()

    def run() -> None:
        try:
            job()
        except Exception as error:  # noqa: BLE001 - raised again by whoever waits
            failed.append(error)
        finally:
            done.set()

    spawn(run)
    came_back = done.wait(patience_seconds)
    if failed:
        raise failed[0]
    return came_back


def device_reader(
    name: str,
    backend: Backend,
    uuids: Callable[[], Iterable[str]],
    deliver: Callable[[str, Reading], None],
    *,
    interval_seconds: float,
    details_interval_seconds: float,
) -> Heartbeat:
    """Return the loop that reads some devices, one after the other.

    A driver that hangs holds up these devices alone, so a reader has one device wherever the
    vendor's library stands several threads.
    """
    every = max(1, round(details_interval_seconds / interval_seconds))
    beats = itertools.count()

    def read() -> None:
        details = next(beats) % every == 0
        for uuid in uuids():
            deliver(uuid, backend.read(uuid, details=details))

    return Heartbeat(name, interval_seconds, read)
