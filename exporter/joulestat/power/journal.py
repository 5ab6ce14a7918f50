"""The journal: leases, baselines and answers on disk before the hardware hears of them.

SQLite, write-ahead log, every commit synced. A journal that cannot be trusted is moved aside and
kept, and control becomes read-only until somebody has looked at it: a limit that this program
set may be in force, and what stood there before may be known from that file alone.
"""

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from joulestat.domain.clock import Clock
from joulestat.domain.errors import StateError
from joulestat.domain.units import NS_PER_SECOND
from joulestat.power import journal_file, journal_versions
from joulestat.power.journal_rows import (
    Answer,
    DeviceNumbers,
    answer_from,
    answer_row,
    record_body,
    record_from,
)
from joulestat.power.leases import LeaseRecord

_LOG = logging.getLogger(__name__)

ANSWER_LIFETIME_SECONDS = 86_400
MAX_ANSWERS = 10_000
"""Oldest answers go first; a client with fresh keys once a second would fill the disk else."""

# An answer's age: by the boot-time clock within one boot, by the wall clock across boots.
_FRESH_ANSWER = (
    "SELECT * FROM answers WHERE scope = ? "
    "AND CASE boot_id WHEN ? THEN boottime_ns >= ? ELSE wall_seconds >= ? END"
)
_DROP_OLD_ANSWERS = (
    "DELETE FROM answers WHERE CASE boot_id WHEN ? THEN boottime_ns < ? ELSE wall_seconds < ? END"
)
# They never fall, whatever is handed in.
_PUT_NUMBERS = (
    "INSERT INTO numbers VALUES (?, ?, ?, ?, ?) ON CONFLICT (device_uuid) DO UPDATE SET "
    "fencing_token = max(fencing_token, excluded.fencing_token), "
    "revision = max(revision, excluded.revision), "
    "boot_id = excluded.boot_id, writes_until_ns = excluded.writes_until_ns"
)
_DROP_SURPLUS_ANSWERS = (
    "DELETE FROM answers WHERE rowid IN "
    "(SELECT rowid FROM answers ORDER BY rowid DESC LIMIT -1 OFFSET ?)"
)


class Journal:
    """One journal file. Any thread may call any method.

    Attributes:
        read_only_reason: Why nothing can be recorded, None where it can.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        """Open the journal, or make one where there is none.

        Raises:
            StateError: Another process has it. Anything else that is wrong makes the journal
                read-only instead: the energy metrics must not depend on it.
        """
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._lock_fd: int | None = None
        self._database: sqlite3.Connection | None = None
        self.read_only_reason: str | None = None
        try:
            self._lock_fd = journal_file.take_lock(path)
            self.read_only_reason = self._open(self._lock_fd)
        except (OSError, sqlite3.Error) as error:
            self.read_only_reason = f"{path} cannot be opened: {error}"
        if self.read_only_reason is not None:
            _LOG.error("event=control_read_only reason=%r", self.read_only_reason)

    def records(self) -> Sequence[LeaseRecord]:
        """Return every lease that is recorded; none where the journal is read-only.

        Raises:
            StateError: The file cannot be read. The journal is read-only from then on: a lease
                that nobody knows of would be overwritten, and its baseline with it.
        """
        rows = self._rows("SELECT body FROM leases ORDER BY device_uuid")
        return [record_from(body) for (body,) in rows]

    def numbers(self) -> Mapping[str, DeviceNumbers]:
        """Return every device's numbers by UUID; none where the journal is read-only.

        Raises:
            StateError: As for ``records``: a fencing token would be given out twice.
        """
        return {row[0]: DeviceNumbers(*row) for row in self._rows("SELECT * FROM numbers")}

    def put(
        self,
        record: LeaseRecord,
        answer: Answer | None = None,
        numbers: DeviceNumbers | None = None,
    ) -> None:
        """Record a lease in place of its device's former one, and what belongs to it.

        On disk when this returns.

        Args:
            record: The lease.
            answer: What its request is answered.
            numbers: Its device's, as they are with this lease.

        Raises:
            StateError: It could not be written; the journal is as before.
        """

        def write(database: sqlite3.Connection) -> None:
            database.execute(
                "INSERT OR REPLACE INTO leases VALUES (?, ?)",
                (record.lease.device_uuid, record_body(record)),
            )
            if answer is not None:
                database.execute(_DROP_OLD_ANSWERS, self._oldest())
                database.execute(_DROP_SURPLUS_ANSWERS, (MAX_ANSWERS - 1,))
                database.execute(
                    "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?)", answer_row(answer)
                )
            _put_numbers(database, numbers)

        self._commit(write)

    def delete(self, device_uuid: str, numbers: DeviceNumbers | None = None) -> None:
        """Forget a device's lease: its baseline is back, or none of our business.

        Its numbers stay; those that are given replace them.

        Raises:
            StateError: It could not be written; the lease is still recorded.
        """

        def write(database: sqlite3.Connection) -> None:
            database.execute("DELETE FROM leases WHERE device_uuid = ?", (device_uuid,))
            _put_numbers(database, numbers)

        self._commit(write)

    def commit_nothing(self) -> None:
        """Find out whether the journal can be written.

        Raises:
            StateError: It cannot.
        """
        self._commit(lambda _: None)

    def answer(self, scope: str) -> Answer | None:
        """Return what was answered under a key, None where nothing was in the last 24 hours.

        Raises:
            StateError: The file cannot be read, or the answer is not as it was written.
        """
        with self._lock:
            database = self._database
            if database is None:
                return None
            try:
                row = database.execute(_FRESH_ANSWER, (scope, *self._oldest())).fetchone()
                return None if row is None else answer_from(row)
            except (sqlite3.Error, ValueError, TypeError, KeyError) as error:
                raise StateError(f"cannot read {self._path}: {error}") from error

    def close(self) -> None:
        """Close the file and let go of the lock. Idempotent."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None
            if self._lock_fd is not None:
                os.close(self._lock_fd)
                self._lock_fd = None
            self.read_only_reason = self.read_only_reason or "the journal is closed"

    def _open(self, lock_fd: int) -> str | None:
        """Open, create or move aside; return why the journal is read-only."""
        aside = next(iter(journal_file.asides(self._path)), None)
        if aside is not None:
            return _look_after(aside, "was found aside")
        if not journal_file.exists(self._path):
            journal_file.reset_generation(lock_fd)
            journal_file.create(self._path)
        try:
            journal_file.examine(self._path, journal_file.read_generation(lock_fd))
        except StateError as error:
            wall_seconds = round(self._clock.wall_seconds())
            aside = journal_file.move_aside(self._path, wall_seconds)
            journal_file.reset_generation(lock_fd)
            return _look_after(aside, f"was moved aside because {error}")
        database = journal_file.connect(self._path)
        try:
            journal_file.note_generation(lock_fd, journal_versions.bring_up_to_date(database))
        except sqlite3.Error:
            database.close()
            raise
        self._database = database
        return None

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        with self._lock:
            database = self._database
            if database is None:
                return []
            try:
                return database.execute(query).fetchall()
            except sqlite3.Error as error:
                self.read_only_reason = f"the leases in {self._path} cannot be read: {error}"
                raise StateError(self.read_only_reason) from error

    def _commit(self, write: Callable[[sqlite3.Connection], None]) -> None:
        with self._lock:
            database, lock_fd = self._database, self._lock_fd
            if database is None or lock_fd is None:
                raise StateError(self.read_only_reason or "the journal is closed")
            try:
                database.execute("BEGIN IMMEDIATE")
                write(database)
                generation = journal_versions.seal(database)
                database.execute("COMMIT")
            except sqlite3.Error as error:
                _roll_back(database)
                raise StateError(f"cannot write {self._path}: {error}") from error
            journal_file.note_generation(lock_fd, generation)

    def _oldest(self) -> tuple[str, int, float]:
        """Return this boot, and the oldest times on both clocks that an answer may have."""
        return (
            self._clock.boot_id(),
            self._clock.boottime_ns() - ANSWER_LIFETIME_SECONDS * NS_PER_SECOND,
            self._clock.wall_seconds() - ANSWER_LIFETIME_SECONDS,
        )


def _look_after(aside: Path, how: str) -> str:
    return (
        f"the journal {aside} {how}; where a GPU still stands at the asked_watts of its last "
        "grant in the audit log, put the baseline_watts of that grant back (nvidia-smi -i UUID "
        "-pl WATTS); then move the journal somewhere else and restart"
    )


def _put_numbers(database: sqlite3.Connection, numbers: DeviceNumbers | None) -> None:
    if numbers is not None:
        database.execute(_PUT_NUMBERS, astuple(numbers))


def _roll_back(database: sqlite3.Connection) -> None:
    if database.in_transaction:
        try:
            database.execute("ROLLBACK")
        except sqlite3.Error as error:
            _LOG.warning("event=journal_not_rolled_back error=%r", str(error))
