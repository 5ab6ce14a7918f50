"""Keeps the history: takes looks from the heartbeat, writes them on a thread of its own."""

import logging
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from joulestat.domain.errors import StateError
from joulestat.domain.run import RunState
from joulestat.domain.snapshot import Snapshot
from joulestat.runs.history.file import HistoryFile, NodeIdentity
from joulestat.runs.history.looks import MS_PER_SECOND, Batch, Observer
from joulestat.runs.history.merging import Merger

LOOKS_WAITING = 1024
"""Looks that may wait for the disk. What is dropped is only when things grew, not by how much."""

PRUNE_MS = 3_600_000

MOST_BYTES = 1024**3

log = logging.getLogger(__name__)


class HistoryKeeper:
    """Owns the history file. A file that fails is logged once, counted, and tried again."""

    def __init__(
        self,
        path: Path,
        identity: NodeIdentity,
        retention_seconds: float,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """Prepare; the file is opened by the first ``flush``.

        Args:
            path: Where the file is.
            identity: Whose history it is.
            retention_seconds: How long rows are kept.
            most_bytes: What they may take; what is oldest goes earlier where they would take more.
        """
        self.failures = 0
        self._path, self._identity = path, identity
        self._retention_ms = round(retention_seconds * MS_PER_SECOND)
        self._looks: deque[tuple[Snapshot, tuple[RunState, ...]]] = deque(maxlen=LOOKS_WAITING)
        self._file: HistoryFile | None = None
        self._observer: Observer | None = None
        self._begun_ms = 0
        self._unwritten: Batch | None = None
        self._failing = False
        self._prune_due_ms = 0
        self._most_bytes = most_bytes
        self._tell_due_ms = 0

    def note(self, snapshot: Snapshot, changed: Iterable[RunState]) -> None:
        """Take a look to be written later. Any thread; never waits.

        Args:
            snapshot: As published.
            changed: Runs that changed: one that just ended may not be in the snapshot any more.
        """
        self._looks.append((snapshot, tuple(changed)))

    def flush(self) -> None:
        """Write all looks so far. One thread at a time; never raises for a disk's failure."""
        if not self._looks and self._unwritten is None:
            return
        try:
            self._write()
        except StateError as error:
            self.failures += 1
            if not self._failing:
                log.warning("event=history_save_failed error=%r", str(error))
            self._failing = True
            self._close_file()
        else:
            if self._failing:
                log.info("event=history_save_recovered path=%s", self._path)
            self._failing = False

    def close(self) -> None:
        """Write what is left and close the file. Idempotent."""
        self.flush()
        self._close_file()

    def _write(self) -> None:
        now_ms = round(self._looks[-1][0].wall_seconds * MS_PER_SECOND) if self._looks else 0
        file = self._opened(now_ms)
        batch = self._gathered()
        if batch is not None:
            # Before it is written: if that fails, the next write takes it along.
            self._unwritten = batch
            file.write(batch)
            self._unwritten = None
        if now_ms >= self._prune_due_ms:
            file.prune(now_ms - self._retention_ms)
            self._prune_due_ms = now_ms + PRUNE_MS
        if file.keep_within(self._most_bytes) and now_ms >= self._tell_due_ms:
            log.warning(
                "event=history_full path=%s max_size_bytes=%d cure=%r",
                self._path,
                self._most_bytes,
                "what is oldest goes before history.retention; if that is too soon, see who "
                "pushes so many runs, or raise history.max-size",
            )
            self._tell_due_ms = now_ms + PRUNE_MS

    def _gathered(self) -> Batch | None:
        observer = self._observer
        if observer is None:
            return self._unwritten
        while self._looks:
            observer.look(*self._looks.popleft())
        batch = observer.take()
        return batch if self._unwritten is None else batch.after(self._unwritten)

    def _opened(self, now_ms: int) -> HistoryFile:
        """Return the file, opened again where it failed or was taken away."""
        if self._file is not None and not self._file.is_there:
            log.warning("event=history_gone path=%s", self._path)
            self._close_file()
        if self._file is None:
            first_ms = round(self._looks[0][0].wall_seconds * MS_PER_SECOND) if self._looks else 0
            file = HistoryFile(self._path, self._identity, first_ms or now_ms)
            if self._observer is None or file.begun_ms != self._begun_ms:
                self._go_on_from(file)
            self._file = file
        return self._file

    def _go_on_from(self, file: HistoryFile) -> None:
        merger = Merger(file.known_runs())
        self._begun_ms, self._unwritten = file.begun_ms, None
        self._observer = Observer(
            merger, begun_ms=file.begun_ms, known_until_ms=file.known_until_ms
        )

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
