"""The command ``joulestat report``: what it refuses, and what it needs."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from joulestat.cli.report import report

NOWHERE = ("--prometheus.url", "http://127.0.0.1:9", "--run", "a")


def run(*arguments: str) -> Any:
    return CliRunner().invoke(report, arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--run", "a"), "give --prometheus.url"),
        (NOWHERE[:2], "--run"),
        ((*NOWHERE, "--carbon.grams-per-kwh", "1", "--carbon.promql", "x"), "give one of"),
        ((*NOWHERE, "--carbon.grams-per-kwh", "-1"), "-1"),
        ((*NOWHERE, "--carbon.csv-column", "g"), "belongs to --carbon.csv"),
        ((*NOWHERE, "--carbon.csv", "/nonexistent.csv"), "does not exist"),
        ((*NOWHERE, "--pue", "0.9"), "0.9"),
        ((*NOWHERE, "--training-type", "training"), "fine-tuning"),
        ((*NOWHERE, "--at", "2026-11-23T14:00:00"), "has no time zone"),
        ((*NOWHERE, "--prometheus.user", "kim"), "go together"),
        ((*NOWHERE, "--match", "cluster"), "NAME=VALUE"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_cure(
    arguments: tuple[str, ...], says: str
) -> None:
    result = run(*arguments)

    assert 2 == result.exit_code
    assert says in result.output


def test_a_server_that_does_not_answer_is_one_clear_line() -> None:
    result = run(*NOWHERE)

    assert 1 == result.exit_code
    assert 1 == len(result.output.splitlines())
    assert "check the URL and that it runs" in result.output


def test_a_file_that_is_no_csv_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    grid = tmp_path / "grid.csv"
    grid.write_text("time,g\nyesterday,1\n")
    result = run(*NOWHERE, "--carbon.csv", str(grid))

    assert 1 == result.exit_code
    assert "row 2: 'yesterday' is not a time" in result.output


def test_without_the_hubs_library_the_extra_is_named_and_all_else_works() -> None:
    program = (
        "import sys; sys.modules['huggingface_hub'] = None\n"
        "from joulestat.cli import main\n"
        f"sys.argv = ['joulestat', 'report', *{NOWHERE}, *sys.argv[1:]]\n"
        "main()\n"
    )
    with_card, without = (
        subprocess.run(
            [sys.executable, "-c", program, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        for arguments in (("--model-card", "README.md"), ())
    )

    assert "pip install 'joulestat[model-card]'" in with_card.stderr
    assert "gave no answer" in without.stderr
