"""What the tests of promises measured: gathered from a test run, kept as JSON."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from promises.table import SLUGS

PROMISE = "promise"
MEASURED = "measured"


@dataclass(frozen=True, slots=True)
class Result:
    """What one test of one promise came to.

    Attributes:
        promise: Slug of the promise.
        test: Path and name of the test.
        outcome: passed, failed or skipped.
        measured: What it measured, in words; empty where passing says it all.
    """

    promise: str
    test: str
    outcome: str
    measured: str


def mark_items(items: Iterable[pytest.Item]) -> None:
    """Write on every test of a promise which one it is, so that its report says so too.

    Raises:
        UsageError: A test names a promise that is not in the table.
    """
    for item in items:
        for marker in item.iter_markers(PROMISE):
            for slug in marker.args:
                if slug not in SLUGS:
                    raise pytest.UsageError(f"{item.nodeid}: no promise is called {slug!r}")
                item.user_properties.append((PROMISE, slug))


class Gatherer:
    """Gathers the reports of a run, from all of its workers, and writes them at its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._results: list[Result] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what a test of a promise came to; a set-up that fails or skips counts too."""
        if report.when != "call" and report.passed:
            return
        measured = "; ".join(str(text) for key, text in report.user_properties if key == MEASURED)
        self._results.extend(
            Result(str(slug), report.nodeid, report.outcome, measured)
            for key, slug in report.user_properties
            if key == PROMISE
        )

    def pytest_sessionfinish(self) -> None:
        """Write what was gathered."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps([asdict(each) for each in self._results], indent=1) + "\n")


def read(paths: Sequence[Path]) -> list[Result]:
    """Return the results of several runs; of one test, those of the last file that has it."""
    by_test: dict[tuple[str, str], Result] = {}
    for path in paths:
        for each in json.loads(path.read_text()):
            result = Result(**each)
            by_test[result.promise, result.test] = result
    return list(by_test.values())
