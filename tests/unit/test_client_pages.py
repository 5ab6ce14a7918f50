"""The pages on whose GPU it is and on ``joulestat run`` say what the code does."""

import re
from pathlib import Path

from joulestat.cli.run_energy import energy_line

CHECKOUT = Path(__file__).parents[2]
PAGES = CHECKOUT / "docs" / "training"
CODE = CHECKOUT / "exporter" / "joulestat"

OTHERS = {"CUDA_DEVICE_ORDER", "SO_PEERCRED"}
"""CUDA's own, and the kernel's."""


def test_every_variable_that_the_pages_name_is_read_and_every_one_that_is_read_is_named() -> None:
    files = [*CODE.glob("client/*.py"), CODE / "cli" / "run.py"]
    code = "".join(file.read_text(encoding="utf-8") for file in files)
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES.glob("*-*.md"))
    named = set(re.findall(r"`([A-Z]+_[A-Z_]+)", pages)) - OTHERS

    assert set() == {name for name in named if name not in code}
    assert set() == set(re.findall(r'"(JOULESTAT_[A-Z_]+)"', code)) - named


def test_the_page_on_any_command_shows_a_line_as_it_is_printed() -> None:
    line = energy_line("llama-ft-42", {"a": 9_000.0, "b": 3_400.0}, 71.3)

    assert f"\njoulestat: {line}\n" in (PAGES / "any-command.md").read_text(encoding="utf-8")
