"""The audit log: durable, in order, and telling of every changed line."""

import json
import os
import resource
import threading
from collections.abc import Callable, Iterator
from dataclasses import astuple
from pathlib import Path

import pytest

from fakes.clock import FakeClock
from joulestat.domain.errors import StateError
from joulestat.power import chain
from joulestat.power.audit import MAX_TEXT_CHARACTERS, Audit, AuditPhase


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "audit.jsonl"


@pytest.fixture
def audit(path: Path) -> Iterator[Audit]:
    log = Audit(path, FakeClock())
    yield log
    log.close()


def write(audit: Audit, count: int) -> None:
    for number in range(count):
        audit.record(AuditPhase.EVENT, "test", asked_watts=200.0 + number, reason=f"no. {number}")


def test_an_attempt_is_two_records_of_which_the_second_names_the_first(
    audit: Audit, path: Path
) -> None:
    intent = audit.record(AuditPhase.INTENT, "grant", gpu_uuid="GPU-a", asked_watts=250.0)
    audit.record(AuditPhase.RESULT, "grant", intent_seq=intent, outcome="granted")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [("intent", None), ("result", 1)] == [(r["phase"], r.get("intent_seq")) for r in lines]
    assert [chain.GENESIS_SHA256, lines[0]["sha256"]] == [r["prev_sha256"] for r in lines]
    assert ["seq", "wall_seconds", "boot_id", "boottime_ns"] == list(lines[0])[:4]


def test_only_the_service_can_read_the_log(audit: Audit, path: Path) -> None:
    write(audit, 1)
    assert ["0o600", "0o600", "0o700"] == [
        oct(p.stat().st_mode & 0o777) for p in (path, chain.head_path(path), path.parent)
    ]


def test_texts_cannot_forge_a_line_or_a_screen(audit: Audit, path: Path) -> None:
    audit.record(
        AuditPhase.INTENT, "grant", reason='a\n{"seq":9}\r\x1b[2J\u202e\u2028\ud800b', holder=" h\t"
    )
    raw = path.read_bytes()
    assert 1 == raw.count(b"\n")
    assert raw[:-1].isascii()
    assert not any(byte < 32 for byte in raw[:-1])
    (record,) = audit.read(0, 10)
    assert 'a{"seq":9}[2Jb' == record["reason"]
    assert "h" == record["holder"]


def test_long_texts_are_cut_and_odd_numbers_become_text(audit: Audit) -> None:
    audit.record(AuditPhase.RESULT, "grant", reason="x" * 9_999, asked_watts=float("nan"))
    (record,) = audit.read(0, 1)
    assert "x" * MAX_TEXT_CHARACTERS == record["reason"]
    assert "nan" == record["asked_watts"]


def test_a_restart_continues_the_chain(audit: Audit, path: Path) -> None:
    write(audit, 3)
    audit.close()
    again = Audit(path, FakeClock())
    assert 4 == again.record(AuditPhase.EVENT, "restart")
    again.close()
    assert (4, ()) == astuple(chain.verify(path))[:2]


def test_reading_after_a_number_gives_what_follows_oldest_first(audit: Audit) -> None:
    write(audit, 5)
    assert [3, 4] == [record["seq"] for record in audit.read(2, 2)]
    assert [] == list(audit.read(5, 2))


def test_a_long_log_is_read_from_the_middle(audit: Audit, path: Path) -> None:
    write(audit, 1)
    audit.close()
    head = chain.read_head(path)
    assert head is not None
    with path.open("ab") as log:
        for _ in range(2_000):
            line, head = chain.seal({"reason": "y" * 100}, head)
            log.write(line)
    chain.head_path(path).write_bytes(chain.head_line(head))
    for after in (0, 1, 777, 1_500, 1_999, 2_001):
        expected = list(range(after + 1, min(after + 3, 2_001) + 1))
        assert expected == [record["seq"] for record in audit.read(after, 3)]


def test_a_log_that_does_not_exist_is_empty(audit: Audit) -> None:
    assert [] == list(audit.read(0, 10))
    assert chain.ChainCheck(0, (), chain.Head(0, chain.GENESIS_SHA256)) == audit.verify()


def test_every_flipped_byte_is_found(audit: Audit, path: Path) -> None:
    write(audit, 3)
    whole = path.read_bytes()
    for place in range(len(whole)):
        mutated = bytearray(whole)
        mutated[place] ^= 1 << (place % 8)
        path.write_bytes(mutated)
        assert not chain.verify(path).ok, f"byte {place}"


@pytest.mark.parametrize("gone", range(4))
def test_every_deleted_line_is_found_even_the_last(audit: Audit, path: Path, gone: int) -> None:
    write(audit, 4)
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[gone]
    path.write_bytes(b"".join(lines))
    assert not chain.verify(path).ok


def test_a_deleted_log_is_found(audit: Audit, path: Path) -> None:
    write(audit, 2)
    path.unlink()
    assert not audit.verify().ok


def test_moved_and_repeated_lines_are_found(audit: Audit, path: Path) -> None:
    write(audit, 3)
    first, second, third = path.read_bytes().splitlines(keepends=True)
    for order in ([first, third, second], [first, second, second, third], [first, b"\n", second]):
        path.write_bytes(b"".join(order))
        assert not chain.verify(path).ok


def test_a_line_that_was_sealed_without_number_is_no_record() -> None:
    line, _ = chain.seal({}, chain.Head(0, chain.GENESIS_SHA256))
    body = b'{"seq":"one"}'
    forged = chain.hashlib.sha256(body).hexdigest().encode()
    assert chain.unseal(line) is not None
    assert chain.unseal(body[:-1] + b',"sha256":"' + forged + b'"}\n') is None


def test_half_a_record_after_a_power_cut_is_cut_off(audit: Audit, path: Path) -> None:
    write(audit, 2)
    audit.close()
    with path.open("ab") as log:
        log.write(b'{"seq":3,"wall')
    assert not chain.verify(path).ok
    again = Audit(path, FakeClock())
    assert 3 == again.record(AuditPhase.EVENT, "restart")
    again.close()
    assert chain.verify(path).ok


def test_a_head_left_behind_by_a_power_cut_is_no_alarm(audit: Audit, path: Path) -> None:
    write(audit, 2)
    older = chain.head_path(path).read_bytes()
    write(audit, 1)
    audit.close()
    chain.head_path(path).write_bytes(older)
    assert chain.verify(path).ok
    again = Audit(path, FakeClock())
    assert 4 == again.record(AuditPhase.EVENT, "restart")
    again.close()


def truncate_last_line(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def change_last_line(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"no. 2", b"no. 9"))


def remove_log(path: Path) -> None:
    path.unlink()


def garble_head(path: Path) -> None:
    chain.head_path(path).write_text("what?")


def lose_every_line_end(path: Path) -> None:
    path.write_bytes(b"x" * 3_000_000)


@pytest.mark.parametrize(
    "tamper",
    [truncate_last_line, change_last_line, remove_log, garble_head, lose_every_line_end],
)
def test_a_tampered_log_is_kept_and_a_new_one_says_so(
    audit: Audit, path: Path, tamper: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    write(audit, 3)
    audit.close()
    tamper(path)
    left = path.read_bytes() if path.exists() else None
    again = Audit(path, FakeClock())
    again.record(AuditPhase.EVENT, "restart")
    again.close()
    assert ["audit_restarted", "restart"] == [r["action"] for r in again.read(0, 9)]
    assert chain.verify(path).ok
    kept = [p for p in path.parent.glob("*.aside-*") if not p.name.endswith(".head")]
    assert ([] if left is None else [left]) == [p.read_bytes() for p in kept]
    assert "event=audit_restarted" in caplog.text


def test_a_log_moved_away_while_running_is_not_written_blindly(audit: Audit, path: Path) -> None:
    write(audit, 2)
    path.rename(path.with_name("rotated.jsonl"))
    audit.record(AuditPhase.EVENT, "after")
    assert ["audit_restarted", "after"] == [record["action"] for record in audit.read(0, 9)]


def test_two_restarts_in_one_second_keep_both_logs(audit: Audit, path: Path) -> None:
    for _ in range(2):
        write(audit, 3)
        audit.close()
        garble_head(path)
    write(audit, 1)
    kept = [p for p in path.parent.glob("*.aside-*") if not p.name.endswith(".head")]
    assert 2 == len(kept)


@pytest.fixture
def make_room() -> Iterator[Callable[[], None]]:
    """Let no file of this process grow past 1 KiB until this is called."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def make_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    resource.setrlimit(resource.RLIMIT_FSIZE, (1_024, before[1]))
    yield make_room
    make_room()


def test_a_full_disk_refuses_the_record_and_leaves_the_chain_whole(
    audit: Audit, path: Path, make_room: Callable[[], None]
) -> None:
    write(audit, 2)
    with pytest.raises(StateError, match="cannot write the audit log"):
        write(audit, 9)
    assert chain.verify(path).ok
    n_records = chain.verify(path).records
    make_room()
    assert n_records + 1 == audit.record(AuditPhase.EVENT, "room again")
    assert chain.verify(path).ok


def test_a_place_that_cannot_be_written_is_an_error_and_heals(path: Path, tmp_path: Path) -> None:
    path.parent.write_text("a file where a directory should be")
    audit = Audit(path, FakeClock())
    with pytest.raises(StateError):
        audit.record(AuditPhase.EVENT, "test")
    with pytest.raises(StateError):
        audit.verify()
    path.parent.unlink()
    assert 1 == audit.record(AuditPhase.EVENT, "test")
    assert audit.verify().ok
    audit.close()


def test_a_symbolic_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    audit = Audit(path, FakeClock())
    with pytest.raises(StateError):
        audit.record(AuditPhase.EVENT, "test")
    assert not (tmp_path / "elsewhere").exists()


def test_each_record_is_synced_before_the_call_returns(
    audit: Audit, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fdatasync

    def fdatasync(fd: int) -> None:
        real(fd)
        synced.append(path.read_bytes().count(b"\n"))

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    write(audit, 3)
    assert [1, 2, 3] == synced


def test_records_of_many_threads_make_one_chain(audit: Audit, path: Path) -> None:
    threads = [threading.Thread(target=write, args=(audit, 10)) for _ in range(8)]
    for step in (threading.Thread.start, threading.Thread.join):
        for thread in threads:
            step(thread)
    assert (80, ()) == astuple(chain.verify(path))[:2]
