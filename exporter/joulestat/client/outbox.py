"""The one thread of the client: sends boundaries to the exporter, and gives way to everything.

The thread holds no lock while it waits for anything. Who calls in from the training code only
ever leaves a note and wakes it, by releasing a lock that stands for "there is something to do":
unlike ``threading.Event`` that is one atomic step, so that a signal handler may do it in the
middle of itself.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from joulestat.client.joules import Joules
from joulestat.client.notices import Notices, report_fault
from joulestat.client.tally import Boundary, Tally
from joulestat.client.transport import Reply, Transport
from joulestat.client.waiter import Waiter
from joulestat.client.wire import JSON_HEADERS, PUSH_PATH, parse_answer, push_body, reason
from joulestat.domain.units import NS_PER_MILLISECOND, NS_PER_SECOND, ns_to_seconds

PUSH_INTERVAL_NS = NS_PER_SECOND
EXCHANGE_TIMEOUT_NS = 2 * NS_PER_SECOND
QUIET_NS = 100 * NS_PER_MILLISECOND
"""Least time between two bursts of pushes: changes of phase may come by the thousand."""

FIRST_BACKOFF_NS = NS_PER_SECOND
LAST_BACKOFF_NS = 30 * NS_PER_SECOND

OPENING_REACH_NS = 2 * NS_PER_SECOND
"""How far back the exporter can begin a claim. Until it has answered once, older changes of
phase are of no use: their steps would be counted, and the energy that went with them is gone."""

AWAY_FLUSH_SECONDS = 0.05
"""How long a flush waits for an exporter that did not answer the last time."""

PATIENCE_NS = 10 * NS_PER_SECOND
"""How long a GPU may take to be found before it is said that there is none."""

_NO_GPU = (
    "nothing tells so far which GPUs this process uses, so no energy is counted; name them: "
    "init(gpus=...) or JOULESTAT_GPUS, or let it push over a Unix socket"
)
_DROPPED = "the oldest were dropped, and their energy is booked under the phase before"
_OK = range(200, 300)
_REFUSED = range(400, 500)
_SUPERSEDED = 409
_TRY_LATER = (408, 429)


def monotonic_ns() -> int:
    """Return CLOCK_MONOTONIC in ns, which all processes of a host share."""
    return time.monotonic_ns()


class Outbox:
    """Pushes one rank's tally to one exporter.

    Attributes:
        alive: Whether anything will still be sent. False after the last push, in a forked
            child, where no thread could be started, and where another process took the rank over.
    """

    def __init__(
        self,
        tally: Tally,
        joules: Joules,
        transport: Transport,
        notices: Notices,
        *,
        about: Mapping[str, object],
        now_ns: Callable[[], int],
        spread: float = 1.0,
    ) -> None:
        """Make an outbox that does not send yet.

        Args:
            tally: What to tell.
            joules: Where the answers go.
            transport: How to get there.
            notices: Where to say that nobody answers.
            about: The keys of a push that never change: run, rank, incarnation, labels.
            now_ns: CLOCK_MONOTONIC.
            spread: Factor on waiting times, at most 1 and different in every process, so that
                the ranks of a host do not come back all at once.
        """
        self.alive = True
        self._tally = tally
        self._joules = joules
        self._transport = transport
        self._notices = notices
        self._about = dict(about)
        self._now_ns = now_ns
        self._spread = spread
        self._note = threading.Lock()
        self._note.acquire()
        self._waiters: deque[Waiter] = deque()
        self._last: Waiter | None = None
        self._made_ns = now_ns()
        self._due_ns = self._made_ns
        self._not_before_ns = self._due_ns
        self._failures = 0
        self._heard = False

    @property
    def failing(self) -> bool:
        """Whether the last push got no answer that counts."""
        return self._failures > 0

    def start(self) -> bool:
        """Start the thread; False where there can be no more: at exit, or too many already."""
        try:
            threading.Thread(target=self._run, name="joulestat", daemon=True).start()
        except RuntimeError as error:
            self._notices.once(
                logging.INFO, "thread", "joulestat: nothing is pushed, no thread: %s", error
            )
            self.alive = False
        return self.alive

    def wake(self) -> None:
        """Let the thread look at once whether there is something to send. Never waits."""
        try:
            self._note.release()
        except RuntimeError:  # it was told before and has not looked yet
            return

    def ask(self) -> Waiter:
        """Ask for a push now, whatever the back-off; the answer's arrival can be waited for."""
        waiter = Waiter()
        self._waiters.append(waiter)
        if not self.alive:  # the thread may have looked for waiters for the last time
            waiter.resolve(sent=False)
        self.wake()
        return waiter

    def ask_last(self) -> Waiter | None:
        """Ask for the last push: the rank is done now. None where that was asked before."""
        if not self.alive or not self._tally.finish():
            return None
        self._last = self.ask()
        return self._last

    def unawaited(self) -> Waiter | None:
        """Return who stands for the last push, if nobody waited for it yet."""
        return self._last if self._last is not None and not self._last.awaited else None

    def flush(self, timeout_seconds: float) -> bool:
        """Push now and wait for the answer; shortly where the exporter is known to be away."""
        if not self.alive:
            return False
        limit_seconds = AWAY_FLUSH_SECONDS if self.failing else threading.TIMEOUT_MAX
        return self.ask().wait(min(limit_seconds, timeout_seconds))

    def hold(self) -> None:
        """Before a fork: let nobody be in the middle of counting."""
        self._tally.lock.acquire()

    def let_go(self) -> None:
        """In the parent, after the fork."""
        self._tally.lock.release()

    def abandon(self) -> None:
        """In the forked child: send nothing, ever; the run and its connection are the parent's."""
        self.alive = False
        self._tally.lock = threading.RLock()
        self._transport.close()

    def turn(self) -> int | None:
        """Send what is due.

        Returns:
            How long until there may be something to send again, ns; None where nothing will.
        """
        waiters = [self._waiters.popleft() for _ in range(len(self._waiters))]
        now_ns = self._now_ns()
        if not waiters and now_ns < self._next_ns():
            return self._next_ns() - now_ns
        sent = self._send(asked=bool(waiters))
        for waiter in waiters:
            waiter.resolve(sent=sent)
        if not self.alive:
            return None
        return max(0, self._next_ns() - self._now_ns())

    def _next_ns(self) -> int:
        """Return when there will be something to send, unless somebody asks earlier."""
        if self._tally.waiting() is not None:
            return self._not_before_ns
        return max(self._due_ns, self._not_before_ns)

    def _run(self) -> None:
        while self.alive:
            try:
                wait_ns = self.turn()
            except Exception as error:  # noqa: BLE001 - a bug of ours must not end the pushes
                report_fault("Outbox.turn", error)
                wait_ns = LAST_BACKOFF_NS
            if wait_ns is None:
                break
            if wait_ns > 0:
                self._note.acquire(timeout=ns_to_seconds(wait_ns))
        self._transport.close()
        while self._waiters:
            self._waiters.popleft().resolve(sent=False)

    def _send(self, *, asked: bool) -> bool:
        """Send all that waits in order, then, if asked for or due, the counts as of now.

        Returns:
            Whether the exporter has everything. A last push is tried once.
        """
        last = self._tally.final
        if not self._heard:
            self._tally.forget_before(self._now_ns() - OPENING_REACH_NS)
        sent = True
        while self.alive and (boundary := self._tally.waiting()) is not None:
            sent = self._deliver(boundary)
            if self._tally.waiting() is boundary:
                break
        if self._tally.dropped:
            self._notices.once(
                logging.WARNING, "dropped", "joulestat: too many phase changes waited: %s", _DROPPED
            )
        if last:
            self.alive = False
        latest = asked or self._now_ns() >= self._due_ns
        if self.alive and sent and latest and not self._tally.final:
            sent = self._deliver(self._tally.waiting_or_latest())
        return sent

    def _deliver(self, boundary: Boundary) -> bool:
        """Push one boundary; return whether the exporter has it."""
        try:
            reply = self._transport.exchange(
                "POST",
                PUSH_PATH,
                headers=JSON_HEADERS,
                body=push_body(self._about, boundary),
                timeout_ns=EXCHANGE_TIMEOUT_NS,
            )
            taken = self._judge(reply, boundary)
        except Exception as error:  # noqa: BLE001 - whatever came back, the training goes on
            self._say_away(error)
            taken = False
        now_ns = self._now_ns()
        self._due_ns = now_ns + PUSH_INTERVAL_NS
        if taken:
            self._failures = 0
            self._not_before_ns = now_ns + QUIET_NS
        else:
            # Doubling stops before the exponent gets out of hand in a run of months.
            backoff_ns = min(FIRST_BACKOFF_NS << min(self._failures, 5), LAST_BACKOFF_NS)
            self._failures += 1
            self._not_before_ns = now_ns + round(backoff_ns * self._spread)
        return taken

    def _judge(self, reply: Reply, boundary: Boundary) -> bool:
        """Heed an answer; return whether the exporter has the boundary."""
        if reply.status in _OK:
            answer = parse_answer(reply.body)
            if not self._heard:
                self._joules.late = self._now_ns() - self._made_ns > OPENING_REACH_NS
            self._joules.take(answer)
            self._tally.settle(boundary.seq)
            waited = self._now_ns() - self._made_ns > PATIENCE_NS
            if waited and boundary.gpus is None and boundary.totals and not answer.energy_joules:
                self._notices.once(logging.WARNING, "gpus", "joulestat: %s", _NO_GPU)
            self._heard = True
            return True
        if reply.status == _SUPERSEDED:
            self.alive = False
        elif reply.status in _REFUSED and reply.status not in _TRY_LATER:
            # Sent again it would be refused again.
            self._tally.settle(boundary.seq)
        self._say_refused(reply)
        return False

    def _say_away(self, error: Exception) -> None:
        self._notices.once(
            logging.INFO,
            "away",
            "joulestat: no exporter answers at %s (%s); training goes on, and the pushes are "
            "tried again in the background. To switch them off: JOULESTAT_DISABLED=1",
            self._transport.target.url,
            error or type(error).__name__,
        )

    def _say_refused(self, reply: Reply) -> None:
        self._notices.once(
            logging.WARNING,
            f"status {reply.status}",
            "joulestat: the exporter at %s answered %s%s; training goes on%s",
            self._transport.target.url,
            reply.status,
            reason(reply),
            "" if self.alive else ", nothing more is pushed",
        )
