"""Reads back from Prometheus what runs did under which power limit.

Prometheus is the only memory: every call reads everything anew and remembers nothing, so a
decision can be repeated later by anyone, and killing the optimizer loses nothing.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from joulestat.domain.errors import HistoryError, HistoryUnreachable
from joulestat.optimizer.history.about import AboutReader
from joulestat.optimizer.history.batch import LONGEST_HISTORY_SECONDS, BatchReader
from joulestat.optimizer.history.facts import RunHistory, Unread
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.history.selector import Matcher, selector
from joulestat.optimizer.history.tracks import RUN_START

BATCH = 16
"""As many runs are asked for in one query."""
READERS = 2
"""As many batches are read at once, where there are several."""


class PrometheusHistory:
    """Reads runs from one Prometheus: a ``History``."""

    def __init__(self, client: PrometheusClient, matchers: Sequence[Matcher] = ()) -> None:
        """Read with this client, only series that also meet the matchers."""
        self._client = client
        self._matchers = tuple(matchers)

    def now_seconds(self) -> float:
        """Return Prometheus' own Unix time.

        Raises:
            HistoryError: As for any query.
        """
        return self._client.now_seconds()

    def runs(self, at_seconds: float) -> list[str]:
        """Return the names of the runs that are shown at this moment, in order.

        Raises:
            HistoryError: As for any query.
        """
        expression = f"group by(run) ({selector(RUN_START, *self._matchers)})"
        samples = self._client.query(expression, at_seconds)
        return sorted({sample.labels.get("run", "") for sample in samples} - {""})

    def read(self, run: str, at_seconds: float, window_seconds: float | None = None) -> RunHistory:
        """Return a run's history up to a moment.

        Args:
            run: Name of the run; any text is safe.
            at_seconds: Unix time; nothing later is looked at.
            window_seconds: How far back to look; None for the whole run, 30 days at most.

        Raises:
            HistoryError: Prometheus gave no answer, or one that cannot be trusted.
        """
        return self._reader(at_seconds, window_seconds).read([run])[run]

    def read_all(
        self, runs: Sequence[str], at_seconds: float, window_seconds: float | None = None
    ) -> Iterator[RunHistory | Unread]:
        """Yield the history of each run, in the order given, 16 asked for at a time.

        Where some cannot be read together, each is read alone, so that one run's failure is no
        other's. Where nothing answers at all, none is tried again.
        """
        reader = self._reader(at_seconds, window_seconds)
        batches = [
            list(dict.fromkeys(runs[first : first + BATCH])) for first in range(0, len(runs), BATCH)
        ]
        for batch in _ahead(partial(_read_batch, reader), batches):
            # Let go one by one: the caller may hold on to none of them.
            while batch:
                yield batch.pop()

    def earlier_runs(self, history: RunHistory, at_seconds: float) -> list[str]:
        """Return other runs of the same job label on the same GPU model, the latest first.

        At most 10, of the last 30 days. Empty where the run has no job label, or its GPUs' model
        is not known.

        Raises:
            HistoryError: As for any query.
        """
        about = AboutReader(self._client, self._matchers)
        return about.alike(history, at_seconds, LONGEST_HISTORY_SECONDS)

    def _reader(self, at_seconds: float, window_seconds: float | None) -> BatchReader:
        return BatchReader(self._client, self._matchers, at_seconds, window_seconds)


def _ahead(
    read: Callable[[list[str]], list[RunHistory | Unread]], batches: Sequence[list[str]]
) -> Iterator[list[RunHistory | Unread]]:
    """Yield each batch; meanwhile the next ones are read, so that the server is kept busy."""
    if len(batches) < 2:
        yield from map(read, batches)
        return
    pool = ThreadPoolExecutor(READERS, thread_name_prefix="history")
    try:
        waiting: deque[Future[list[RunHistory | Unread]]] = deque()
        for batch in batches:
            waiting.append(pool.submit(read, batch))
            if len(waiting) > READERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read_batch(reader: BatchReader, batch: list[str]) -> list[RunHistory | Unread]:
    """Return what could be read of each run, the last one first."""
    try:
        histories = reader.read(batch)
    except HistoryUnreachable as error:
        return [Unread(run, str(error)) for run in reversed(batch)]
    except HistoryError:
        return [_read_alone(reader, run) for run in reversed(batch)]
    return [histories[run] for run in reversed(batch)]


def _read_alone(reader: BatchReader, run: str) -> RunHistory | Unread:
    try:
        return reader.read([run])[run]
    except HistoryError as error:
        return Unread(run, str(error))
