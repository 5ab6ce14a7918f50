"""What is going on while long histories are read: one line on a terminal, gone when done."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import Progress as RichProgress
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

from joulestat.optimizer.history.query_record import QueryRecord
from joulestat.optimizer.show.wording import counted, printable, size_words


class Progress:
    """A line on standard error while queries run, where that is a terminal; else nothing.

    Use as a context manager around the reading, and hand ``on_query`` to the source. One call
    at a time.
    """

    def __init__(self, console: Console | None = None, n_runs: int | None = None) -> None:
        """Make it.

        Args:
            console: Where to draw; None for standard error.
            n_runs: How many runs are to be read, None where that is not known.
        """
        self._console = Console(stderr=True) if console is None else console
        self._n_runs = n_runs
        self._n_runs_read = 0
        self._n_queries = 0
        self._n_points = 0
        self._n_bytes = 0
        self._what = ""
        self._line = RichProgress(
            SpinnerColumn(),
            # Not markup: a run may have any name.
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._line.add_task(self.text(), total=None)

    def __enter__(self) -> Self:
        self._line.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._line.stop()

    def on_query(self, record: QueryRecord) -> None:
        """Count a query that was answered."""
        self._n_queries += 1
        self._n_points += record.n_points
        self._n_bytes += record.n_bytes
        self._show()

    def on_run(self, run: str) -> None:
        """Say which run is being read now."""
        self._n_runs_read += 1
        self._what = printable(run)
        self._show()

    def text(self) -> str:
        """Return the line as it is now, without its clock."""
        parts = [f"reading history {self._what}".rstrip()]
        if self._n_runs is not None:
            parts.append(f"run {self._n_runs_read:,} of {self._n_runs:,}")
        parts.append(counted(self._n_queries, "query", "queries"))
        if self._n_points:
            parts.append(counted(self._n_points, "point"))
        if self._n_bytes:
            parts.append(size_words(self._n_bytes))
        return ", ".join(parts)

    def _show(self) -> None:
        self._line.update(self._task, description=self.text())
