"""Where histories come from: what every source of them can do."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from joulestat.optimizer.history.facts import RunHistory, Unread


class History(Protocol):
    """Runs as one source remembers them. Not for several threads at once.

    Every call reads anew and remembers nothing, so a decision can be repeated later by anyone,
    and killing the optimizer loses nothing. All raise ``HistoryError`` where the source gives no
    answer, or none that can be trusted.
    """

    def now_seconds(self) -> float:
        """Return the Unix time by the source's own clock, whose time its samples carry."""
        ...

    def runs(self, at_seconds: float) -> list[str]:
        """Return the names of the runs that are shown at this moment, in order."""
        ...

    def read(self, run: str, at_seconds: float, window_seconds: float | None = None) -> RunHistory:
        """Return one run's history up to a moment.

        Args:
            run: Name of the run; any text is safe.
            at_seconds: Unix time; nothing later is looked at.
            window_seconds: How far back to look; None for the whole run, 30 days at most.
        """
        ...

    def read_all(
        self, runs: Sequence[str], at_seconds: float, window_seconds: float | None = None
    ) -> Iterator[RunHistory | Unread]:
        """Yield the history of each run, in the order given. One run's failure is no other's.

        Cheaper than reading one after the other, and never holds all of them at once.
        """
        ...

    def earlier_runs(self, history: RunHistory, at_seconds: float) -> list[str]:
        """Return other runs of the same job label on the same GPU model, the latest first.

        Empty where the run has no job label, or its GPUs' model is not known.
        """
        ...
