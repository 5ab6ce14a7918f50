"""Reads back what runs did from the exporters' own histories, one source per node."""

from collections.abc import Callable, Iterator, Sequence

from joulestat.domain.errors import HistoryError
from joulestat.optimizer.history.about import MOST_EARLIER_RUNS
from joulestat.optimizer.history.facts import RunHistory, Unread
from joulestat.optimizer.history.journal_run import (
    Part,
    history_from,
    is_shown,
    same_kind,
    window_seconds_for,
)
from joulestat.optimizer.history.journal_source import JournalSource
from joulestat.runs.history.records import RunRecord, RunsPage

LONGEST_HISTORY_SECONDS = 30 * 86_400.0
"""How far back a run is read unless told otherwise."""


class JournalHistory:
    """A ``History`` without any database. Not for several threads at once."""

    def __init__(self, sources: Sequence[JournalSource], now: Callable[[], float]) -> None:
        """Read from these nodes, each of them once.

        Args:
            sources: One per node, as ``FileSource(HistoryReader(path))`` or
                ``AdminSource(AdminClient(url, token))``.
            now: The present Unix time: a file alone cannot tell that its exporter is gone.
        """
        self._sources, self._now = tuple(sources), now

    def now_seconds(self) -> float:
        """Return the present Unix time, by this host's clock."""
        return self._now()

    def runs(self, at_seconds: float) -> list[str]:
        """Return the names of the runs that are live, or ended lately, in order.

        Raises:
            HistoryError: A source cannot be read.
        """
        return sorted({run.run for run in self._all_runs(at_seconds) if is_shown(run, at_seconds)})

    def read(self, run: str, at_seconds: float, window_seconds: float | None = None) -> RunHistory:
        """Return one run's history up to a moment.

        Args:
            run: Name of the run; any text is safe.
            at_seconds: Unix time; nothing later is looked at.
            window_seconds: How far back to look; None for the whole run, 30 days at most.

        Raises:
            HistoryError: A source cannot be read, or two are one exporter.
        """
        earliest = at_seconds - (window_seconds or LONGEST_HISTORY_SECONDS)
        glances = [
            (source, source.history(run, at_seconds, at_seconds, 15.0)) for source in self._sources
        ]
        known = [(source, page.run) for source, page in glances if page.run is not None]
        _refuse_twins([page.node.instance for _, page in glances])
        if not known:
            return RunHistory(run)
        start = max(earliest, min(record.start_seconds for _, record in known))
        step = window_seconds_for(at_seconds - start)
        parts = [self._part(source, run, (start, at_seconds, step)) for source, _ in known]
        return history_from(run, parts, (start, at_seconds, step))

    def read_all(
        self, runs: Sequence[str], at_seconds: float, window_seconds: float | None = None
    ) -> Iterator[RunHistory | Unread]:
        """Yield the history of each run, in the order given. One run's failure is no other's."""
        for run in runs:
            try:
                history = self.read(run, at_seconds, window_seconds)
            except HistoryError as error:
                yield Unread(run, str(error))
            else:
                yield history

    def earlier_runs(self, history: RunHistory, at_seconds: float) -> list[str]:
        """Return other runs of the same job label on the same GPU model, the latest first.

        At most 10. Empty where the run has no job label, or its GPUs' model is not known.

        Raises:
            HistoryError: A source cannot be read.
        """
        latest: dict[str, float] = {}
        for run in self._all_runs(at_seconds):
            if same_kind(run, history):
                latest[run.run] = max(run.start_seconds, latest.get(run.run, 0.0))
        return sorted(latest, key=lambda run: (-latest[run], run))[:MOST_EARLIER_RUNS]

    def _all_runs(self, at_seconds: float) -> Iterator[RunRecord]:
        for source in self._sources:
            after: str | None = ""
            while after is not None:
                page: RunsPage = source.runs(at_seconds, after)
                yield from page.runs
                after = page.next_after

    @staticmethod
    def _part(source: JournalSource, run: str, grid: tuple[float, float, float]) -> Part:
        start_seconds, end_seconds, step_seconds = grid
        page = source.history(run, start_seconds, end_seconds, step_seconds)
        part = Part(page, list(page.rows))
        while page.next_start_seconds is not None:
            page = source.history(run, page.next_start_seconds, end_seconds, step_seconds)
            part.rows.extend(page.rows)
        return part


def _refuse_twins(instances: Sequence[str]) -> None:
    """Refuse one exporter named twice: its energy would count twice."""
    for instance in instances:
        if instances.count(instance) > 1:
            raise HistoryError(
                f"two of the histories are of one exporter (instance {instance}); name each "
                "exporter once, by its file or by its admin API"
            )
