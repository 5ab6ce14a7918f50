"""One rank's pushes in order: what is new, what is a repetition, what is yet to be settled."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from joulestat.domain.errors import InvalidPush, SupersededPush
from joulestat.domain.run import NO_COUNTS, Counts, Phase, Push

RETIRED_KEPT = 16
"""Earlier processes of a rank that are remembered, so that a late push of one is told apart."""

QUEUE_LIMIT = 128
"""Intervals that may wait for a device that is not read; beyond it the oldest are merged."""

FIRST_PUSH_REACH_NS = 2_000_000_000
"""How far back a claim may begin. Idle energy is booked with this much delay, so that the energy
between a run's start and the arrival of its first push is still there to be claimed."""

SILENT_NS = 5_000_000_000
"""A rank that was silent this long gets nothing credited until it is heard of again."""

BURST_NS = 5_000_000_000
"""How long after a claim's opening pushes from before it may still arrive."""


@dataclass(frozen=True, slots=True)
class Closing:
    """A push that was accepted and waits until the energy at its instant is known.

    Attributes:
        at_ns: Instant, on our clock.
        phase: Phase from then on.
        totals: Cumulative counts by phase, as of then.
        gpus: Devices held from then on.
        final: The claim ends then.
        opens: The claim begins then: what was counted before is not credited.
    """

    at_ns: int
    phase: Phase
    totals: Mapping[Phase, Counts]
    gpus: tuple[str, ...]
    final: bool
    opens: bool = False


@dataclass(slots=True)
class RankBook:
    """What is known of one rank of one run.

    Attributes:
        incarnation: The process that pushes now.
        seq: Its highest sequence number.
        accepted: Its newest accepted push; later ones are checked against it.
        pushed_ns: CLOCK_MONOTONIC of the last push's arrival.
        pushed_seconds: Unix time of the same.
        retired: Processes that pushed for this rank before.
        queue: Accepted and not settled yet, in order.
        opened: Time of the opening push on its own clock and on ours.
        start_ns: Where the open claim began.
        settled: The last settled push, None while no claim is open.
        ended: It pushed its last, or was not heard of for too long.
    """

    incarnation: str = ""
    seq: int = -1
    accepted: Closing | None = None
    pushed_ns: int = 0
    pushed_seconds: float = 0.0
    retired: deque[str] = field(default_factory=lambda: deque(maxlen=RETIRED_KEPT))
    queue: deque[Closing] = field(default_factory=deque)
    opened: tuple[int, int] = (0, 0)
    start_ns: int = 0
    settled: Closing | None = None
    ended: bool = False

    @property
    def live(self) -> bool:
        """Whether the rank holds, or is about to hold, its devices."""
        return self.incarnation != "" and not self.ended

    def pending_until_ns(self, now_ns: int) -> int:
        """Return up to when what the open claim draws can be expected to become the run's.

        A process that was killed leaves its claim open until another one replaces it, or until
        it was silent for too long; what its devices drew since its last push will be stale.
        """
        last_ns = self.settled.at_ns if self.settled else 0
        for closing in self.queue:
            if closing.opens:
                return last_ns
            last_ns = closing.at_ns
            if closing.final:
                return last_ns
        return now_ns if now_ns - self.pushed_ns <= SILENT_NS else last_ns

    def is_duplicate(self, push: Push) -> bool:
        """Tell whether a push repeats, or is older than, what is known already.

        Raises:
            SupersededPush: A newer process has taken the rank over.
            InvalidPush: The totals contradict an earlier push of the same process.
        """
        if push.incarnation in self.retired:
            msg = (
                f"rank {push.rank} of run {push.run!r} was taken over by a newer process; "
                f"this one ({push.incarnation!r}) is an old one: stop it, or rename its run"
            )
            raise SupersededPush(msg)
        if push.incarnation != self.incarnation:
            return False
        if push.seq <= self.seq or (self.accepted is not None and self.accepted.final):
            return True
        for phase, counts in (self.accepted.totals if self.accepted else {}).items():
            if (push.totals.get(phase, NO_COUNTS) - counts).any_negative:
                msg = (
                    f"totals.{phase} fell from {counts} to {push.totals.get(phase, NO_COUNTS)}: "
                    "totals are cumulative from the start of the process; a restarted process "
                    "needs a new incarnation"
                )
                raise InvalidPush(
                    msg,
                    field=f"totals.{phase}",
                    value=push.totals.get(phase, NO_COUNTS),
                    allowed=f"at least {counts}",
                )
        return False

    def accept(self, push: Push, now_ns: int, wall_seconds: float) -> bool:
        """Take a push that is not a duplicate.

        Returns:
            Whether its time had to be replaced by that of its arrival: it lay before the rank's
            previous push or in the future, so it came from another clock.
        """
        opens = push.incarnation != self.incarnation or self.ended or self.accepted is None
        if push.incarnation != self.incarnation:
            if self.incarnation:
                self.retired.append(self.incarnation)
            self.incarnation = push.incarnation
        if opens:
            self.opened = (push.at_ns, now_ns)
        at_ns = self._instant(push.at_ns, now_ns, opens=opens)
        adjusted = at_ns is None
        closing = Closing(
            at_ns=now_ns if at_ns is None else at_ns,
            phase=push.phase,
            totals=MappingProxyType(dict(push.totals)),
            gpus=push.gpus,
            final=push.final,
            opens=opens,
        )
        self.seq, self.ended = push.seq, False
        self.pushed_ns, self.pushed_seconds = now_ns, wall_seconds
        self.accepted = closing
        self._enqueue(closing)
        return adjusted

    def relieve(self, at_ns: int, now_ns: int) -> None:
        """End the claim at an instant, as its process would, because another one takes over.

        Of what the process pushes from now on nothing is taken.
        """
        last = self.accepted
        if last is None or last.final or self.incarnation in self.retired:
            return
        # The other claim reaches back no further.
        end_ns = min(now_ns, max(at_ns, last.at_ns, now_ns - FIRST_PUSH_REACH_NS))
        self.accepted = replace(last, at_ns=end_ns, final=True, opens=False)
        self._enqueue(self.accepted)
        self.retired.append(self.incarnation)

    def _instant(self, at_ns: int, now_ns: int, *, opens: bool) -> int | None:
        """Return the instant of a push on our clock, None where only its arrival can serve."""
        if at_ns > now_ns:
            return None
        reach_ns = now_ns - FIRST_PUSH_REACH_NS
        if opens or self.accepted is None:
            # Never before what an earlier process still has waiting: a rank's pushes are settled
            # in the order of their instants, and its queue must be in that order, too.
            return max(at_ns, reach_ns, *(closing.at_ns for closing in self.queue))
        if at_ns >= self.accepted.at_ns:
            return at_ns
        # A client that could not reach us for a while resends its phase changes in one burst.
        # Those older than the beginning of the claim happened before it.
        opened_at_ns, opened_now_ns = self.opened
        if at_ns >= opened_at_ns and now_ns - opened_now_ns <= BURST_NS:
            return self.accepted.at_ns
        return None

    def _enqueue(self, closing: Closing) -> None:
        """Queue a push; one that only continues the last one's interval replaces it."""
        if len(self.queue) > 1 and not closing.opens:
            before, last = self.queue[-2], self.queue[-1]
            continues = before.phase == last.phase == closing.phase and last.gpus == closing.gpus
            if not last.opens and (continues or len(self.queue) >= QUEUE_LIMIT):
                self.queue.pop()
        self.queue.append(closing)
