"""What a scrape costs before it leaves the process: a page of 8 GPUs and 4 runs."""

from collections.abc import Iterator
from dataclasses import replace

from measure import Row, microseconds_per_call
from prometheus_client.exposition import generate_latest

from fakes.snapshots import example_snapshot
from joulestat.domain.tariff import Tariff
from joulestat.exposition import Constants, ContentType, Exposition
from joulestat.exposition.collector import registry

CONSTANTS = Constants("0.1.0", "", "3.11", Tariff(0.31, "EUR", 380.0, "DE", 1.25))


def rows() -> Iterator[Row]:
    """Measure the writer on a new snapshot each time, from its cache, and the library."""
    exposition = Exposition(CONSTANTS)
    shown = example_snapshot()
    reference = registry(CONSTANTS, lambda: shown)
    page = exposition.render(shown, ContentType.TEXT)
    series = sum(not line.startswith(b"#") for line in page.splitlines())
    what = f"page of 8 GPUs and 4 runs, {series} series"

    def render_new() -> bytes:
        return exposition.render(replace(shown), ContentType.TEXT)

    yield Row(f"{what}: new snapshot", microseconds_per_call(render_new), "us", 1_000)
    yield Row(
        f"{what}: same snapshot",
        microseconds_per_call(lambda: exposition.render(shown, ContentType.TEXT)),
        "us",
        5,
    )
    yield Row(
        f"{what}: prometheus_client",
        microseconds_per_call(lambda: generate_latest(reference)),
        "us",
    )
    yield Row(f"{what}: size", len(page) / 1_000, "kB")
