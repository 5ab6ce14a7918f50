"""Work on several devices at once, waiting for none of them longer than agreed."""

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from joulestat.domain.limit import Revert, RevertOutcome

_Answer = TypeVar("_Answer")

Spawn = Callable[[Callable[[], None]], object]
"""Runs a job on a thread of its own, and does not wait for it."""

FAILED = Revert(RevertOutcome.FAILED, None)


def one_after_the_other(job: Callable[[], None]) -> None:
    """Run a job here and now: the ``Spawn`` that spawns nothing."""
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
        spawn(partial(run, uuid, job))
    with arrived:
        arrived.wait_for(lambda: len(answers) == len(jobs), timeout_seconds)
        return {uuid: answers.get(uuid, failed) for uuid in jobs}
