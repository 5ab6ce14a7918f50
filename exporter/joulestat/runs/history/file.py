"""The history file as its one writer sees it: batches in, a transaction each; old rows out."""

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from joulestat.domain.errors import StateError
from joulestat.domain.run import Cell, Counts, Phase
from joulestat.domain.tariff import Tariff
from joulestat.runs.history.looks import RUNS_KEPT, Batch
from joulestat.runs.history.merging import KnownRun, RunKey
from joulestat.runs.history.room import MOST_PARTS, ROOM_RATIO, drop_part, size_bytes
from joulestat.runs.history.schema import SCHEMA, TABLES
from joulestat.runs.history.writing import Writing

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """Whose history it is.

    Attributes:
        name: Of the host, for people; it tells nodes of one run apart.
        instance: Identity of the exporter's memory.
        tariff: What a joule costs here.
    """

    name: str
    instance: str
    tariff: Tariff


class HistoryFile:
    """Opened for writing. For one thread."""

    def __init__(self, path: Path, identity: NodeIdentity, now_ms: int) -> None:
        """Open or create the file.

        A file that cannot be trusted is moved aside and kept, and an empty one is begun.

        Args:
            path: Where.
            identity: Whose.
            now_ms: Unix ms at which a new file begins.

        Raises:
            StateError: It can be neither opened nor created.
        """
        self._path = path
        try:
            self._connection = self._open_or_begin()
            self._introduce(identity, now_ms)
            self._inode = path.stat().st_ino
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from error

    @property
    def is_there(self) -> bool:
        """Whether the file still lies where it was opened: a deleted one is written in vain."""
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    @property
    def begun_ms(self) -> int:
        """Where the history begins, Unix ms."""
        return int(self._connection.execute("SELECT begun_ms FROM node").fetchone()[0])

    @property
    def known_until_ms(self) -> int:
        """The last look that was written, Unix ms; 0 before the first."""
        return int(
            self._connection.execute("SELECT ifnull(max(end_ms), 0) FROM uptime").fetchone()[0]
        )

    def known_runs(self) -> dict[RunKey, KnownRun]:
        """Return the counters of the latest runs."""
        runs: dict[RunKey, KnownRun] = {}
        rows = self._connection.execute(
            "SELECT name, birth_ms, last_push_ms, phase, power_limit, energy_uj, duration_ns,"
            " steps, samples, tokens FROM"
            " (SELECT * FROM run ORDER BY last_push_ms DESC LIMIT ?) LEFT JOIN cell USING (run_id)",
            (RUNS_KEPT,),
        )
        for name, birth_ms, push_ms, phase, label, energy_uj, duration_ns, *counts in rows:
            run = runs.setdefault((name, birth_ms), KnownRun({}, max(birth_ms, push_ms)))
            if phase is not None:
                run.cells[Phase(phase), label] = Cell(energy_uj, duration_ns, Counts(*counts))
        return runs

    def write(self, batch: Batch) -> None:
        """Write all of a batch or nothing.

        Raises:
            StateError: Nothing was written.
        """
        with self._transaction():
            Writing(self._connection).batch(batch)

    def prune(self, before_ms: int) -> None:
        """Delete what ended before a moment, Unix ms; runs go with their last spell.

        Raises:
            StateError: Nothing was deleted.
        """
        with self._transaction():
            for table in ("interval", "claim", "limit_span", "uptime"):
                # Not from outside: names of our own tables.
                self._connection.execute(
                    f"DELETE FROM {table} WHERE end_ms < ?",  # noqa: S608
                    (before_ms,),
                )
            gone = "(SELECT run_id FROM spell GROUP BY run_id HAVING max(end_ms) < ?)"
            for table in ("cell", "run", "spell"):
                self._connection.execute(
                    f"DELETE FROM {table} WHERE run_id IN {gone}",  # noqa: S608
                    (before_ms,),
                )

    def keep_within(self, most_bytes: int) -> bool:
        """Delete what is oldest where the file holds too much; see ``room``.

        The file itself does not shrink: what is free in it is written to before it grows.

        Returns:
            Whether it held too much.

        Raises:
            StateError: Not all that should have been was deleted.
        """
        if self._size_bytes() <= most_bytes:
            return False
        for _ in range(MOST_PARTS):
            with self._transaction():
                dropped = drop_part(self._connection)
            if not dropped or self._size_bytes() <= most_bytes * (1 - ROOM_RATIO):
                break
        return True

    def _size_bytes(self) -> int:
        try:
            return size_bytes(self._connection)
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._connection.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise self._unusable(error) from error

    def _open_or_begin(self) -> sqlite3.Connection:
        try:
            return self._open()
        except sqlite3.OperationalError:
            raise
        except (sqlite3.DatabaseError, StateError) as error:
            self._move_aside(str(error))
            return self._open()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            # A power cut may take the last seconds, never the file; the ledger has them anyway.
            connection.execute("PRAGMA synchronous=NORMAL")
            self._verify(connection)
            connection.executescript(TABLES)
            connection.execute(f"PRAGMA user_version={SCHEMA}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _verify(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, SCHEMA):
            msg = f"history file {self._path} is of schema {version}; this version knows {SCHEMA}"
            raise StateError(msg)
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            msg = f"history file {self._path} is damaged: {verdict}"
            raise StateError(msg)

    def _introduce(self, identity: NodeIdentity, now_ms: int) -> None:
        tariff = identity.tariff
        self._connection.execute(
            "INSERT INTO node VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
            " name = excluded.name, instance = excluded.instance, currency = excluded.currency,"
            " price_per_kilowatt_hour = excluded.price_per_kilowatt_hour, zone = excluded.zone,"
            " carbon_grams_per_kilowatt_hour = excluded.carbon_grams_per_kilowatt_hour,"
            " pue_ratio = excluded.pue_ratio",
            (
                identity.name,
                identity.instance,
                now_ms,
                tariff.price_per_kilowatt_hour,
                tariff.currency,
                tariff.carbon_grams_per_kilowatt_hour,
                tariff.zone,
                tariff.pue_ratio,
            ),
        )

    def _move_aside(self, reason: str) -> None:
        aside = self._path.with_name(f"{self._path.name}.unusable")
        log.error("event=history_moved_aside path=%s to=%s reason=%r", self._path, aside, reason)
        self._path.replace(aside)
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def _unusable(self, error: Exception) -> StateError:
        return StateError(f"history file {self._path} cannot be written: {error}")
