"""A journal that is damaged, foreign or old is kept and never guessed at."""

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.clock import FakeClock
from joulestat.domain.errors import StateError
from joulestat.domain.limit import Grant, GrantOutcome, Lease
from joulestat.power.journal import Journal
from joulestat.power.journal_file import asides
from joulestat.power.journal_rows import Answer, DeviceNumbers
from joulestat.power.leases import LeaseRecord, LeaseState

LEASE = Lease("GPU-a", "optimizer", "alice", "why", 250.1, 300.3, 12_345, 1_795_000_900.5)
RECORD = LeaseRecord(LEASE, LeaseState.INTENT, "boot-1", (250.1, 260.0))
OTHER = LeaseRecord(replace(LEASE, device_uuid="GPU-b"), LeaseState.HELD, "boot-1", (250.1,))

NUMBERS = DeviceNumbers("GPU-a", 7, 12, "boot-1", 99)


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


def assert_read_only(path: Path, clock: FakeClock, why: str) -> None:
    journal = Journal(path, clock)
    try:
        assert journal.read_only_reason is not None
        assert why in journal.read_only_reason
        assert [] == list(journal.records())
        with pytest.raises(StateError, match="aside"):
            journal.put(RECORD)
    finally:
        journal.close()


def test_a_newer_version_is_moved_aside_unchanged_and_control_is_read_only(
    journal: Journal, path: Path, clock: FakeClock
) -> None:
    journal.put(RECORD)
    journal.close()
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version=3")
    before = path.read_bytes()
    assert_read_only(path, clock, "its version is 3")
    (aside,) = asides(path)
    assert before == aside.read_bytes()
    assert not path.exists()


def test_control_stays_read_only_until_somebody_took_the_bad_journal_away(
    journal: Journal, path: Path, clock: FakeClock
) -> None:
    journal.close()
    path.write_bytes(b"")
    assert_read_only(path, clock, "was moved aside because")
    assert_read_only(path, clock, "was found aside")
    for aside in path.parent.glob("leases.db.aside-*"):
        aside.unlink()
    fresh = Journal(path, clock)
    assert fresh.read_only_reason is None
    fresh.close()


@pytest.mark.parametrize("content", [b"", b"hello", b"SQLite format 3\x00", bytes(8_192)])
def test_a_file_that_is_no_journal_is_moved_aside(
    path: Path, clock: FakeClock, content: bytes
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    assert_read_only(path, clock, "was moved aside because")


def test_another_programs_database_is_moved_aside(path: Path, clock: FakeClock) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE leases (device_uuid, body)")
    assert_read_only(path, clock, "it is not a joulestat journal")


def test_a_symbolic_link_is_not_followed(path: Path, clock: FakeClock, tmp_path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(tmp_path / "nowhere")
    assert_read_only(path, clock, "symbolic link")


def test_a_write_ahead_log_without_its_database_is_moved_aside(
    journal: Journal, path: Path, clock: FakeClock
) -> None:
    journal.put(RECORD)
    left = killed(path, "left")
    left.unlink()
    assert_read_only(left, clock, "was moved aside because")
    (aside,) = asides(left)
    assert aside.with_name(f"{aside.name}-wal").exists()
    assert_read_only(left, clock, "was found aside")


def test_an_older_state_is_not_taken_for_the_newest(
    journal: Journal, path: Path, clock: FakeClock
) -> None:
    journal.put(OTHER)
    older = killed(path, "older")
    journal.put(RECORD)
    for name in ("leases.db", "leases.db-wal"):
        shutil.copy(older.with_name(name), path.parent.parent / name)
    shutil.copy(path.with_name("leases.db.lock"), path.parent.parent / "leases.db.lock")
    assert_read_only(path.parent.parent / "leases.db", clock, "it ends at commit 1, but 2 was made")


def test_a_changed_baseline_is_noticed(journal: Journal, path: Path, clock: FakeClock) -> None:
    journal.put(RECORD)
    journal.close()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE leases SET body = replace(body, '300.3', '380.3')")
    assert_read_only(path, clock, "its hash does not fit")


def test_a_changed_answer_is_noticed(journal: Journal, path: Path, clock: FakeClock) -> None:
    journal.put(RECORD, answer(clock))
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE answers SET body = replace(body, '300.3', '380.3')")
    with pytest.raises(StateError, match="hash does not fit"):
        journal.answer("scope")
    journal.close()
    assert_read_only(path, clock, "hash does not fit")


def test_a_garbled_lock_file_makes_control_read_only(
    journal: Journal, path: Path, clock: FakeClock
) -> None:
    journal.put(RECORD)
    journal.close()
    path.with_name("leases.db.lock").write_text("0000000000000000000x\n")
    assert_read_only(path, clock, "does not hold a commit number")


def mutations(path: Path, count: int) -> Iterator[tuple[str, int, int]]:
    chance = random.Random(7)
    for name in (path.name, f"{path.name}-wal", f"{path.name}.lock"):
        size = path.with_name(name).stat().st_size
        for _ in range(count):
            yield name, chance.randrange(size), 1 << chance.randrange(8)
        for _ in range(count // 8):
            yield name, chance.randrange(size), 0  # cut off here


def test_after_any_flipped_bit_or_cut_the_truth_or_nothing_is_read(
    journal: Journal, path: Path, clock: FakeClock, tmp_path: Path
) -> None:
    journal.put(OTHER)
    journal.put(RECORD, answer(clock), NUMBERS)
    whole = killed(path, "whole")
    n_noticed = 0
    for name, place, bit in mutations(whole, 160):
        target = tmp_path / "mutant"
        shutil.copytree(whole.parent, target)
        victim = bytearray((target / name).read_bytes())
        if bit:
            victim[place] ^= bit
        else:
            del victim[place:]
        (target / name).write_bytes(victim)
        opened = Journal(target / path.name, clock)
        if opened.read_only_reason is None:
            assert [RECORD, OTHER] == list(opened.records()), (name, place, bit)
            assert {"GPU-a": NUMBERS} == opened.numbers(), (name, place, bit)
            assert answer(clock) == opened.answer("scope"), (name, place, bit)
        else:
            n_noticed += 1
            assert any(target.glob("leases.db.aside-*")), (name, place, bit)
        opened.close()
        shutil.rmtree(target)
    assert n_noticed > 0
