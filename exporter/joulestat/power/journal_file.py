"""The journal's files: the lock, the examination before use, and what is kept of a bad one."""

import fcntl
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from joulestat.domain.errors import StateError
from joulestat.power.journal_rows import answer_from, record_from
from joulestat.power.journal_versions import (
    APPLICATION_ID,
    SCHEMA,
    SCHEMA_VERSION,
    digest_of,
    version_of,
)
from joulestat.power.trust import distrust

_BUSY_SECONDS = 2.0
_GENERATION_DIGITS = 20
_ASIDE = ".aside-"
_PRIMARY_CODE_MASK = 0xFF
"""An extended result code of SQLite carries the primary one in its low byte."""


def take_lock(path: Path) -> int:
    """Lock the journal for this process; the lock ends with the process, however it ends.

    Returns:
        The descriptor that holds the lock.

    Raises:
        StateError: Another process has it.
        OSError: The lock file cannot be made.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock_path = path.with_name(path.name + ".lock")
    fd = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise StateError(
            f"another process controls power limits with {path}; stop it first, or give this one "
            "a state directory of its own"
        ) from error
    except OSError:
        os.close(fd)
        raise
    return fd


def read_generation(lock_fd: int) -> int:
    """Return the number of the last commit that was noted, 0 where none was.

    Raises:
        StateError: Something else stands there.
    """
    text = os.pread(lock_fd, _GENERATION_DIGITS + 2, 0)
    if not text:
        return 0
    if len(text) != _GENERATION_DIGITS + 1 or not text[:-1].isdigit() or text[-1:] != b"\n":
        raise StateError("the lock file does not hold a commit number")
    return int(text)


def note_generation(lock_fd: int, generation: int) -> None:
    """Note a commit beside the database.

    SQLite drops a damaged end of its write-ahead log without a word, because it looks like a
    commit that never finished; an older state would pass for the newest one. Written after the
    commit and not synced: it may fall behind in a power cut, but never runs ahead.
    """
    with suppress(OSError):
        os.pwrite(lock_fd, f"{generation:0{_GENERATION_DIGITS}d}\n".encode("ascii"), 0)


def reset_generation(lock_fd: int) -> None:
    """Forget the noted commit, because the journal it belongs to is no longer there.

    Raises:
        OSError: It cannot be forgotten.
    """
    os.ftruncate(lock_fd, 0)


def create(path: Path) -> None:
    """Make an empty journal; it is under its name only when it is whole.

    Raises:
        OSError, sqlite3.Error: It cannot be made.
    """
    new_path = path.with_name(path.name + ".new")
    for name in _with_companions(new_path):
        name.unlink(missing_ok=True)
    # SQLite gives its log and index the mode of the database.
    os.close(os.open(new_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(connect(new_path)) as database:
        database.executescript(SCHEMA)
        database.execute(f"PRAGMA application_id={APPLICATION_ID}")
        database.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        sha256 = digest_of(database, 0, SCHEMA_VERSION)
        database.execute("INSERT INTO seal VALUES (1, 0, ?)", (sha256,))
    new_path.rename(path)
    _sync_directory(path.parent)


def connect(path: Path) -> sqlite3.Connection:
    """Open the database to read and write: write-ahead log, every commit synced.

    Raises:
        sqlite3.Error: It cannot be opened so.
    """
    database = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        (mode,) = database.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise sqlite3.OperationalError(f"journal_mode is {mode} instead of wal")
        database.execute("PRAGMA synchronous=FULL")
    except sqlite3.Error:
        database.close()
        raise
    return database


def examine(path: Path, generation: int) -> None:
    """Check a journal without changing it.

    Args:
        path: The database.
        generation: The last commit that was noted: an older state is not the whole truth.

    Raises:
        StateError: It is damaged, older than it should be, of a newer version, or no journal.
        sqlite3.Error: It cannot be looked at now.
    """
    for each in _with_companions(path):
        if (reason := distrust(each)) is not None:
            raise StateError(reason if each == path else f"of its {each.name}: {reason}")
    if not path.exists():
        raise StateError("only its write-ahead log is left")
    try:
        # Read-only, so that neither opening nor closing moves the write-ahead log into it.
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)) as database:
            _examine_content(database, generation, version_of(database))
    except (sqlite3.Error, ValueError, TypeError, KeyError) as error:
        if isinstance(error, sqlite3.Error) and _is_about_access(error):
            raise
        raise StateError(f"it is damaged ({error})") from error


def _is_about_access(error: sqlite3.Error) -> bool:
    """Tell whether an error says nothing about the file's content: it is not moved for that."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & _PRIMARY_CODE_MASK
    return code in {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
    }


def _examine_content(database: sqlite3.Connection, generation: int, version: int) -> None:
    found = database.execute("PRAGMA quick_check").fetchall()
    if found != [("ok",)]:
        raise StateError(f"it is damaged ({found[0][0]})")
    ((committed, sha256),) = database.execute("SELECT generation, sha256 FROM seal").fetchall()
    if committed < generation:
        raise StateError(f"it ends at commit {committed}, but {generation} was made")
    if digest_of(database, committed, version) != sha256:
        raise StateError("it is damaged (its hash does not fit)")
    for (body,) in database.execute("SELECT body FROM leases").fetchall():
        record_from(body)
    for row in database.execute("SELECT * FROM answers").fetchall():
        answer_from(row)


def exists(path: Path) -> bool:
    """Tell whether there is a journal, or what is left of one."""
    left = path.with_name(path.name + "-wal")
    return path.is_symlink() or path.exists() or (left.exists() and left.stat().st_size > 0)


def asides(path: Path) -> Sequence[Path]:
    """Return the journals that were moved aside and not yet looked after by anyone."""
    found = path.parent.glob(f"{path.name}{_ASIDE}*")
    names = {each.name.removesuffix("-wal").removesuffix("-shm") for each in found}
    return [path.with_name(name) for name in sorted(names)]


def move_aside(path: Path, wall_seconds: int) -> Path:
    """Rename a journal with its companions to a name not in use, and return it.

    Raises:
        OSError: It cannot be renamed.
    """
    name = f"{path.name}{_ASIDE}{wall_seconds}"
    aside, count = path.with_name(name), 0
    while any(os.path.lexists(used) for used in _with_companions(aside)):
        count += 1
        aside = path.with_name(f"{name}-{count}")
    for old, new in zip(_with_companions(path), _with_companions(aside), strict=True):
        with suppress(FileNotFoundError):
            old.rename(new)
    _sync_directory(path.parent)
    return aside


def _with_companions(path: Path) -> tuple[Path, Path, Path]:
    return path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
