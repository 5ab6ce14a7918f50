"""Threads for what waits for a driver or a disk: no kind of request stands behind another kind."""

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

T = TypeVar("T")

GRANTS_AT_ONCE = 24
GRANTS_PER_GPU = 8
"""A driver that hangs keeps only so many threads, whoever asks how often; more wait for these."""

RELEASES_AT_ONCE = 16
RELEASES_PER_GPU = 4
REVERTS_AT_ONCE = 8
"""All three together leave some of the 64 connections that an actuator takes to its state."""


class Lane:
    """Does one kind of work on threads of its own, in the order in which it was asked for.

    For one event loop.
    """

    def __init__(self, at_once: int, per_gpu: int) -> None:
        """Make a lane.

        Args:
            at_once: How many pieces of work are done at a time.
            per_gpu: How many of them about one GPU.
        """
        self._all = CapacityLimiter(at_once)
        self._per_gpu = per_gpu
        self._of_gpu: dict[str, CapacityLimiter] = {}

    async def run(self, gpu: str, work: Callable[[], T]) -> T:
        """Return what the work returns, and raise what it raises.

        Args:
            gpu: Which GPU it is about. Every name is kept for good, so none that nobody knows.
            work: May wait.
        """
        # First for the GPU: what waits for a driver that hangs must take no thread from others.
        async with self._of_gpu.setdefault(gpu, CapacityLimiter(self._per_gpu)):
            return await to_thread.run_sync(work, limiter=self._all)
