"""The audit log: what was asked, by whom, and what happened; on disk before it happens.

Append-only JSON lines, one ``fdatasync`` per record, hash-chained (see ``chain``). An attempt
is two records: the intent before the hardware is touched, and the result, which names it.
"""

import logging
import math
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from joulestat.domain.clock import Clock
from joulestat.domain.errors import StateError
from joulestat.power import chain
from joulestat.power.chain import GENESIS_SHA256, ChainCheck, Head
from joulestat.power.leases import plain_text
from joulestat.power.trust import distrust

_LOG = logging.getLogger(__name__)

MAX_TEXT_CHARACTERS = 512
MAX_READ_RECORDS = 1_000

_START = Head(0, GENESIS_SHA256)
_TAIL_BYTES = 1_048_576
"""Longer than any record: some 20 members of MAX_TEXT_CHARACTERS, 12 bytes each if escaped."""

AuditValue = str | int | float | bool | None


class AuditPhase(StrEnum):
    """Which part of an attempt a record is about."""

    INTENT = "intent"
    RESULT = "result"
    EVENT = "event"


class Audit:
    """One audit log. Any thread may call any method.

    The file is opened at the first record and again after a failure, so that a full disk ends
    when there is room again.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._log_fd: int | None = None
        self._head_fd: int | None = None
        self._last = _START
        self._size_bytes = 0
        self._restarted_because: str | None = None

    def record(self, phase: AuditPhase, action: str, **members: AuditValue) -> int:
        """Append one record and wait until it is on the disk.

        Args:
            phase: Intent, result or event.
            action: The verb, for example ``grant``.
            members: The rest; None is left out, texts are stripped of control characters and
                cut at MAX_TEXT_CHARACTERS.

        Returns:
            The record's number, from 1.

        Raises:
            StateError: It could not be written; the log is as before.
        """
        with self._lock:
            try:
                self._open_if_needed()
                if self._restarted_because is not None:
                    why: dict[str, AuditValue] = {"cause": self._restarted_because}
                    self._append(self._content(AuditPhase.EVENT, "audit_restarted", why))
                    self._restarted_because = None
                self._append(self._content(phase, action, members))
            except OSError as error:
                raise StateError(f"cannot write the audit log {self._path}: {error}") from error
            return self._last.seq

    def read(self, after_seq: int, limit: int) -> Sequence[Mapping[str, object]]:
        """Return up to ``limit`` (at most MAX_READ_RECORDS) records after a number, oldest first.

        Raises:
            StateError: The log cannot be read.
        """
        try:
            if (reason := distrust(self._path)) is not None:
                raise StateError(f"cannot read the audit log {self._path}: {reason}")
            with self._path.open("rb") as log:
                return chain.read_after(log, after_seq, min(limit, MAX_READ_RECORDS))
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise StateError(f"cannot read the audit log {self._path}: {error}") from error

    def verify(self) -> ChainCheck:
        """Check the whole log; see ``chain.verify``.

        Raises:
            StateError: The log cannot be read.
        """
        try:
            return chain.verify(self._path)
        except OSError as error:
            raise StateError(f"cannot read the audit log {self._path}: {error}") from error

    def close(self) -> None:
        """Close the files. Idempotent; a later record opens them again."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        for fd in (self._log_fd, self._head_fd):
            if fd is not None:
                os.close(fd)
        self._log_fd = self._head_fd = None

    def _content(
        self, phase: AuditPhase, action: str, members: Mapping[str, AuditValue]
    ) -> Mapping[str, object]:
        return {
            "wall_seconds": self._clock.wall_seconds(),
            "boot_id": self._clock.boot_id(),
            "boottime_ns": self._clock.boottime_ns(),
            "phase": phase.value,
            "action": action,
            **{name: _plain(value) for name, value in members.items() if value is not None},
        }

    def _append(self, content: Mapping[str, object]) -> None:
        line, head = chain.seal(content, self._last)
        log_fd, head_fd = self._log_fd, self._head_fd
        if log_fd is None or head_fd is None:
            raise OSError("the log is not open")
        try:
            _write_whole(log_fd, line)
            os.fdatasync(log_fd)
        except OSError:
            # Half a line must not stay: the next record would be glued to it.
            self._cut_back(log_fd)
            raise
        self._last = head
        self._size_bytes += len(line)
        # Not synced: after a power cut an older head still finds its record in the log.
        with suppress(OSError):
            os.pwrite(head_fd, chain.head_line(head), 0)

    def _cut_back(self, log_fd: int) -> None:
        try:
            os.ftruncate(log_fd, self._size_bytes)
        except OSError:
            self._close()

    def _open_if_needed(self) -> None:
        if self._log_fd is not None and self._moved_away(self._log_fd):
            self._close()
        if self._log_fd is not None:
            return
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        problem = self._take_up()
        if problem is not None:
            aside = _move_aside(self._path, round(self._clock.wall_seconds()))
            _LOG.error(
                "event=audit_restarted path=%s kept=%s problem=%r", self._path, aside, problem
            )
            self._last, self._size_bytes = _START, 0
            self._restarted_because = problem
        try:
            self._log_fd = _open_file(self._path, os.O_APPEND)
            self._head_fd = _open_file(chain.head_path(self._path), 0)
            os.ftruncate(self._log_fd, self._size_bytes)
        except OSError:
            self._close()
            raise

    def _moved_away(self, log_fd: int) -> bool:
        """Tell whether the path no longer leads to the file that is written."""
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return True
        return not os.path.samestat(there, os.fstat(log_fd))

    def _take_up(self) -> str | None:
        """Find the last record of the file that is there; return why it cannot be continued.

        A last line without its end is a record that was never acknowledged: it is cut off.

        Raises:
            OSError: It cannot be read, or something else lies in its place: nothing is recorded
                until somebody has taken that away.
        """
        for each in (self._path, chain.head_path(self._path)):
            if each.is_symlink() or (each.exists() and not each.is_file()):
                raise OSError(f"{each.name} is no regular file")
            if (reason := distrust(each)) is not None:
                return f"of {each.name}: {reason}"
        try:
            head = chain.read_head(self._path)
        except ValueError as error:
            return str(error)
        tail, self._size_bytes = _last_line(self._path)
        if not tail:
            self._last = _START
            return None if head is None else f"record {head.seq} and all before it are missing"
        link = chain.unseal(tail)
        if link is None:
            return "the last line is not as it was written"
        last = Head(link.seq, link.sha256)
        if head is not None and head.seq >= last.seq and head != last:
            return f"the last record is {last.seq}, but another one, {head.seq}, was written"
        self._last = last
        return None


def _last_line(path: Path) -> tuple[bytes, int]:
    """Return the last complete line and the offset where it ends.

    Empty and 0 where there is no complete line; what is longer than any record comes back as
    it is, so that it is not taken for one.
    """
    try:
        with path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            start = log.seek(max(0, size - _TAIL_BYTES))
            tail = log.read()
    except FileNotFoundError:
        return b"", 0
    whole = tail[: tail.rfind(b"\n") + 1]
    if start and not whole:
        return tail, size
    return whole[whole.rfind(b"\n", 0, -1) + 1 :], start + len(whole)


def _open_file(path: Path, flags: int) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)


def _move_aside(path: Path, wall_seconds: int) -> Path:
    """Rename a log and its head to names not in use; return the log's."""
    aside = path.with_name(f"{path.name}.aside-{wall_seconds}")
    count = 0
    while aside.exists() or chain.head_path(aside).exists():
        count += 1
        aside = path.with_name(f"{path.name}.aside-{wall_seconds}-{count}")
    with suppress(FileNotFoundError):
        chain.head_path(path).rename(chain.head_path(aside))
    with suppress(FileNotFoundError):
        path.rename(aside)
    return aside


def _write_whole(fd: int, line: bytes) -> None:
    written = os.write(fd, line)
    if written != len(line):
        raise OSError(f"only {written} of {len(line)} bytes were taken")


def _plain(value: object) -> object:
    if isinstance(value, str):
        return plain_text(value)[:MAX_TEXT_CHARACTERS]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
