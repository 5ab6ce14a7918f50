"""One device's energy, divided among those who hold it, to the last microjoule.

Holders share equally. The device's energy is cut into *epochs*, in each of which the same n
holders share; holder k's part of the first x uJ of an epoch is ``(x + k) // n``. By Hermite's
identity the parts of all n holders add up to x for every integer x, so that

    credited + unattributed + pending == device total

holds with ``==`` at every instant, whoever settled up to where.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from joulestat.domain.run import UnattributedReason

Holder = tuple[str, int]
"""A claim: (run, rank)."""

NOBODY: Holder = ("", -1)
"""Holds a device that nobody claims; what it takes is idle energy."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """A span of a device's energy in which the same holders share. Ends where the next begins."""

    start_uj: int
    holders: tuple[Holder, ...]


class DeviceAccount:
    """Who holds one device, and up to which energy each holder was settled."""

    def __init__(self, start_uj: int) -> None:
        # What the register counted before we looked belongs to no run either.
        self.unattributed_uj = {
            UnattributedReason.IDLE: start_uj,
            UnattributedReason.STALE: 0,
        }
        self.credited_uj = 0
        self.epochs = [Epoch(start_uj, (NOBODY,))]
        self.settled_uj: dict[Holder, int] = {NOBODY: start_uj}

    @property
    def holders(self) -> tuple[Holder, ...]:
        """Who holds the device now."""
        return self.epochs[-1].holders

    def join(self, holder: Holder, at_uj: int) -> None:
        """Let ``holder`` share from ``at_uj`` on.

        What others were settled for already stays theirs: the share then begins there.
        """
        begin_uj = self._earliest_cut(at_uj)
        self.settle_idle(begin_uj)
        others = [other for other in self.holders if other not in (NOBODY, holder)]
        self.settled_uj.pop(NOBODY, None)
        self.settled_uj[holder] = begin_uj
        self._cut(begin_uj, tuple(sorted([*others, holder])))

    def credit(self, holder: Holder, upto_uj: int) -> int:
        """Settle ``holder`` up to an energy and return its share since the last time, uJ."""
        from_uj = self.settled_uj[holder]
        amount_uj = self._share(holder, from_uj, upto_uj)
        self.settled_uj[holder] = max(from_uj, upto_uj)
        self.credited_uj += amount_uj
        self._forget()
        return amount_uj

    def leave(self, holder: Holder, at_uj: int) -> None:
        """End a claim. What was not credited to it until now is stale."""
        end_uj = self._earliest_cut(at_uj)
        stale_uj = self._share(holder, self.settled_uj.pop(holder), end_uj)
        self.unattributed_uj[UnattributedReason.STALE] += stale_uj
        others = tuple(other for other in self.holders if other != holder)
        if not others:
            self.settled_uj[NOBODY] = end_uj
        self._cut(end_uj, others or (NOBODY,))
        self._forget()

    def settle_idle(self, upto_uj: int) -> None:
        """Book what an unclaimed device took up to an energy as idle."""
        from_uj = self.settled_uj.get(NOBODY)
        if from_uj is None or upto_uj <= from_uj:
            return
        amount_uj = self._share(NOBODY, from_uj, upto_uj)
        self.unattributed_uj[UnattributedReason.IDLE] += amount_uj
        self.settled_uj[NOBODY] = upto_uj
        self._forget()

    def pending_uj(self, total_uj: int, holder: Holder | None = None) -> int:
        """Return what is neither credited nor unattributed yet, at a device total.

        Args:
            total_uj: The device's energy total.
            holder: Only this holder's part.
        """
        whose: Mapping[Holder, int] = self.settled_uj
        if holder is not None:
            whose = {holder: self.settled_uj[holder]} if holder in self.settled_uj else {}
        return sum(self._share(who, from_uj, total_uj) for who, from_uj in whose.items())

    def _earliest_cut(self, at_uj: int) -> int:
        """Return the first energy from ``at_uj`` on at which holders may still change."""
        return max(at_uj, self.epochs[-1].start_uj, *self.settled_uj.values())

    def _cut(self, at_uj: int, holders: tuple[Holder, ...]) -> None:
        if self.epochs[-1].start_uj == at_uj:
            self.epochs.pop()
        self.epochs.append(Epoch(at_uj, holders))

    def _share(self, holder: Holder, from_uj: int, upto_uj: int) -> int:
        amount_uj = 0
        ends_uj = [epoch.start_uj for epoch in self.epochs[1:]] + [upto_uj]
        for epoch, end_uj in zip(self.epochs, ends_uj, strict=True):
            low_uj = max(from_uj, epoch.start_uj) - epoch.start_uj
            high_uj = min(upto_uj, end_uj) - epoch.start_uj
            if high_uj > low_uj and holder in epoch.holders:
                k, n = epoch.holders.index(holder), len(epoch.holders)
                amount_uj += (high_uj + k) // n - (low_uj + k) // n
        return amount_uj

    def _forget(self) -> None:
        """Drop epochs that everybody is settled for."""
        everybody_uj = min(self.settled_uj.values())
        while len(self.epochs) > 1 and self.epochs[1].start_uj <= everybody_uj:
            del self.epochs[0]
