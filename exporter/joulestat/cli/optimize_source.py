"""Where ``joulestat optimize`` reads, opened from the command line."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from joulestat.cli.clocks import monotonic_seconds, wall_seconds
from joulestat.cli.optimize_flags import Flags
from joulestat.optimizer.fleet.gpu_evidence import read_gpu_evidence
from joulestat.optimizer.history.journal import JournalHistory
from joulestat.optimizer.history.journal_source import AdminSource, FileSource
from joulestat.optimizer.history.prometheus import PrometheusHistory
from joulestat.optimizer.history.query_record import QueryRecord
from joulestat.optimizer.history.source import History
from joulestat.optimizer.rounds import ReadGpus
from joulestat.optimizer.show.progress import Progress
from joulestat.runs.history.reader import HistoryReader


@dataclass(slots=True)
class Source:
    """An opened source.

    Attributes:
        history: What to read from.
        read_gpus: Reads GPUs one by one; None unless per-GPU limits were asked for.
        records: The queries of this round.
    """

    history: History
    read_gpus: ReadGpus | None = None
    records: list[QueryRecord] = field(default_factory=list)
    _shown: Progress | None = None

    @contextlib.contextmanager
    def progress(self) -> Iterator[None]:
        """Show on a terminal what is being read, for as long as this lasts."""
        with Progress() as shown:
            self._shown = shown
            try:
                yield
            finally:
                self._shown = None

    def note(self, record: QueryRecord) -> None:
        """Keep a query that was answered."""
        self.records.append(record)
        if self._shown is not None:
            self._shown.on_query(record)


@contextlib.contextmanager
def opened(flags: Flags) -> Iterator[Source]:
    """Open the source that the command line names.

    Raises:
        HistoryError: It cannot be asked.
        AdminError: An admin API's URL cannot be used.
    """
    if flags.prometheus_url is None:
        files = [FileSource(HistoryReader(path)) for path in flags.history_files]
        admins = [AdminSource(client) for client in flags.admins()] if flags.history_admin else []
        yield Source(JournalHistory([*files, *admins], wall_seconds))
        return
    records: list[QueryRecord] = []
    told: list[Source] = []

    def note(record: QueryRecord) -> None:
        for source in told:
            source.note(record)

    with flags.prometheus(note, monotonic_seconds) as client:
        matchers = flags.matchers()
        source = Source(PrometheusHistory(client, matchers), records=records)
        told.append(source)
        if flags.straggler_aware:
            source.read_gpus = partial(read_gpu_evidence, client, matchers=matchers)
        yield source
