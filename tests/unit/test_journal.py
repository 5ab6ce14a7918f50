"""The journal: on disk before the call returns, one process at a time, never guessed at."""

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.clock import FakeClock
from joulestat.domain.errors import StateError
from joulestat.domain.limit import Grant, GrantOutcome, Lease
from joulestat.power import journal as journal_module
from joulestat.power.journal import ANSWER_LIFETIME_SECONDS, Journal
from joulestat.power.journal_rows import Answer
from joulestat.power.leases import LeaseRecord, LeaseState

LEASE = Lease("GPU-a", "optimizer", "alice", "why", 250.1, 300.3, 12_345, 1_795_000_900.5)
RECORD = LeaseRecord(LEASE, LeaseState.INTENT, "boot-1", (250.1, 260.0))
OTHER = LeaseRecord(replace(LEASE, device_uuid="GPU-b"), LeaseState.HELD, "boot-1", (250.1,))


def answer(clock: FakeClock, scope: str = "scope") -> Answer:
    grant = Grant(GrantOutcome.GRANTED, LEASE, 250.0, None)
    return Answer(scope, "print", grant, clock.boot_id(), clock.boottime_ns(), clock.wall_seconds())


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "leases.db"


@pytest.fixture
def journal(path: Path, clock: FakeClock) -> Iterator[Journal]:
    opened = Journal(path, clock)
    yield opened
    opened.close()


def killed(path: Path, name: str) -> Path:
    """Return a copy of the files as they are, as a process killed right now leaves them."""
    target = path.parent.parent / name
    shutil.copytree(path.parent, target)
    return target / path.name


def test_what_was_put_survives_a_kill(journal: Journal, path: Path, clock: FakeClock) -> None:
    journal.put(OTHER)
    journal.put(RECORD, answer(clock))
    again = Journal(killed(path, "after"), clock)
    assert [RECORD, OTHER] == list(again.records())
    assert answer(clock) == again.answer("scope")
    again.close()


def test_a_device_has_one_record_until_it_is_deleted(journal: Journal) -> None:
    journal.put(RECORD)
    journal.put(replace(RECORD, state=LeaseState.HELD))
    assert [replace(RECORD, state=LeaseState.HELD)] == list(journal.records())
    journal.delete("GPU-a")
    journal.delete("GPU-never-leased")
    assert [] == list(journal.records())


def test_every_commit_is_synced(journal: Journal, path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        assert [("wal",)] == other.execute("PRAGMA journal_mode").fetchall()
    database = journal._database
    assert database is not None
    assert [(2,)] == database.execute("PRAGMA synchronous").fetchall()  # 2 is FULL


def test_only_the_service_can_read_the_files(journal: Journal, path: Path) -> None:
    journal.put(RECORD)
    modes = {p.name: oct(p.stat().st_mode & 0o777) for p in path.parent.iterdir()}
    assert {"0o600"} == set(modes.values()), modes
    assert 0o700 == path.parent.stat().st_mode & 0o777


def test_a_second_opening_is_refused_until_the_first_is_closed(
    journal: Journal, path: Path, clock: FakeClock
) -> None:
    with pytest.raises(StateError, match="another process controls power limits"):
        Journal(path, clock)
    journal.close()
    Journal(path, clock).close()


def test_a_second_process_is_refused(journal: Journal, path: Path) -> None:
    lock = path.with_name("leases.db.lock")
    code = (
        "import fcntl, sys\n"
        "try: fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except BlockingIOError: sys.exit(7)"
    )
    assert 7 == subprocess.run([sys.executable, "-c", code, str(lock)], check=False).returncode


def test_a_closed_journal_takes_nothing_and_can_be_closed_again(journal: Journal) -> None:
    journal.close()
    journal.close()
    with pytest.raises(StateError, match="the journal is closed"):
        journal.put(RECORD)
    assert ([], None) == (list(journal.records()), journal.answer("scope"))


# Answers


def test_an_answer_is_kept_for_a_day_of_the_boot_clock(journal: Journal, clock: FakeClock) -> None:
    journal.put(RECORD, answer(clock))
    clock.step_wall(400 * 86_400.0)
    clock.advance(ANSWER_LIFETIME_SECONDS - 1)
    assert journal.answer("scope") is not None
    clock.advance(2)
    assert journal.answer("scope") is None


def test_after_a_reboot_an_answers_age_is_told_by_the_wall_clock(
    journal: Journal, clock: FakeClock
) -> None:
    journal.put(RECORD, answer(clock))
    clock.reboot("boot-2")
    clock.step_wall(ANSWER_LIFETIME_SECONDS - 1)
    assert journal.answer("scope") is not None
    clock.step_wall(2)
    assert journal.answer("scope") is None


def test_old_and_surplus_answers_leave_the_disk(
    journal: Journal, path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MAX_ANSWERS", 3)
    journal.put(RECORD, answer(clock, "old"))
    clock.advance(ANSWER_LIFETIME_SECONDS + 1)
    for scope in "abcde":
        journal.put(RECORD, answer(clock, scope))
    with closing(sqlite3.connect(path)) as other:
        rows = other.execute("SELECT scope FROM answers ORDER BY scope").fetchall()
    assert [("c",), ("d",), ("e",)] == rows


# Disk and directory


def test_a_directory_that_cannot_be_made_makes_control_read_only(
    path: Path, clock: FakeClock
) -> None:
    path.parent.write_text("a file where a directory should be")
    journal = Journal(path, clock)
    assert "cannot be opened" in str(journal.read_only_reason)
    journal.close()


def test_a_locked_database_is_read_only_but_stays_in_place(
    journal: Journal, path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("joulestat.power.journal_file._BUSY_SECONDS", 0.01)
    journal.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        blocked = Journal(path, clock)
        assert "locked" in str(blocked.read_only_reason)
        blocked.close()
    assert path.exists()


def test_a_failed_commit_is_an_error_and_leaves_the_journal_as_it_was(
    journal: Journal, path: Path
) -> None:
    journal.put(RECORD)
    database = journal._database
    assert database is not None
    database.execute("PRAGMA max_page_count=1")
    with pytest.raises(StateError, match="full"):
        journal.put(replace(OTHER, lease=replace(OTHER.lease, reason="x" * 50_000)))
    database.execute("PRAGMA max_page_count=100000")
    assert [RECORD] == list(journal.records())
    journal.put(OTHER)
    assert [RECORD, OTHER] == list(journal.records())


def test_a_creation_that_was_killed_leaves_no_half_journal(path: Path, clock: FakeClock) -> None:
    path.parent.mkdir()
    path.with_name("leases.db.new").write_bytes(b"half")
    journal = Journal(path, clock)
    assert journal.read_only_reason is None
    journal.close()
    assert not path.with_name("leases.db.new").exists()


def test_the_lock_ends_with_the_journal_not_with_a_reader_of_the_file(
    journal: Journal, path: Path
) -> None:
    fd = os.open(path.with_name("leases.db.lock"), os.O_RDONLY)
    os.close(fd)
    fd = os.open(path.with_name("leases.db.lock"), os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(fd)


def test_threads_may_write_at_once(journal: Journal) -> None:
    def put(name: str) -> None:
        for watts in range(10):
            lease = replace(LEASE, device_uuid=name, target_watts=200.0 + watts)
            journal.put(replace(RECORD, lease=lease))

    threads = [threading.Thread(target=put, args=(f"GPU-{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [209.0] * 6 == [record.lease.target_watts for record in journal.records()]
