"""Work on several devices at once, waiting for none of them longer than agreed."""

import logging
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from joulestat.domain.limit import Revert, RevertOutcome

_LOG = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")

Spawn = Callable[[Callable[[], None]], object]
"""Runs a job on a thread of its own, and does not wait for it."""

FAILED = Revert(RevertOutcome.FAILED, None)


def one_after_the_other(job: Callable[[], None]) -> None:
    """Run a job here and now: the ``Spawn`` that spawns nothing."""
    job()


def on_a_thread_or_here(job: Callable[[], None], spawn: Spawn) -> None:
    """Run a job on a thread of its own; here, where no more threads can be had.

    To end a lease is worth waiting for a driver, and a flood that takes the last thread must not
    keep one in force.
    """
    began = False

    def run() -> None:
        nonlocal began
        began = True
        job()

    try:
        spawn(run)
    except RuntimeError as error:  # what Python says when the system gives it no thread
        if began:
            raise
        _LOG.warning("event=no_thread error=%r", str(error))
        job()


def side_by_side(
    jobs: Mapping[str, Callable[[], _Answer]],
    spawn: Spawn,
    timeout_seconds: float,
    *,
    failed: _Answer,
) -> dict[str, _Answer]:
    """Run jobs by device, and return their answers by device.

    A job that has not come back in time, or not in order, is answered for with ``failed``; it
    may still come back later.
    """
    answers: dict[str, _Answer] = {}
    arrived = threading.Condition()

    def run(uuid: str, job: Callable[[], _Answer]) -> None:
        answer = failed
        try:
            answer = job()
        finally:
            with arrived:
                answers[uuid] = answer
                arrived.notify()

    for uuid, job in jobs.items():
        on_a_thread_or_here(partial(run, uuid, job), spawn)
    with arrived:
        arrived.wait_for(lambda: len(answers) == len(jobs), timeout_seconds)
        return {uuid: answers.get(uuid, failed) for uuid in jobs}
