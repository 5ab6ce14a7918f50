"""The clocks of a command: when it runs, and how long something took."""

import time


def wall_seconds() -> float:
    """Return Unix time, s."""
    return time.time()


def monotonic_seconds() -> float:
    """Return CLOCK_MONOTONIC, s."""
    return time.monotonic()


def pause(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)
