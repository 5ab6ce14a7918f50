"""What happens to live outboxes when the process forks or ends."""

import atexit
import os
import threading

from joulestat.client.outbox import Outbox, monotonic_ns
from joulestat.domain.units import ns_to_seconds, seconds_to_ns

EXIT_SECONDS = 1.0
"""How long all outboxes together may hold up the end of the process."""

_lock = threading.RLock()
_live: list[Outbox] = []
_held: list[Outbox] = []
_hooks: list[bool] = []


def enlist(outbox: Outbox) -> None:
    """Look after an outbox from now on."""
    with _lock:
        if not _hooks:
            # No signal handlers: those are the training code's.
            os.register_at_fork(
                before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child
            )
            atexit.register(end_all)
            _hooks.append(True)
        _live[:] = [other for other in _live if other.alive]
        _live.append(outbox)


def end_all(timeout_seconds: float = EXIT_SECONDS) -> None:
    """Send the last push of every live outbox, within one time for all of them."""
    deadline_ns = monotonic_ns() + seconds_to_ns(timeout_seconds)
    # One that was asked before, by somebody who did not wait, may still be at it.
    waiters = [outbox.ask_last() or outbox.unawaited() for outbox in list(_live)]
    for waiter in filter(None, waiters):
        waiter.wait(ns_to_seconds(deadline_ns - monotonic_ns()))


def _before_fork() -> None:
    # The list is kept, because an outbox may be enlisted while another thread forks.
    _lock.acquire()
    _held.extend(_live)
    for outbox in _held:
        outbox.hold()


def _in_parent() -> None:
    while _held:
        _held.pop().let_go()
    _lock.release()


def _in_child() -> None:
    global _lock  # noqa: PLW0603 - the parent's lock is of no use here
    while _held:
        _held.pop().abandon()
    _live.clear()
    _lock = threading.RLock()
