"""Every promise of the table is shown by a test, so that none is left out of the page unnoticed."""

import ast
from collections.abc import Iterator
from pathlib import Path

from promises.table import SLUGS

TESTS = Path(__file__).parents[1]
MARK = "pytest.mark.promise"


def slugs_shown() -> Iterator[str]:
    """Yield the promises that tests are marked with."""
    for file in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == MARK:
                yield from (str(ast.literal_eval(slug)) for slug in node.args)


def test_every_promise_has_a_test() -> None:
    assert set() == SLUGS - set(slugs_shown())
