"""Where an exporter's own history is read: from its file, or from its admin API."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from joulestat.client.admin import AdminClient
from joulestat.domain.errors import AdminError, HistoryError, StateError
from joulestat.runs.history.documents import record_from
from joulestat.runs.history.reader import HistoryReader
from joulestat.runs.history.records import HistoryPage, RunsPage

P = TypeVar("P", RunsPage, HistoryPage)


class JournalSource(Protocol):
    """One node's history. Both methods raise ``HistoryError``."""

    def runs(self, at_seconds: float, after: str = "") -> RunsPage:
        """Return a page of the runs that had begun by a moment (Unix seconds)."""
        ...

    def history(
        self, run: str, start_seconds: float, end_seconds: float, window_seconds: float
    ) -> HistoryPage:
        """Return a page of one run's rows, and what else is known as of ``end_seconds``."""
        ...


class FileSource:
    """Reads a history file, whether or not an exporter is writing it."""

    def __init__(self, reader: HistoryReader) -> None:
        self._reader = reader

    def runs(self, at_seconds: float, after: str = "") -> RunsPage:
        """Return a page of runs."""
        try:
            return self._reader.runs(at_seconds, after)
        except StateError as error:
            raise HistoryError(str(error)) from error

    def history(
        self, run: str, start_seconds: float, end_seconds: float, window_seconds: float
    ) -> HistoryPage:
        """Return a page of one run."""
        try:
            return self._reader.history(run, start_seconds, end_seconds, window_seconds)
        except StateError as error:
            raise HistoryError(str(error)) from error


class AdminSource:
    """Asks a running exporter."""

    def __init__(self, client: AdminClient) -> None:
        self._client = client

    def runs(self, at_seconds: float, after: str = "") -> RunsPage:
        """Return a page of runs."""
        return _answer(
            RunsPage, lambda: self._client.history_runs(at_seconds=at_seconds, after=after)
        )

    def history(
        self, run: str, start_seconds: float, end_seconds: float, window_seconds: float
    ) -> HistoryPage:
        """Return a page of one run."""
        return _answer(
            HistoryPage,
            lambda: self._client.history(
                run,
                start_seconds=start_seconds,
                end_seconds=end_seconds,
                window_seconds=window_seconds,
            ),
        )


def _answer(page: type[P], ask: Callable[[], dict[str, Any]]) -> P:
    try:
        return record_from(page, ask())
    except AdminError as error:
        raise HistoryError(f"history: {error}") from error
    except ValueError as error:
        raise HistoryError(
            f"history: the exporter's answer is not of this version: {error}"
        ) from error
