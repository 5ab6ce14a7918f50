"""``joulestat lease audit --verify``: whole logs pass, and a changed one is named line by line."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fakes.clock import FakeClock
from joulestat.cli.lease import lease
from joulestat.power.audit import Audit, AuditPhase

pytestmark = pytest.mark.promise("audit")

RECORDS = 12


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "audit.jsonl"
    write(path, RECORDS)
    return path


def write(path: Path, count: int) -> None:
    audit = Audit(path, FakeClock())
    for n in range(count):
        audit.record(AuditPhase.EVENT, "test", number=n)
    audit.close()


def verify(log: Path, *flags: str) -> Result:
    return CliRunner().invoke(
        lease, ["audit", "--verify", *(flags or (f"--state-path={log.parent}",))]
    )


def test_a_log_as_it_was_written_passes(log: Path) -> None:
    told = verify(log)

    assert (0, f"{log}: 12 records, all as they were written\n") == (told.exit_code, told.output)


def test_where_nothing_was_ever_asked_there_is_nothing_to_find(tmp_path: Path) -> None:
    told = verify(tmp_path / "audit.jsonl")

    assert 0 == told.exit_code
    assert "0 records" in told.output


Change = Callable[[list[bytes]], list[bytes]]


def flipped(at: int) -> Change:
    return lambda lines: [
        line.replace(b'"test"', b'"tesT"') if n == at else line for n, line in enumerate(lines)
    ]


def deleted(at: int) -> Change:
    return lambda lines: [line for n, line in enumerate(lines) if n != at]


def moved(at: int) -> Change:
    return lambda lines: [*deleted(at)(lines), lines[at]]


def test_every_line_that_was_changed_deleted_or_moved_is_found(
    log: Path, record_property: Callable[[str, object], None]
) -> None:
    whole = log.read_bytes().splitlines(keepends=True)
    changes = [change(at) for change in (flipped, deleted, moved) for at in range(RECORDS - 1)]
    found = 0
    for change in changes:
        log.write_bytes(b"".join(change(whole)))
        told = verify(log)
        found += (told.exit_code, "NOT all as they were written" in told.output) == (1, True)
    assert len(changes) == found
    record_property("measured", f"{found} of {len(changes)} changed logs found")


def test_it_is_said_which_line(log: Path) -> None:
    log.write_bytes(b"".join(flipped(4)(log.read_bytes().splitlines(keepends=True))))

    assert f"{log}: line 5: not as it was written\n" in verify(log).output


def test_a_missing_end_is_found_by_what_was_noted_beside_the_log(log: Path) -> None:
    log.write_bytes(b"".join(deleted(RECORDS - 1)(log.read_bytes().splitlines(keepends=True))))

    told = verify(log)

    assert 1 == told.exit_code
    assert "record 12, the last one known to be written, is missing" in told.output


def test_a_renamed_log_is_part_of_the_whole_and_a_lost_one_is_missed(log: Path) -> None:
    renamed = log.with_name("audit.jsonl.1")
    log.rename(renamed)
    write(log, 3)

    both = verify(log)
    renamed.unlink()
    one = verify(log)

    assert 0 == both.exit_code, both.output
    assert f"{renamed}: 12 records, all as they were written\n" in both.output
    assert f"{log}: 4 records, all as they were written\n" in both.output
    assert 1 == one.exit_code
    assert "record 12, the last one known to be written, is missing" in one.output


def test_one_file_can_be_checked_wherever_it_lies(log: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere.jsonl"
    copy.write_bytes(log.read_bytes())

    assert 0 == verify(log, f"--file={copy}").exit_code
    copy.write_bytes(b"nonsense\n" + log.read_bytes())
    told = verify(log, f"--file={copy}")
    assert 1 == told.exit_code
    assert "line 1: not as it was written" in told.output
