"""What survives the exporter: one SQLite table of JSON documents, one transaction a tick.

``synchronous=FULL``: what was committed survives a power cut, too. So a run's counters, which go
on after a reboot, never fall below what was shown.
"""

import contextlib
import fcntl
import logging
import shutil
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from joulestat.domain.errors import StateError

SCHEMA = 1

log = logging.getLogger(__name__)


class DocumentStore:
    """Documents by key. Used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        A file that cannot be trusted is moved aside and kept, and an empty one is begun: energy
        counters of the hardware go on anyway.

        Raises:
            StateError: The folder cannot be written, or another exporter uses it.
        """
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            msg = f"state folder {path.parent} cannot be made: {error}; choose another --state-path"
            raise StateError(msg) from error
        self._lock = _locked(path.with_name(f"{path.name}.lock"))
        try:
            for each in self._files():
                # SQLite follows a link to the file, and none to what belongs to it.
                if (each.exists() and not each.is_file()) or (each != path and each.is_symlink()):
                    self._move_aside(f"{each.name} is no file")
            self._connection = self._open()
        except sqlite3.OperationalError as error:
            msg = f"state file {path} cannot be opened: {error}; choose another --state-path"
            raise StateError(msg) from error
        except (sqlite3.DatabaseError, StateError) as error:
            self._move_aside(str(error))
            self._connection = self._open()

    def begin_anew(self, reason: str) -> None:
        """Keep the file aside whose documents make no sense, and begin an empty one.

        Raises:
            StateError: It cannot be begun.
        """
        self._connection.close()
        try:
            self._move_aside(reason)
            self._connection = self._open()
        except (OSError, sqlite3.Error) as error:
            msg = f"state file {self._path} cannot be begun anew: {error}"
            raise StateError(msg) from error

    def _move_aside(self, reason: str) -> None:
        """Keep a file that cannot be trusted, out of the way."""
        aside = self._path.with_name(f"{self._path.name}.unusable")
        log.error("event=state_moved_aside path=%s to=%s reason=%r", self._path, aside, reason)
        for each in self._files():
            kept = aside.with_name(each.name.replace(self._path.name, aside.name))
            if kept.is_dir():
                shutil.rmtree(kept)
            with contextlib.suppress(FileNotFoundError):
                each.replace(kept)

    def _files(self) -> tuple[Path, Path, Path]:
        """Return the file and its companions, there or not."""
        path = self._path
        return path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            self._verify(connection)
            connection.execute(f"PRAGMA user_version={SCHEMA}")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS document (key TEXT PRIMARY KEY, body TEXT NOT NULL)"
                " WITHOUT ROWID"
            )
        except BaseException:
            connection.close()
            raise
        return connection

    def _verify(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, SCHEMA):
            msg = f"state file {self._path} is of schema {version}; this version knows {SCHEMA}"
            raise StateError(msg)
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            msg = f"state file {self._path} is damaged: {verdict}"
            raise StateError(msg)

    def load(self) -> dict[str, str]:
        """Return all documents."""
        return dict(self._connection.execute("SELECT key, body FROM document"))

    def save(self, documents: Mapping[str, str | None]) -> None:
        """Write documents in one transaction; None deletes.

        Raises:
            StateError: Nothing was written.
        """
        changed = [(key, body) for key, body in documents.items() if body is not None]
        gone = [(key,) for key, body in documents.items() if body is None]
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(
                "INSERT OR REPLACE INTO document (key, body) VALUES (?, ?)", changed
            )
            self._connection.executemany("DELETE FROM document WHERE key = ?", gone)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            msg = f"state file {self._path} cannot be written: {error}"
            raise StateError(msg) from error

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._connection.close()
        self._lock.close()


def _locked(path: Path) -> IO[bytes]:
    """Keep every other exporter away from this state until the file is closed."""
    try:
        lock = path.open("ab")
    except OSError as error:
        msg = f"state folder {path.parent} cannot be written: {error}; choose another --state-path"
        raise StateError(msg) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        msg = (
            f"another joulestat uses the state folder {path.parent}; "
            "stop it, or give this one a --state-path of its own"
        )
        raise StateError(msg) from error
    return lock
