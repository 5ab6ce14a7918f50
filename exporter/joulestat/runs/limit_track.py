"""Which power limit one device stood at, and when it changed."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from joulestat.domain.units import NS_PER_SECOND, limit_label

CHANGES_KEPT = 256

CHANGES_WRITTEN_NS = 3_600 * NS_PER_SECOND
"""How far back changes must survive a restart: as far as an open interval may well reach."""


@dataclass(frozen=True, slots=True)
class Change:
    """The limit ``before`` was left after ``after_ns`` and by ``by_ns``, when it was seen gone."""

    after_ns: int
    by_ns: int
    before: str | None


class LimitTrack:
    """The limit in force as last seen, and the recent moments at which it was not one limit.

    A change is known only as having happened between two readings; a write of our own is marked
    besides, because a limit that goes away and comes back between two readings is seen by none.
    """

    def __init__(
        self, label: str | None = None, seen_ns: int = 0, changes: Iterable[Change] = ()
    ) -> None:
        self.watts: float | None = None
        self.label = label
        self.seen_ns = seen_ns
        self._changes: deque[Change] = deque(changes, maxlen=CHANGES_KEPT)

    @property
    def recent_changes(self) -> tuple[Change, ...]:
        """What to write to disk, oldest first."""
        since_ns = self.seen_ns - CHANGES_WRITTEN_NS
        return tuple(change for change in self._changes if change.by_ns >= since_ns)

    def observe(self, at_ns: int, limit_watts: float | None) -> None:
        """Take the limit in force as read at ``at_ns``; None where the driver did not say."""
        label = None if limit_watts is None else limit_label(limit_watts)
        if label is None or label != self.label:
            last = self._changes[-1] if self._changes else None
            if last is not None and self.label is None and last.by_ns == self.seen_ns:
                # Still unknown: one long change, not one per reading.
                self._changes[-1] = Change(last.after_ns, at_ns, last.before)
            else:
                self._changes.append(Change(self.seen_ns, at_ns, self.label))
        self.watts = limit_watts
        self.label = label
        self.seen_ns = at_ns

    def mark(self, at_ns: int) -> None:
        """Note that the limit is being written at ``at_ns``."""
        self._changes.append(Change(at_ns, at_ns, self.label))

    def over(self, start_ns: int, end_ns: int, settle_ns: int) -> str | None:
        """Return the one limit, in whole watts, that was in force all through an interval.

        Args:
            start_ns: Start of the interval.
            end_ns: Its end, not later than the last reading.
            settle_ns: How long a change counts after it was seen: clocks take their time.

        Returns:
            The limit as label text; None where there was a change, or the limit was not known.
        """
        label = self.label
        for change in reversed(self._changes):
            if change.after_ns >= end_ns:
                label = change.before
            elif start_ns < change.by_ns + settle_ns:
                return None
        return label
