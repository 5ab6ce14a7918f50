"""Every command that asks a query server has a clock, and with it a limit for a whole answer."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "exporter" / "joulestat"
CLIENT = "PrometheusClient"


def clients_made() -> dict[str, set[str | None]]:
    """Return where the package makes a client of a query server, and what it names then."""
    return {
        f"{module.relative_to(PACKAGE)}:{node.lineno}": {each.arg for each in node.keywords}
        for module in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == CLIENT
    }


def test_nobody_in_the_package_asks_a_query_server_without_a_clock() -> None:
    made = clients_made()

    assert made
    assert [] == [where for where, named in made.items() if "monotonic" not in named]
