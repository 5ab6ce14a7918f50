"""The history has a size: whoever floods it with runs costs old ones, never those that go on."""

from pathlib import Path
from typing import Any

import pytest

from fakes.histories import BEGIN_SECONDS, KeptNode, sums
from joulestat.config.kinds import size, size_text
from joulestat.runs.history.reader import HistoryReader

MOST_BYTES = 256 * 1024
FLUSH_LOOKS = 5
N_LOOKS = 60
RUNS_PER_LOOK = 40
OLD_STEPS = 100
STILL_KNOWN_LOOKS = 40
"""After these, the keeper still knows the counters of a run that is not in the file any more."""


@pytest.fixture
def node(tmp_path: Path) -> KeptNode:
    return KeptNode(tmp_path, most_bytes=MOST_BYTES)


def flood(node: KeptNode, first_look: int, n_looks: int = N_LOOKS) -> list[str]:
    """Let a run go on while others come and go, each of a name of its own; return their names."""
    names = []
    for at in range(first_look, first_look + n_looks):
        new = [f"mad-{at:05}-{number:03}" for number in range(RUNS_PER_LOOK)]
        for name in new:
            node.begin(name, at - 0.5, gpus=(1,))
            node.grow(name)
            node.end(name, at - 0.1)
        node.grow("r")
        node.look(at)
        for name in new:
            del node.cells[name]
        names += new
        if at % FLUSH_LOOKS == 0:
            node.keeper.flush()
    node.keeper.flush()
    return names


def kept_runs(node: KeptNode) -> list[str]:
    """Return the names of all runs in the file."""
    reader, names, after = HistoryReader(node.path), [], ""
    while True:
        page = reader.runs(BEGIN_SECONDS + 1e6, after)
        names += [run.run for run in page.runs]
        if page.next_after is None:
            return names
        after = page.next_after


@pytest.mark.promise("push-bounded")
def test_runs_of_ever_new_names_take_no_more_than_the_size_and_nothing_of_a_run_that_goes_on(
    node: KeptNode, record_property: Any
) -> None:
    node.look(0)
    node.begin("old", 0.5)
    node.begin("r", 0.5)
    for at in range(1, OLD_STEPS + 1):
        node.grow("old")
        node.train("r", [at])
    node.end("old", OLD_STEPS + 1)
    names = flood(node, OLD_STEPS + 2)

    page, kept = node.page("r"), kept_runs(node)
    node.keeper.close()

    steps = OLD_STEPS + N_LOOKS
    assert {("train", "250"): (steps, steps * 10**9, steps * 10**8, steps * 32, 0)} == sums(page)
    assert [steps] == [total.steps for total in page.totals]
    # Those that ended last, and no others.
    assert [*names[len(names) - len(kept) + 1 :], "r"] == kept
    assert len(names) / 10 < len(kept) < len(names) / 2
    file_bytes = node.path.stat().st_size
    assert file_bytes < 1.5 * MOST_BYTES
    assert 0 == node.keeper.failures
    record_property(
        "measured",
        f"{len(names)} runs in a history of {MOST_BYTES // 1024} KiB: {len(kept)} kept, "
        f"{file_bytes // 1024} KiB on the disk, every row of the run that went on is there",
    )


def test_where_no_run_is_over_the_oldest_rows_go_and_the_counters_stay(node: KeptNode) -> None:
    node.begin("r", 0.0)
    limits = [str(watts) for watts in range(100, 140)]
    n_looks = 200
    for at in range(n_looks):
        for limit in limits:
            node.grow("r", limit)
        node.look(at * 15.0)
        if at % FLUSH_LOOKS == 0:
            node.keeper.flush()

    page = node.page("r")
    node.keeper.close()

    kept = sorted({row.end_seconds - BEGIN_SECONDS for row in page.rows})
    assert [15.0 * at for at in range(n_looks - len(kept), n_looks)] == kept
    assert n_looks / 4 < len(kept) < n_looks
    assert {n_looks} == {total.steps for total in page.totals}
    assert node.path.stat().st_size < 1.5 * MOST_BYTES


def test_a_run_that_was_dropped_and_grows_again_counts_whole(node: KeptNode) -> None:
    node.look(0)
    node.begin("old", 0.5)
    node.begin("r", 0.5)
    node.train("old", range(1, 11))
    node.end("old", 11)
    node.look(11)
    cells, births = node.cells.pop("old"), node.births["old"]
    flood(node, 12, STILL_KNOWN_LOOKS)
    gone = "old" not in kept_runs(node)

    node.cells["old"], node.births["old"] = cells, births
    node.grow("old")
    node.look(12 + STILL_KNOWN_LOOKS)

    assert gone
    assert [11] == [total.steps for total in node.page("old").totals]
    assert 0 == node.keeper.failures


def test_a_full_history_is_told_once_an_hour(
    node: KeptNode, caplog: pytest.LogCaptureFixture
) -> None:
    node.begin("r", 0.0)
    flood(node, 1)
    flood(node, 1 + N_LOOKS)

    told = [each.getMessage() for each in caplog.records if "history_full" in each.getMessage()]
    assert 1 == len(told)
    assert "history.max-size" in told[0]


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("1GiB", 2**30), ("1536MiB", 1536 * 2**20), ("2048KiB", 2**21), ("1048577", 2**20 + 1)],
)
def test_a_size_is_written_and_shown_as_people_write_it(text: str, size_bytes: int) -> None:
    assert size_bytes == size(2**20, 2**40).parse(text)
    assert text.replace("2048KiB", "2MiB") == size_text(size_bytes)


@pytest.mark.parametrize("text", ["", "GiB", "1 GiB", "1GB", "-1GiB", "1.5GiB", "512KiB", "2TiB1"])
def test_what_is_no_size_or_too_small_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        size(2**20, 2**40).parse(text)
