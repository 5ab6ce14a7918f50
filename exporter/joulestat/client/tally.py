"""What one rank counted, and the pushes that say so. No thread, no I/O."""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from joulestat.client.arguments import MAX_COUNT
from joulestat.domain.run import NO_COUNTS, Counts, Phase

Gpu = str | int
"""A UUID, an NVML index that the exporter resolves, or "all"."""

WAITING_LIMIT = 64
"""Phase changes kept while the exporter is away; beyond it the oldest are dropped."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """An instant at which an interval ends and the next begins; becomes one push.

    Attributes:
        seq: Rises with every boundary of this process.
        at_ns: CLOCK_MONOTONIC; never before the previous boundary.
        phase: What the rank does from then on.
        totals: Counts so far by phase; phases without any are left out.
        gpus: Devices held from then on; None where the exporter is to find out.
        final: The rank is done.
    """

    seq: int
    at_ns: int
    phase: Phase
    totals: Mapping[Phase, Counts]
    gpus: tuple[Gpu, ...] | None
    final: bool = False


class _Counter:
    """One phase's counts: mutable, because a step has about a microsecond."""

    __slots__ = ("samples", "steps", "tokens")

    def __init__(self) -> None:
        self.steps = 0
        self.samples = 0
        self.tokens = 0

    def frozen(self) -> Counts:
        # A larger total would be refused, and with it every push from then on.
        return Counts(
            min(self.steps, MAX_COUNT), min(self.samples, MAX_COUNT), min(self.tokens, MAX_COUNT)
        )


class Tally:
    """The counts of one rank by phase, and the phase changes that wait to be pushed.

    Any thread may call any method. The lock is re-entrant, because a signal handler of the
    training code may call in while the same thread is inside; nothing is done under it that
    waits. It is public for the sake of ``fork``, which must find it free.

    Attributes:
        lock: Guards everything here.
        gpus: Devices named in boundaries from now on; None where they are not known.
        dropped: Phase changes given up because too many waited.
    """

    def __init__(self, now_ns: Callable[[], int], gpus: tuple[Gpu, ...] | None = ()) -> None:
        self.lock = threading.RLock()
        self.gpus = gpus
        self.dropped = 0
        self._now_ns = now_ns
        self._phase = Phase.OTHER
        self._counters = {phase: _Counter() for phase in Phase}
        self._current = self._counters[Phase.OTHER]
        self._last_step_ns: int | None = None
        self._boundary_ns = 0
        self._seq = 0
        self._final = False
        self._waiting: deque[Boundary] = deque()
        self._enqueue(now_ns())

    @property
    def phase(self) -> Phase:
        """The phase in force."""
        return self._phase

    @property
    def final(self) -> bool:
        """Whether the rank is done."""
        return self._final

    def step(self, n_samples: int, n_tokens: int) -> None:
        """Count a step that ends now, under the phase in force."""
        with self.lock:
            counter = self._current
            counter.steps += 1
            counter.samples += n_samples
            counter.tokens += n_tokens
            self._last_step_ns = self._now_ns()

    def add(self, n_samples: int, n_tokens: int) -> None:
        """Count work without a step."""
        with self.lock:
            self._current.samples += n_samples
            self._current.tokens += n_tokens

    def change_phase(self, phase: Phase) -> bool:
        """Let a phase begin now; return whether it is another one than before."""
        with self.lock:
            if phase is self._phase or self._final:
                return False
            self._phase = phase
            self._current = self._counters[phase]
            self._last_step_ns = None
            self._enqueue(self._now_ns())
            return True

    def finish(self) -> bool:
        """Let the last interval end now; return False where it ended before."""
        with self.lock:
            if self._final:
                return False
            self._final = True
            self._enqueue(self._now_ns())
            return True

    def waiting(self) -> Boundary | None:
        """Return the oldest boundary that is not settled yet, None where none waits."""
        with self.lock:
            return self._waiting[0] if self._waiting else None

    def settle(self, seq: int) -> None:
        """Forget the boundaries up to ``seq``: the exporter has them, or never will."""
        with self.lock:
            while self._waiting and self._waiting[0].seq <= seq:
                self._waiting.popleft()

    def forget_before(self, at_ns: int) -> None:
        """Forget phase changes from before an instant, the last boundary excepted."""
        with self.lock:
            while self._waiting and self._waiting[0].at_ns < at_ns and not self._waiting[0].final:
                self._waiting.popleft()

    def latest(self) -> Boundary:
        """Return a boundary with the counts as of now, which need not wait in order.

        It stands where the last counted step of the phase ended, so that steps, seconds and
        joules of an interval belong together; where the phase has no steps, it stands at now.
        """
        with self.lock:
            return self._boundary(self._last_step_ns or self._now_ns())

    def waiting_or_latest(self) -> Boundary:
        """Return the oldest boundary that waits, else one with the counts as of now.

        In one step: a later boundary that overtook a change of phase would stand for it too, and
        the steps that lie between them would be the wrong phase's.
        """
        with self.lock:
            return self._waiting[0] if self._waiting else self.latest()

    def _enqueue(self, at_ns: int) -> None:
        if len(self._waiting) >= WAITING_LIMIT:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(self._boundary(at_ns))

    def _boundary(self, at_ns: int) -> Boundary:
        # A signal handler may come in at any call: between a step's end and its entry here, or in
        # the middle of this. If it made a boundary of its own, this one is made anew, after it.
        while True:
            seq = self._seq + 1
            boundary_ns = max(self._boundary_ns, at_ns)
            totals = {phase: counter.frozen() for phase, counter in self._counters.items()}
            boundary = Boundary(
                seq=seq,
                at_ns=boundary_ns,
                phase=self._phase,
                totals={phase: counts for phase, counts in totals.items() if counts != NO_COUNTS},
                gpus=self.gpus,
                final=self._final,
            )
            if self._seq < seq:
                self._seq, self._boundary_ns = seq, boundary_ns
                return boundary
