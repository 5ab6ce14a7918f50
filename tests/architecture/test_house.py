"""What a file of this house looks like."""

import ast
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PACKAGE = CHECKOUT / "exporter" / "joulestat"
MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = MODULES + sorted((CHECKOUT / "tests").rglob("*.py"))

LONGEST_FILE_LINES = 300

FORBIDDEN_NAMES = {
    "base",
    "common",
    "core",
    "data",
    "helper",
    "helpers",
    "manager",
    "misc",
    "util",
    "utils",
}
"""Names that say nothing, and so attract everything."""


def place(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


@pytest.mark.parametrize("source", SOURCES, ids=place)
def test_a_file_is_short_enough_to_be_read_at_once(source: Path) -> None:
    with source.open(encoding="utf-8") as lines:
        n_lines = sum(1 for _ in lines)

    assert n_lines <= LONGEST_FILE_LINES


@pytest.mark.parametrize("module", MODULES, ids=place)
def test_a_file_says_what_it_is_in_its_first_line(module: Path) -> None:
    assert ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))


@pytest.mark.parametrize("module", MODULES, ids=place)
def test_a_file_is_named_after_what_it_does(module: Path) -> None:
    assert set() == FORBIDDEN_NAMES & {
        part.removesuffix(".py") for part in module.relative_to(PACKAGE).parts
    }


@pytest.mark.parametrize("module", MODULES, ids=place)
def test_nothing_is_named_emptily(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    named = {
        node.name.lower()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }

    assert set() == FORBIDDEN_NAMES & named
    assert set() == {name for name in named if name.endswith(("manager", "helper", "utils"))}
