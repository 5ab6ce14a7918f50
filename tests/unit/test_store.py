"""What was written is there after a crash; what cannot be trusted is put aside."""

from pathlib import Path

import pytest

from joulestat.domain.errors import StateError
from joulestat.runs.store import DocumentStore


def test_documents_survive_a_reopening(tmp_path: Path) -> None:
    store = DocumentStore(tmp_path / "ledger.sqlite")
    store.save({"run/a": "1", "run/b": "2"})
    store.save({"run/a": "3", "run/b": None})
    store.close()

    again = DocumentStore(tmp_path / "ledger.sqlite")

    assert again.load() == {"run/a": "3"}
    again.close()


def test_a_damaged_file_is_put_aside_and_an_empty_one_begun(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"not a database, but long enough to look at" * 50)

    store = DocumentStore(path)

    assert store.load() == {}
    assert (tmp_path / "ledger.sqlite.unusable").exists()
    store.close()


def test_a_second_exporter_on_the_same_state_is_refused(tmp_path: Path) -> None:
    store = DocumentStore(tmp_path / "ledger.sqlite")

    with pytest.raises(StateError, match="another joulestat"):
        DocumentStore(tmp_path / "ledger.sqlite")
    store.close()


def test_a_folder_that_cannot_be_made_is_refused_with_a_cure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StateError, match="--state-path"):
        DocumentStore(tmp_path / "file" / "state" / "ledger.sqlite")
