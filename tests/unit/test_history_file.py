"""The history file: damaged, full, deleted, read while it is written, and after its exporter."""

import sqlite3
from pathlib import Path

import pytest

from fakes.histories import BEGIN_SECONDS, KeptNode, sums
from joulestat.domain.errors import StateError
from joulestat.runs.history.reader import HistoryReader


@pytest.fixture
def node(tmp_path: Path) -> KeptNode:
    return KeptNode(tmp_path)


def started(node: KeptNode, run: str = "r") -> KeptNode:
    node.look(0)
    node.begin(run, 0.5)
    return node


def test_a_damaged_file_is_put_aside_once_and_a_new_one_begun(
    node: KeptNode, caplog: pytest.LogCaptureFixture
) -> None:
    node.path.write_bytes(b"not a database, but long enough to look at" * 50)
    started(node).train("r", range(1, 20))

    assert 19 == sum(row.steps for row in node.page().rows)
    assert node.path.with_name("history.sqlite.unusable").exists()
    assert 1 == caplog.text.count("event=history_moved_aside")


def test_a_file_of_another_version_is_put_aside_too(node: KeptNode) -> None:
    with sqlite3.connect(node.path) as other:
        other.execute("PRAGMA user_version=99")
    other.close()
    started(node).train("r", [1])

    assert 1 == sum(row.steps for row in node.page().rows)
    assert node.path.with_name("history.sqlite.unusable").exists()


def test_a_file_that_was_deleted_is_begun_anew(node: KeptNode) -> None:
    started(node).train("r", range(1, 20))
    node.keeper.flush()
    for suffix in ("", "-wal", "-shm"):
        node.path.with_name(node.path.name + suffix).unlink()
    node.train("r", range(20, 30))

    # The first look into the new file is where counting starts.
    assert 9 == sum(row.steps for row in node.page().rows)


def test_a_disk_that_takes_nothing_is_logged_once_counted_and_made_up_for(
    node: KeptNode, caplog: pytest.LogCaptureFixture
) -> None:
    started(node).train("r", range(1, 4))
    node.keeper.flush()
    with sqlite3.connect(node.path) as other:
        other.execute(
            "CREATE TRIGGER full BEFORE INSERT ON uptime"
            " BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    for at in range(4, 40, 4):
        node.train("r", range(at, at + 4))
        node.keeper.flush()
    failures = node.keeper.failures
    with sqlite3.connect(node.path) as other:
        other.execute("DROP TRIGGER full")
    other.close()

    assert 9 == failures
    assert 1 == caplog.text.count("event=history_save_failed")
    assert {("train", "250"): (39, 39 * 10**9, 3900 * 10**6, 39 * 32, 0)} == sums(node.page())


def test_a_folder_that_is_gone_hurts_no_tick_and_is_counted(node: KeptNode) -> None:
    node.path.parent.rename(node.path.parent.with_name("elsewhere"))
    started(node).train("r", [1, 2])

    node.keeper.flush()
    node.keeper.flush()
    assert 2 == node.keeper.failures
    node.path.parent.with_name("elsewhere").rename(node.path.parent)
    assert 2 == sum(row.steps for row in node.page().rows)


def test_a_reader_sees_one_state_of_the_file_while_it_is_written(node: KeptNode) -> None:
    started(node).train("r", [1, 2])
    before = node.page()
    reader = sqlite3.connect(f"file:{node.path}?mode=ro", uri=True, isolation_level=None)
    reader.execute("BEGIN")
    assert (2,) == reader.execute("SELECT sum(steps) FROM interval").fetchone()

    node.train("r", [3, 4])
    after = node.page()

    assert (2,) == reader.execute("SELECT sum(steps) FROM interval").fetchone()
    reader.close()
    assert (2, 4) == tuple(sum(row.steps for row in page.rows) for page in (before, after))
    assert 0 == node.keeper.failures


def test_a_file_is_read_after_its_exporter_is_gone(node: KeptNode) -> None:
    started(node).train("r", [1, 2])
    node.keeper.close()

    assert not node.path.with_name("history.sqlite-wal").exists()
    page = HistoryReader(node.path).history("r", 0.0, BEGIN_SECONDS + 9_000)
    assert 2 == sum(row.steps for row in page.rows)
    assert BEGIN_SECONDS + 2 == page.node.beat_seconds


@pytest.mark.parametrize("content", [None, b"", b"not a database" * 99])
def test_what_is_no_history_file_is_refused_with_a_cure(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "history.sqlite"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(StateError, match=r"history\.sqlite (cannot be read|is of schema 0)"):
        HistoryReader(path).runs(BEGIN_SECONDS)
