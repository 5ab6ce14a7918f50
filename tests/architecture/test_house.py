"""What a file of this house looks like."""

import ast
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PACKAGE = CHECKOUT / "exporter" / "joulestat"
MODULES = sorted(PACKAGE.rglob("*.py")) + sorted((CHECKOUT / "dashboards").rglob("*.py"))
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


def n_lines(path: Path) -> int:
    with path.open(encoding="utf-8") as lines:
        return sum(1 for _ in lines)


def test_a_file_is_short_enough_to_be_read_at_once() -> None:
    lengths = {place(source): n_lines(source) for source in SOURCES}

    assert {} == {source: lines for source, lines in lengths.items() if lines > LONGEST_FILE_LINES}


def test_a_file_says_what_it_is_in_its_first_line() -> None:
    assert [] == [
        place(module)
        for module in MODULES
        if not ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
    ]


def test_a_file_is_named_after_what_it_does() -> None:
    assert [] == [
        place(module)
        for module in MODULES
        if FORBIDDEN_NAMES
        & {part.removesuffix(".py") for part in module.relative_to(CHECKOUT).parts}
    ]


def test_nothing_is_named_emptily() -> None:
    named = {
        f"{place(module)}: {node.name}": node.name.lower()
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }

    assert [] == [
        where
        for where, name in named.items()
        if name in FORBIDDEN_NAMES or name.endswith(("manager", "helper", "utils"))
    ]
