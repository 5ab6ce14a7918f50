"""Writes docs/promises.md from the results of test runs: ``python -m promises.page FILES``."""

import sys
from collections.abc import Sequence
from itertools import chain, groupby
from pathlib import Path

from promises.promise import Promise
from promises.results import Result, read
from promises.table import CHAPTERS

PAGE = Path(__file__).parents[2] / "docs" / "promises.md"

INTRODUCTION = """\
# What is promised, and what was measured

<!-- Written by `make promises` from the results of the tests; not by hand. -->

A service that can slow down a company's training must be the safest thing on its node. Each row
is a promise with its figure, and what tests of this repository measured when the page was written,
on a shared 2-core machine without a GPU, over stand-ins for the drivers. `make promises` runs them
all, in about an hour, and writes the page anew; `make test` runs a short version of each. What
is out of scope, and who may do what, is in [Security](SECURITY.md).
"""

HEADING = "| promise | figure | measured | shown by |"


def page(results: Sequence[Result]) -> str:
    """Return the page."""
    lines = [INTRODUCTION]
    for title, chapter in CHAPTERS:
        lines += [
            f"## {title}",
            "",
            "| promise | figure | measured | shown by |",
            "|---|---|---|---|",
        ]
        lines += [_row(promise, results) for promise in chapter]
        lines.append("")
    return "\n".join(lines)


def _row(promise: Promise, results: Sequence[Result]) -> str:
    found = sorted(
        (each for each in results if each.promise == promise.slug), key=lambda each: each.test
    )
    cells = (promise.sentence, promise.figure, _measured(found), _tests(found))
    return f"| {' | '.join(cells)} |"


def _measured(found: Sequence[Result]) -> str:
    if not found:
        return "**not measured**"
    texts = dict.fromkeys(each.measured for each in found if each.measured)
    passed = sum(each.outcome == "passed" for each in found)
    counted = "; ".join(
        f"**{how_many} {outcome}**"
        for outcome in ("failed", "skipped")
        if (how_many := sum(each.outcome == outcome for each in found))
    )
    tests = f"{passed} test{'' if passed == 1 else 's'} passed"
    return "; ".join(filter(None, (*texts, counted, tests)))


def _tests(found: Sequence[Result]) -> str:
    files = (file for file, _ in groupby(each.test.partition("::")[0] for each in found))
    return ", ".join(f"[{Path(file).stem}](../{file})" for file in files)


def main(arguments: Sequence[str]) -> int:
    """Write the page; exit 1 where a promise was broken or not measured."""
    results = read([Path(each) for each in arguments])
    PAGE.write_text(page(results))
    measured = {each.promise for each in results if each.outcome == "passed"}
    promises = chain.from_iterable(chapter for _, chapter in CHAPTERS)
    missing = [each.slug for each in promises if each.slug not in measured]
    broken = [each.test for each in results if each.outcome == "failed"]
    for text, what in (("not measured", missing), ("broken", broken)):
        if what:
            print(f"{text}: {', '.join(what)}", file=sys.stderr)
    return 1 if missing or broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
