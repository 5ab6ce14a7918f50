"""Waiting for what another thread or process will do, without sleeping for luck."""

import threading
import time
from collections.abc import Callable


def eventually(condition: Callable[[], bool], *, within_seconds: float = 5.0) -> bool:
    """Tell whether a condition comes true in time; returns as soon as it does."""
    deadline = time.monotonic() + within_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def client_threads() -> list[threading.Thread]:
    """Return the threads of clients that still run in this process."""
    return [thread for thread in threading.enumerate() if thread.name == "joulestat"]
