"""Who may import whom, and when: the contracts that import-linter holds, and what it cannot see."""

import ast
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PACKAGE = CHECKOUT / "exporter" / "joulestat"
MODULES = sorted(PACKAGE.rglob("*.py"))

IMPORT_BY_NAME = {"devices/probe.py", "cli/__init__.py"}
"""The two places that import by name at run time: a vendor's backend, a subcommand."""

READ_THE_CLOCK = {"client/outbox.py", "cli/clocks.py"}
"""Everything else is given the time, but for rooms that are about it."""

ROOMS_OF_CLOCKS = ("loops/", "demo/")
"""The server's edge, and the demo, which is a program of its own."""

THREAD_STARTERS = {"threading.Thread", "threading.Timer", "_thread.start_new_thread"}

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


def imported_modules(tree: ast.Module) -> set[str]:
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
    return modules


def names_used(tree: ast.Module) -> set[str]:
    """Dotted names that are read, bare names, and names imported one by one, as ``module.name``."""
    used = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            used.add(ast.unparse(node))
        elif isinstance(node, ast.ImportFrom):
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


def test_no_import_hides_in_a_function() -> None:
    hidden = {place(module): imports_inside_functions(parse(module)) for module in MODULES}

    assert {} == {module: lines for module, lines in hidden.items() if lines}


def test_only_two_places_import_by_name() -> None:
    by_name = {"importlib.import_module", "__import__"}

    assert IMPORT_BY_NAME == {
        place(module) for module in MODULES if names_used(parse(module)) & by_name
    }


def test_only_the_loops_the_outbox_and_the_demo_read_the_clock() -> None:
    reading = {
        place(module): names_used(parse(module)) & CLOCK_CALLS
        for module in MODULES
        if place(module) not in READ_THE_CLOCK and not place(module).startswith(ROOMS_OF_CLOCKS)
    }

    assert {} == {module: calls for module, calls in reading.items() if calls}


def test_only_the_loops_and_the_outbox_start_threads() -> None:
    starting = {place(module) for module in MODULES if names_used(parse(module)) & THREAD_STARTERS}

    assert {"client/outbox.py"} == {each for each in starting if not each.startswith("loops/")}


def test_the_client_stands_on_the_ground_alone() -> None:
    for module in sorted((PACKAGE / "client").rglob("*.py")):
        for name in imported_modules(parse(module)):
            room = name.partition("joulestat.")[2].partition(".")[0]
            allowed = (
                room in ("client", "domain")
                if name.startswith("joulestat.")
                else name == "joulestat" or name.partition(".")[0] in sys.stdlib_module_names
            )
            assert allowed, f"{place(module)} imports {name}"


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
