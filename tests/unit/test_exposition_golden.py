"""Pages of the example, byte for byte: what a change to the metrics changes is in the diff."""

import subprocess
from pathlib import Path

import pytest

from fakes.snapshots import example_snapshot
from golden.written import CHECKOUT, assert_is_as_written
from joulestat.domain.tariff import Tariff
from joulestat.exposition import Constants, ContentType, Exposition

GOLDEN = CHECKOUT / "tests" / "golden"
CONSTANTS = Constants("0.1.0", "abc1234", "3.11.7", Tariff(0.31, "EUR", 380.0, "DE", 1.25))


@pytest.mark.parametrize(
    ("name", "content"),
    [("metrics.txt", ContentType.TEXT), ("metrics.openmetrics", ContentType.OPENMETRICS)],
)
def test_the_page_of_the_example_is_as_it_was(name: str, content: ContentType) -> None:
    assert_is_as_written(GOLDEN / name, Exposition(CONSTANTS).render(example_snapshot(), content))


@pytest.mark.prometheus
def test_promtool_finds_nothing_wrong_with_the_page() -> None:
    page = Path(GOLDEN / "metrics.txt").read_bytes()

    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=page, capture_output=True, check=False
    )

    assert (0, b"", b"") == (checked.returncode, checked.stdout, checked.stderr)
