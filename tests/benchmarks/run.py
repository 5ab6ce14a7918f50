"""Run the benches and print one table: ``make bench``, or ``make bench ARGS="scrape push"``.

A bench is a file ``bench_<subject>.py`` in this folder with a function ``rows()`` that measures
and yields ``measure.Row``s. A bench that cannot run here raises ``SystemExit("why")``.
"""

import argparse
import importlib
import math
import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path

from measure import Row
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
WIDTH_IN_FILES = 110
SUBJECTS = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def subjects_asked_for() -> list[str]:
    """The subjects named on the command line, or all."""
    parser = argparse.ArgumentParser(description="Measure what the parts cost.")
    parser.add_argument("subject", nargs="*", help=f"one of: {', '.join(SUBJECTS)}")
    asked: list[str] = parser.parse_args().subject
    if unknown := sorted(set(asked) - set(SUBJECTS)):
        parser.error(f"no such bench: {', '.join(unknown)}; there are: {', '.join(SUBJECTS)}")
    return asked or SUBJECTS


def measure(subject: str) -> Iterable[Row]:
    """Run one bench."""
    rows: Iterable[Row] = importlib.import_module(f"bench_{subject}").rows()
    return rows


def cells(row: Row) -> tuple[str, str, str, str]:
    """One row as text: what, value, unit, goal."""
    return row.what, figure(row.value), row.unit, "" if row.goal is None else f"{row.goal:,g}"


def figure(value: float) -> str:
    """Four digits that mean something, and no exponent: 0.3126, 39.83, 11,010."""
    decimals = 3 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:,.{max(0, decimals)}f}"


def main() -> None:
    """Measure, then print the table."""
    subjects = subjects_asked_for()
    sys.path.insert(0, str(HERE.parent))
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH_IN_FILES
    console.print(
        f"Python {platform.python_version()}, {os.cpu_count()} CPUs, load "
        f"{os.getloadavg()[0]:.1f} (a busy machine adds time; ratios are steadier)"
    )
    table = Table()
    table.add_column("bench")
    table.add_column("what")
    table.add_column("measured", justify="right")
    table.add_column("unit")
    table.add_column("goal", justify="right")
    for subject in subjects:
        with console.status(f"measuring {subject}"):
            try:
                for row in measure(subject):
                    table.add_row(subject, *cells(row))
            except SystemExit as cannot:
                table.add_row(subject, f"cannot run here: {cannot}", "", "", "")
    console.print(table)


if __name__ == "__main__":
    main()
