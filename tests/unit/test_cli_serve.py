"""``joulestat serve`` before anything is served."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from joulestat.cli.serve import read_config, serve


def without_a_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_a_user_without_a_home_is_served_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Path, "home", without_a_home)

    assert tmp_path == read_config(None, {"state_path": str(tmp_path)}).state_path


def test_a_bad_flag_is_one_clear_line_and_exit_two() -> None:
    refused = CliRunner().invoke(serve, ["--admin.max-ttl", "1s"])

    assert refused.exit_code == 2
    assert refused.output.startswith("joulestat: --admin.max-ttl")
    assert "from 5s to 7d" in refused.output
