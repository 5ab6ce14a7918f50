"""Booking intervals: what happens when the energy at a push's instant is known."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from joulestat.domain.run import MIXED, NO_COUNTS, TRANSITION, Counts, Phase
from joulestat.runs.account import DeviceAccount
from joulestat.runs.book import RunBook
from joulestat.runs.curve import EnergyCurve
from joulestat.runs.limit_track import LimitTrack
from joulestat.runs.rank import SILENT_NS, Closing


@dataclass(slots=True)
class DeviceBook:
    """One device, as the ledger sees it."""

    curve: EnergyCurve
    track: LimitTrack
    account: DeviceAccount


@dataclass(slots=True)
class Booker:
    """Settles pushes of ranks into cells of runs.

    The steps of a run on this node are those of its *lead* rank, the lowest one. Its pushes cut
    time into intervals, and each interval is booked whole: the lead's steps, its seconds, and the
    energy of *all* the run's devices between the same two instants. So joules per step is exact
    however far apart the other ranks' pushes lie; those add samples, tokens and their claims.

    Attributes:
        devices: By UUID.
        settle_ns: How long a limit change makes an interval a transition.
    """

    devices: Mapping[str, DeviceBook]
    settle_ns: int

    def settle(self, run: RunBook, rank: int, closing: Closing, now_ns: int) -> dict[str, int]:
        """Book one push.

        Returns:
            Energy credited by it, uJ by device UUID.
        """
        book = run.ranks[rank]
        if closing.opens or book.settled is None:
            if book.settled is not None:
                self.leave(run, rank, closing.at_ns)
            if closing.final:
                book.ended = not book.queue
            else:
                self._open(run, rank, closing)
            return {}
        self._choose_lead(run, book.settled.at_ns)
        if rank == run.lead:
            credited = self._close_run(run, rank, closing, now_ns)
        else:
            self._close_rank(run, rank, closing)
            credited = {}
        if closing.final:
            credited = _added(credited, self._credit_leaving(run, rank, closing.at_ns))
            self.leave(run, rank, closing.at_ns)
            # What still waits is the beginning of the next process of this rank.
            book.ended = not book.queue
        else:
            self._move_claims(run, rank, book.settled, closing)
            book.settled = closing
        return credited

    def leave(self, run: RunBook, rank: int, at_ns: int) -> None:
        """End a rank's claims at an instant; what was not credited by then is stale."""
        book = run.ranks[rank]
        for gpu in book.settled.gpus if book.settled else ():
            device = self.devices[gpu]
            device.account.leave((run.name, rank), device.curve.at(at_ns))
        book.settled = None
        run.disturbed = True

    def label(self, run: RunBook, start_ns: int, end_ns: int) -> str:
        """Return the value of ``power_limit_watts`` for an interval of a run."""
        gpus = run.gpus()
        labels = {self.devices[gpu].track.over(start_ns, end_ns, self.settle_ns) for gpu in gpus}
        known = {label for label in labels if label is not None}
        if not known or None in labels or run.disturbed or self._unread(gpus, end_ns):
            return TRANSITION
        if len(known) > 1:
            return MIXED
        label = known.pop()
        return label if run.has_room_for(label) else TRANSITION

    def _unread(self, gpus: Iterable[str], at_ns: int) -> bool:
        """Tell whether the energy of one of these devices is not known at an instant."""
        return any(self.devices[gpu].curve.end_ns < at_ns for gpu in gpus)

    def _open(self, run: RunBook, rank: int, closing: Closing) -> None:
        for gpu in closing.gpus:
            device = self.devices[gpu]
            device.account.join((run.name, rank), device.curve.at(closing.at_ns))
        book = run.ranks[rank]
        book.settled = closing
        book.start_ns = closing.at_ns
        # A run's very first claim disturbs nothing, for its first interval begins with it; unless
        # the process began earlier than its energy can be known: then the next push counts steps
        # of before.
        reached_back_too_far = book.opened[0] < closing.at_ns
        run.disturbed = run.closed_ns is not None or reached_back_too_far
        if run.closed_ns is None:
            run.closed_ns, run.lead = closing.at_ns, rank

    def _choose_lead(self, run: RunBook, at_ns: int) -> None:
        """Let the lowest rank lead. A change of lead leaves an interval without clean steps."""
        lead = min(rank for rank, book in run.ranks.items() if book.settled is not None)
        if lead != run.lead:
            run.lead, run.disturbed = lead, True
        if run.closed_ns is None:
            run.closed_ns = at_ns

    def _close_run(self, run: RunBook, rank: int, closing: Closing, now_ns: int) -> dict[str, int]:
        """Book the lead's interval with the energy of all the run's devices."""
        book = run.ranks[rank]
        settled, start_ns = book.settled, run.closed_ns
        if settled is None or start_ns is None:
            return {}
        counts, strays = _counted(settled, closing)
        if settled.at_ns < start_ns:
            # Of two pushes of one instant, both before the last interval's end, nothing is new.
            late_ns = max(0, closing.at_ns - start_ns)
            share = late_ns / (closing.at_ns - settled.at_ns) if late_ns else 0.0
            counts = _with_steps(counts, share)
            strays = {phase: _with_steps(each, share) for phase, each in strays.items()}
        if closing.at_ns <= start_ns:
            if closing.at_ns > book.start_ns:
                # Counts without time to go with them: true, but of no use for J/step.
                self._book_strays(run, {settled.phase: counts, **strays})
            return {}
        holding = {holder for holder, _ in run.open_claims()}
        silent = {r for r in holding if now_ns - run.ranks[r].pushed_ns > SILENT_NS}
        run.disturbed = run.disturbed or bool(silent) or any(_steps(strays))
        label = self.label(run, start_ns, closing.at_ns)
        credited = self._credit_devices(run, sorted(holding - silent), closing.at_ns)
        run.add(
            (settled.phase, label),
            energy_uj=sum(credited.values()),
            duration_ns=closing.at_ns - start_ns,
            counts=counts,
        )
        self._book_strays(run, strays)
        run.closed_ns = closing.at_ns
        # What is not credited now will be with the next interval, and belongs to neither.
        run.disturbed = bool(silent) or self._unread(run.gpus(), closing.at_ns)
        return credited

    def _close_rank(self, run: RunBook, rank: int, closing: Closing) -> None:
        """Book what a rank that does not lead reports: its own samples and tokens."""
        book = run.ranks[rank]
        if book.settled is None or closing.at_ns <= book.start_ns:
            return
        counts, strays = _counted(book.settled, closing)
        if counts != NO_COUNTS:
            label = self.label(run, book.settled.at_ns, closing.at_ns)
            own = Counts(0, counts.samples, counts.tokens)
            run.add((book.settled.phase, label), counts=own)
        others = {phase: Counts(0, c.samples, c.tokens) for phase, c in strays.items()}
        self._book_strays(run, others)

    def _credit_leaving(self, run: RunBook, rank: int, at_ns: int) -> dict[str, int]:
        """Credit what a leaving rank drew since the run's last interval, as a transition."""
        settled = run.ranks[rank].settled
        credited = self._credit_devices(run, [rank], at_ns)
        if settled is not None and any(credited.values()):
            run.add((settled.phase, TRANSITION), energy_uj=sum(credited.values()))
        return credited

    def _credit_devices(self, run: RunBook, ranks: Iterable[int], at_ns: int) -> dict[str, int]:
        credited: dict[str, int] = {}
        for rank in ranks:
            settled = run.ranks[rank].settled
            for gpu in settled.gpus if settled else ():
                device = self.devices[gpu]
                amount_uj = device.account.credit((run.name, rank), device.curve.at(at_ns))
                credited[gpu] = credited.get(gpu, 0) + amount_uj
        for gpu, amount_uj in credited.items():
            run.device_energy_uj[gpu] = run.device_energy_uj.get(gpu, 0) + amount_uj
        return credited

    def _move_claims(self, run: RunBook, rank: int, before: Closing, after: Closing) -> None:
        """Follow a rank that says it holds other devices than before."""
        holder = (run.name, rank)
        for gpu in set(before.gpus) - set(after.gpus):
            device = self.devices[gpu]
            device.account.leave(holder, device.curve.at(after.at_ns))
        for gpu in set(after.gpus) - set(before.gpus):
            device = self.devices[gpu]
            device.account.join(holder, device.curve.at(after.at_ns))
        run.disturbed = run.disturbed or set(before.gpus) != set(after.gpus)

    @staticmethod
    def _book_strays(run: RunBook, strays: Mapping[Phase, Counts]) -> None:
        for phase, counts in strays.items():
            if counts != NO_COUNTS:
                run.add((phase, TRANSITION), counts=counts)


def _counted(settled: Closing, closing: Closing) -> tuple[Counts, dict[Phase, Counts]]:
    """Return what was counted in the interval's own phase, and in any other one.

    Counts of another phase mean that a change of phase was lost on the way: they are kept, but
    the interval tells nothing about either phase's joules per step.
    """
    deltas = {
        phase: counts - settled.totals.get(phase, NO_COUNTS)
        for phase, counts in closing.totals.items()
    }
    own = deltas.pop(settled.phase, NO_COUNTS)
    return own, {phase: counts for phase, counts in deltas.items() if counts != NO_COUNTS}


def _with_steps(counts: Counts, share: float) -> Counts:
    """Take so much of the steps of a rank that has just begun to lead.

    All ranks make the same steps, and the lead before has counted those up to its last push.
    """
    return replace(counts, steps=round(share * counts.steps))


def _steps(counts: Mapping[Phase, Counts]) -> Iterable[int]:
    return (each.steps for each in counts.values())


def _added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in {*one, *other}}
