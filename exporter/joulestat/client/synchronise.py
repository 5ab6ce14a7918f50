"""Waiting for the devices at the end of a step, where training code asked for that.

GPUs work behind their queues: when ``step()`` is called, what it counts may still be computed.
Joules per step do not suffer, for what one interval lacks the next one has. Where intervals are
short, as while a new power limit is measured, it shows. So every so many steps the training
thread may wait here until the devices have done what they were asked for; pushes then tell of
that step.

PyTorch's and JAX's own ways to wait know no limit of time. Here the devices are asked again and
again whether they are done, with short sleeps between, in which other threads may run.
"""

import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from joulestat.client.notices import Notices, report_fault
from joulestat.client.tally import Boundary, Gpu, Tally
from joulestat.domain.units import (
    NS_PER_MILLISECOND,
    NS_PER_SECOND,
    ns_to_seconds,
    same_limit,
)

LIMIT_NS = 10 * NS_PER_SECOND
"""A wait that lasts longer is given up, and with it all later ones: the sum is bounded too."""

NEW_LIMIT_NS = 120 * NS_PER_SECOND
"""How long after its last change a power limit counts as being measured. The optimizer's looks
last tens of seconds; what is held after the last of them is held for hours."""

STANDS_NS = 5 * NS_PER_SECOND
"""How long pushes stand at a step that was waited for: whoever waits rarely is still heard of."""

_FIRST_SLEEP_NS = NS_PER_MILLISECOND // 50
_LONGEST_SLEEP_NS = NS_PER_MILLISECOND

Done = Callable[[], bool]
"""Whether the devices have done what they were asked for before this was made."""


class Synchronisation:
    """Waits for the devices of this process, seldom enough and never for long.

    In a forked child it does nothing: there the devices are the parent's.
    """

    def __init__(
        self,
        every_steps: int,
        modules: Mapping[str, object],
        notices: Notices,
        *,
        now_ns: Callable[[], int],
        sleep: Callable[[float], object] | None = None,
        wanted: Callable[[], bool] | None = None,
    ) -> None:
        """Make a synchronisation.

        Args:
            every_steps: Steps from one wait to the next, at least.
            modules: Loaded modules by name; nothing is imported.
            notices: Where to say that it is given up.
            now_ns: CLOCK_MONOTONIC.
            sleep: Sleeps that many s; None: for real, and other threads run meanwhile.
            wanted: Whether to wait just now; None: always.
        """
        self._every_steps = every_steps
        self._modules = modules
        self._notices = notices
        self._now_ns = now_ns
        # A lock that nobody releases: waiting for it is sleeping, without reading a clock.
        never = threading.Lock()
        never.acquire()
        self._sleep = sleep or (lambda seconds: never.acquire(timeout=seconds))
        self._wanted = wanted
        self._pid = os.getpid()
        self._steps = 0
        self._given_up = False

    def step(self) -> bool:
        """Count a step, and wait if it is time to; return whether the devices are done."""
        self._steps += 1
        if self._steps < self._every_steps or self._given_up:
            return False
        try:
            if not (self._wanted is None or self._wanted()) or os.getpid() != self._pid:
                return False
            self._steps = 0
            return self._wait()
        except Exception as error:  # noqa: BLE001 - foreign code of any version answers here
            self._given_up = True
            report_fault("Synchronisation", error)
            return False

    def _wait(self) -> bool:
        done = torch_work(self._modules) or jax_work(self._modules)
        if done is None:
            return False
        deadline_ns = self._now_ns() + LIMIT_NS
        sleep_ns = _FIRST_SLEEP_NS
        while not done():
            if self._now_ns() >= deadline_ns:
                self._give_up()
                return False
            self._sleep(ns_to_seconds(sleep_ns))
            sleep_ns = min(2 * sleep_ns, _LONGEST_SLEEP_NS)
        return True

    def _give_up(self) -> None:
        self._given_up = True
        self._notices.once(
            logging.WARNING,
            "sync",
            "joulestat: the GPU was not done with a step within %.0f s; sync_every is off from now "
            "on, and training goes on",
            ns_to_seconds(LIMIT_NS),
        )


class SynchronisedTally(Tally):
    """A tally that may wait for the devices before it lets a step end.

    Pushes stand at the last such step while it is fresh: between two of them the queues fill
    again, by an amount that differs from push to push.
    """

    _standing: Boundary | None = None

    def __init__(
        self,
        now_ns: Callable[[], int],
        gpus: tuple[Gpu, ...] | None,
        synchronisation: Synchronisation,
    ) -> None:
        super().__init__(now_ns, gpus)
        self._synchronisation = synchronisation

    def step(self, n_samples: int, n_tokens: int) -> None:
        """Count a step that ends now, or as soon as the devices are done with it."""
        # Never under the lock: the thread that pushes must not wait for a GPU.
        done = not self.final and self._synchronisation.step()
        with self.lock:
            super().step(n_samples, n_tokens)
            if done:
                self._standing = self._boundary(self._now_ns())

    def latest(self) -> Boundary:
        """Return a boundary at the last step that was waited for, or else as any tally does."""
        with self.lock:
            standing = self._standing
            if standing is None or self._now_ns() - standing.at_ns > STANDS_NS:
                return super().latest()
            return replace(self._boundary(standing.at_ns), totals=standing.totals)

    def _enqueue(self, at_ns: int) -> None:
        # A change of phase is later than any step before it.
        self._standing = None
        super()._enqueue(at_ns)


class NewLimit:
    """Tells whether a power limit is new, from the exporter's answers.

    That is all a client can know of a measurement: an answer carries the limits in force, not
    why they are. A lease that begins, a probe and the return to the reference all change a limit;
    the limit that was chosen in the end stands still.
    """

    def __init__(
        self, limits_watts: Callable[[], Mapping[str, float]], now_ns: Callable[[], int]
    ) -> None:
        """Watch the limits, in W by device."""
        self._limits_watts = limits_watts
        self._now_ns = now_ns
        self._seen_watts: Mapping[str, float] = {}
        self._changed_ns: int | None = None

    def __call__(self) -> bool:
        """Return whether a limit changed lately; the first that is heard of counts as a change."""
        limits_watts = self._limits_watts()
        if not _alike(limits_watts, self._seen_watts):
            self._seen_watts = limits_watts
            self._changed_ns = self._now_ns()
        if self._changed_ns is None:
            return False
        return self._now_ns() - self._changed_ns < NEW_LIMIT_NS


def torch_work(modules: Mapping[str, object]) -> Done | None:
    """Return whether PyTorch's current device has done all of its current stream so far.

    None where the training code has no CUDA, or is recording a graph, which a query would spoil.

    Source:
        ``torch.cuda.Event.record`` and ``query``; they serve ROCm as well.
    """
    torch: Any = modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    if torch.cuda.is_current_stream_capturing():
        return None
    event: Any = torch.cuda.Event()
    event.record()
    done: Done = event.query
    return done


def jax_work(modules: Mapping[str, object]) -> Done | None:
    """Return whether all arrays that JAX holds so far are computed.

    A step's result is not handed to ``step()``, so all living arrays are looked at: 1 us each.
    None where the training code has not used JAX yet: asking for arrays would take the GPU.

    Source:
        ``jax.live_arrays``, ``jax.Array.is_ready``; whether a backend is up is not public.
    """
    jax: Any = modules.get("jax")
    bridge: Any = modules.get("jax._src.xla_bridge")
    if jax is None or bridge is None or not bridge.backends_are_initialized():
        return None
    arrays: list[Any] = list(jax.live_arrays())

    def done() -> bool:
        while arrays and (arrays[-1].is_deleted() or arrays[-1].is_ready()):
            arrays.pop()
        return not arrays

    return done


def _alike(some_watts: Mapping[str, float], other_watts: Mapping[str, float]) -> bool:
    return some_watts.keys() == other_watts.keys() and all(
        same_limit(watts, other_watts[uuid]) for uuid, watts in some_watts.items()
    )
