"""Who may import whom, and when: the contracts that import-linter holds, and what it cannot see."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PACKAGE = CHECKOUT / "exporter" / "joulestat"
MODULES = sorted(PACKAGE.rglob("*.py"))

IMPORT_BY_NAME = {"devices/probe.py", "cli/__init__.py"}
"""The two places that import by name at run time: a vendor's backend, a subcommand."""

READ_THE_CLOCK = {"loops.py", "client/outbox.py"}
"""Everything else is given the time; the demo, which is a program of its own, may read it too."""

CLOCK_CALLS = {
    "time.clock_gettime",
    "time.clock_gettime_ns",
    "time.monotonic",
    "time.monotonic_ns",
    "time.perf_counter",
    "time.perf_counter_ns",
    "time.sleep",
    "time.time",
    "time.time_ns",
    "datetime.now",
    "datetime.today",
    "datetime.utcnow",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "date.today",
    "datetime.date.today",
}


def place(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


def parse(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"), filename=str(module))


def imports_inside_functions(tree: ast.Module) -> list[int]:
    return sorted(
        {
            node.lineno
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for node in ast.walk(function)
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
    )


def names_used(tree: ast.Module) -> set[str]:
    """Dotted names that are read, and names imported one by one, as ``module.name``."""
    used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            used |= {f"{node.module}.{alias.name}" for alias in node.names}
    return used


def test_a_room_imports_only_what_its_floor_allows() -> None:
    contracts = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert 0 == contracts.returncode, contracts.stdout + contracts.stderr


@pytest.mark.parametrize("module", MODULES, ids=place)
def test_no_import_hides_in_a_function(module: Path) -> None:
    assert [] == imports_inside_functions(parse(module))


@pytest.mark.parametrize("module", MODULES, ids=place)
def test_only_two_places_import_by_name(module: Path) -> None:
    used = names_used(parse(module))

    if "importlib.import_module" in used:
        assert place(module) in IMPORT_BY_NAME
    assert "__import__" not in module.read_text(encoding="utf-8")


@pytest.mark.parametrize("module", MODULES, ids=place)
def test_only_the_loops_the_outbox_and_the_demo_read_the_clock(module: Path) -> None:
    if place(module) in READ_THE_CLOCK or place(module).startswith("demo"):
        return

    assert set() == names_used(parse(module)) & CLOCK_CALLS


@pytest.mark.parametrize("module", sorted((PACKAGE / "client").rglob("*.py")), ids=place)
def test_the_client_stands_on_the_ground_alone(module: Path) -> None:
    imported = {
        name
        for node in ast.walk(parse(module))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    rooms = {name for name in imported if name.split(".")[0] == "joulestat"}

    assert set() == {
        name
        for name in rooms
        if name != "joulestat" and name.split(".")[1] not in ("client", "domain")
    }
    assert set() == {name.split(".")[0] for name in imported - rooms} - sys.stdlib_module_names - {
        "joulestat"
    }


def python(program: str) -> str:
    """Run a program in a fresh interpreter, and return what it printed."""
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    ).stdout


def test_importing_joulestat_loads_only_the_standard_library() -> None:
    loaded = python(
        "import sys; before = set(sys.modules); import joulestat; "
        "print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    )

    assert {"joulestat"} == set(loaded.split()) - sys.stdlib_module_names


def test_importing_joulestat_costs_a_training_script_next_to_nothing() -> None:
    # CPU time, because wall time on a busy machine says nothing; the best of three, because the
    # first may have to compile. asyncio or an HTTP framework would each show.
    program = "import time; t = time.process_time(); import joulestat; print(time.process_time()-t)"

    assert min(float(python(program)) for _ in range(3)) < 0.15
