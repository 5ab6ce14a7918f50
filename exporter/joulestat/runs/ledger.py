"""The ledger: takes pushes and energy, credits one to the other, forgets nothing.

Not thread-safe: the sampler's lock guards it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from joulestat.domain.errors import InvalidPush, PushOverload, SupersededPush
from joulestat.domain.run import (
    TRANSITION,
    Push,
    PushAnswer,
    PushResult,
    RunState,
    UnattributedReason,
)
from joulestat.domain.snapshot import BudgetState
from joulestat.domain.units import NS_PER_SECOND, uj_to_joules
from joulestat.runs.account import DeviceAccount
from joulestat.runs.book import RunBook
from joulestat.runs.budgets import Budgets
from joulestat.runs.curve import EnergyCurve
from joulestat.runs.forgetting import forget_ranks, one_too_many, shown_runs
from joulestat.runs.limit_track import LimitTrack
from joulestat.runs.rank import FIRST_PUSH_REACH_NS, RankBook
from joulestat.runs.settling import Booker, DeviceBook

CURVE_KEPT_NS = 120 * NS_PER_SECOND
"""How far back a push that waits for nothing may lie and still find the energy of its instant."""


@dataclass(frozen=True, slots=True)
class LedgerPolicy:
    """How long things last and how many there may be.

    Attributes:
        ttl_ns: A rank that is silent this long loses its claims.
        settle_ns: How long after a limit change an interval still is a transition.
        retention_seconds: How long an ended run stays on /metrics.
        max_runs: Live runs; and the most ended ones on /metrics.
        max_ranks: Live ranks over all runs; and the most ranks, ended ones included, of one run.
        max_ended: Ended runs remembered, so that a resumed run's counters go on.
        max_ended_ranks: Ended ranks remembered, of all runs together.
    """

    ttl_ns: int = 60 * NS_PER_SECOND
    settle_ns: int = 2 * NS_PER_SECOND
    retention_seconds: float = 900.0
    max_runs: int = 64
    max_ranks: int = 512
    max_ended: int = 256
    max_ended_ranks: int = 2048


@dataclass(slots=True)
class Ledger:
    """All runs, devices and budgets of this node.

    Attributes:
        policy: How long things last.
        instance: Identity of this memory; a client that sees another one starts a new base.
        budgets: From the config file.
        devices: By UUID; filled by ``observe``.
        runs: By name, ended ones included.
        pushes: Pushes by result, since start.
        adjusted: Pushes whose time came from another clock, since start.
        dirty: Names of runs changed since they were last written to disk.
    """

    policy: LedgerPolicy
    instance: str
    budgets: Budgets
    devices: dict[str, DeviceBook] = field(default_factory=dict)
    runs: dict[str, RunBook] = field(default_factory=dict)
    pushes: dict[PushResult, int] = field(default_factory=lambda: dict.fromkeys(PushResult, 0))
    adjusted: int = 0
    dirty: set[str] = field(default_factory=set)
    _states: dict[str, RunState] = field(default_factory=dict)

    def observe(self, uuid: str, at_ns: int, total_uj: int, limit_watts: float | None) -> None:
        """Take a device's energy total and the limit in force, as read at ``at_ns``."""
        device = self.devices.get(uuid)
        if device is None:
            device = DeviceBook(EnergyCurve(at_ns, total_uj), LimitTrack(), DeviceAccount(total_uj))
            self.devices[uuid] = device
        device.curve.append(at_ns, total_uj)
        device.track.observe(at_ns, limit_watts)

    def mark_limit_write(self, uuid: str, at_ns: int) -> None:
        """Note that a device's limit is being written."""
        if uuid in self.devices:
            self.devices[uuid].track.mark(at_ns)

    def push(self, push: Push, now_ns: int, wall_seconds: float) -> PushAnswer:
        """Take a push; it is booked by the next ``advance`` that knows the energy at its instant.

        Raises:
            PushError: The push was refused; nothing changed but the count of refusals.
        """
        try:
            duplicate = self._check(push)
        except (InvalidPush, SupersededPush, PushOverload):
            self.pushes[PushResult.REJECTED] += 1
            raise
        if duplicate:
            self.pushes[PushResult.DUPLICATE] += 1
            return self._answer(push, now_ns, accepted=False)
        run = self.runs.get(push.run)
        if run is None:
            run = self.runs[push.run] = RunBook(push.run, start_seconds=wall_seconds)
        run.end_seconds = None
        run.describe(push)
        run.make_room_for(push.rank, self.policy.max_ranks)
        rank = run.ranks.setdefault(push.rank, RankBook())
        if push.instead_of:
            self._relieve(push.instead_of, push.at_ns, now_ns)
        self.adjusted += rank.accept(push, now_ns, wall_seconds)
        self.pushes[PushResult.ACCEPTED] += 1
        self._touch(run)
        return self._answer(push, now_ns, accepted=True)

    def advance(self, now_ns: int, wall_seconds: float, *, beat: bool) -> None:
        """Book all that can be booked.

        Args:
            now_ns: CLOCK_MONOTONIC.
            wall_seconds: Unix time.
            beat: Book idle energy and tidy up, too; about once a second.
        """
        booker = Booker(self.devices, self.policy.settle_ns)
        for run in list(self.runs.values()):
            if run.end_seconds is None:
                self._book_ready(booker, run, now_ns, wall_seconds)
                self._end_silent(booker, run, now_ns)
                self._open_cell(booker, run)
        if beat:
            for device in self.devices.values():
                idle_until_ns = min(now_ns, device.curve.end_ns) - FIRST_PUSH_REACH_NS
                device.account.settle_idle(device.curve.at(idle_until_ns))
                # A push may wait for another device's reading as long as a claim may be silent.
                device.curve.forget_before(now_ns - self.policy.ttl_ns - CURVE_KEPT_NS)
            self._forget_runs()

    def unattributed_uj(self, uuid: str) -> Mapping[UnattributedReason, int]:
        """Return a device's energy that belongs to no run, by reason."""
        device = self.devices.get(uuid)
        if device is None:
            return MappingProxyType(dict.fromkeys(UnattributedReason, 0))
        return MappingProxyType(dict(device.account.unattributed_uj))

    def run_states(self, wall_seconds: float) -> tuple[RunState, ...]:
        """Return live and lately ended runs in order of name."""
        oldest_end = wall_seconds - self.policy.retention_seconds
        shown = shown_runs(self.runs.values(), oldest_end, self.policy.max_runs)
        return tuple(self._state(run) for run in shown)

    def changed_states(self) -> tuple[RunState, ...]:
        """Return the runs that are to be written, ended ones included."""
        return tuple(self._state(self.runs[name]) for name in self.dirty if name in self.runs)

    def budget_states(self) -> tuple[BudgetState, ...]:
        """Return the budgets and this node's share of their consumption."""
        return self.budgets.states()

    def _check(self, push: Push) -> bool:
        """Refuse what cannot be taken; tell whether the push is a duplicate."""
        unknown = [gpu for gpu in push.gpus if gpu not in self.devices]
        if unknown:
            known = ", ".join(self.devices) or "none (no GPU was read yet)"
            msg = f"gpus: no GPU {unknown[0]!r} on this node; it has: {known}"
            raise InvalidPush(msg, field="gpus", value=unknown[0], allowed=known)
        run = self.runs.get(push.run)
        rank = run.ranks.get(push.rank) if run else None
        if rank is not None and rank.is_duplicate(push):
            return True
        if run is None or run.end_seconds is not None:
            live = sum(1 for other in self.runs.values() if other.end_seconds is None)
            if live >= self.policy.max_runs:
                msg = (
                    f"run {push.run!r} is one too many: {live} runs are live on this node, "
                    "the most there may be; finish one, or give all ranks of a job one run name"
                )
                raise PushOverload(msg)
        if rank is None or not rank.live:
            ranks = sum(len(other.live_ranks()) for other in self.runs.values())
            if ranks >= self.policy.max_ranks:
                msg = (
                    f"rank {push.rank} of run {push.run!r} is one too many: {ranks} ranks are live"
                )
                raise PushOverload(msg)
        return False

    def _relieve(self, incarnation: str, at_ns: int, now_ns: int) -> None:
        """Let a process go that stood in for another one, which begins at an instant."""
        for run in self.runs.values():
            for book in run.ranks.values():
                if book.incarnation == incarnation and book.live:
                    book.relieve(at_ns, now_ns)
                    self._touch(run)

    def _answer(self, push: Push, now_ns: int, *, accepted: bool) -> PushAnswer:
        run = self.runs[push.run]
        energy_uj = dict(run.device_energy_uj)
        for rank, gpu in run.open_claims():
            device = self.devices[gpu]
            pending_uj = device.account.pending_uj(
                device.curve.at(run.ranks[rank].pending_until_ns(now_ns)), (run.name, rank)
            )
            energy_uj[gpu] = energy_uj.get(gpu, 0) + pending_uj
        limits = {gpu: self.devices[gpu].track.watts for gpu in push.gpus}
        return PushAnswer(
            accepted=accepted,
            seq=run.ranks[push.rank].seq,
            instance=self.instance,
            energy_joules={gpu: uj_to_joules(uj) for gpu, uj in energy_uj.items()},
            power_limit_watts={gpu: watts for gpu, watts in limits.items() if watts is not None},
        )

    def _book_ready(self, booker: Booker, run: RunBook, now_ns: int, wall_seconds: float) -> None:
        """Settle queued pushes, oldest first, up to where all energies are known."""
        held = run.gpus()
        queued = [
            (closing.at_ns, rank, closing)
            for rank, book in run.ranks.items()
            for closing in book.queue
        ]
        queued.sort(key=lambda item: item[:2])
        for at_ns, rank, closing in queued:
            held.update(closing.gpus)
            if at_ns > self._known_until_ns(held, now_ns):
                break
            run.ranks[rank].queue.popleft()
            credited = booker.settle(run, rank, closing, now_ns)
            self.budgets.spend(run.labels.team, sum(credited.values()), wall_seconds)
            self._touch(run)
        self._end_if_done(run)

    def _known_until_ns(self, gpus: Iterable[str], now_ns: int) -> int:
        """Return up to when the energy of all these devices is known.

        A device that has not been read for the whole TTL holds nobody up: its energy stays what
        it was, and its limit unknown.
        """
        ends_ns = [self.devices[gpu].curve.end_ns for gpu in gpus]
        return min(
            (end_ns for end_ns in ends_ns if now_ns - end_ns < self.policy.ttl_ns), default=now_ns
        )

    def _end_silent(self, booker: Booker, run: RunBook, now_ns: int) -> None:
        for rank, book in run.ranks.items():
            if book.live and not book.queue and now_ns - book.pushed_ns >= self.policy.ttl_ns:
                booker.leave(run, rank, now_ns)
                book.ended = True
                self._touch(run)
        self._end_if_done(run)

    def _end_if_done(self, run: RunBook) -> None:
        if run.end_seconds is None and not run.live_ranks():
            run.end_seconds = max(book.pushed_seconds for book in run.ranks.values())
            run.closed_ns, run.lead, run.disturbed = None, None, True
            self._touch(run)

    def _open_cell(self, booker: Booker, run: RunBook) -> None:
        """Export counters at 0 as soon as a limit is in force, so that no increment is lost."""
        settled = run.ranks[run.lead].settled if run.lead in run.ranks else None
        if settled is None:
            return
        labels = {booker.devices[gpu].track.label for _, gpu in run.open_claims()}
        label = labels.pop() if len(labels) == 1 else None
        key = (settled.phase, label or TRANSITION)
        if label and key not in run.cells and run.has_room_for(label):
            run.add(key)
            self._touch(run)

    def _forget_runs(self) -> None:
        """Keep a bounded number of ended runs and ranks, the latest ones."""
        for run in one_too_many(self.runs.values(), self.policy.max_ended):
            del self.runs[run.name]
            self._touch(run)
        for run in forget_ranks(self.runs.values(), self.policy.max_ended_ranks):
            self._touch(run)

    def _touch(self, run: RunBook) -> None:
        self.dirty.add(run.name)
        self._states.pop(run.name, None)

    def _state(self, run: RunBook) -> RunState:
        state = self._states.get(run.name)
        if state is None:
            state = self._states[run.name] = run.state()
        return state
