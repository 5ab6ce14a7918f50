"""What a run did is kept by phase, limit and time; whatever happens, not a microjoule differs."""

from pathlib import Path

import pytest

from fakes.histories import BEGIN_SECONDS, KeptNode, sums
from fakes.node import gpu_uuid
from joulestat.domain.run import Phase
from joulestat.runs.history.reader import HistoryReader
from joulestat.runs.history.records import LimitRecord


@pytest.fixture
def node(tmp_path: Path) -> KeptNode:
    return KeptNode(tmp_path)


def started(node: KeptNode, run: str = "r") -> KeptNode:
    node.look(0)
    node.begin(run, 0.5)
    return node


def test_intervals_of_one_limit_are_merged_into_rows_of_fifteen_seconds(node: KeptNode) -> None:
    started(node).train("r", range(1, 46))

    page = node.page()

    assert [0, 15, 30, 45] == [row.window_seconds - BEGIN_SECONDS for row in page.rows]
    assert [14, 15, 15, 1] == [row.steps for row in page.rows]
    assert [(0.5, 14), (14, 29), (29, 44), (44, 45)] == [
        (row.start_seconds - BEGIN_SECONDS, row.end_seconds - BEGIN_SECONDS) for row in page.rows
    ]
    assert {("train", "250"): (45, 45 * 10**9, 4500 * 10**6, 45 * 32, 0)} == sums(page)


def test_limits_and_phases_never_share_a_row(node: KeptNode) -> None:
    started(node)
    node.train("r", [1, 2])
    node.train("r", [3], limit="transition")
    node.train("r", [4, 5], limit="200")
    node.grow("r", "200", phase=Phase.EVAL)
    node.look(6)

    rows = node.page().rows

    assert {
        ("train", "250"): 2,
        ("train", "transition"): 1,
        ("train", "200"): 2,
        ("eval", "200"): 1,
    } == {(row.phase, row.power_limit_watts): row.steps for row in rows}
    assert 4 == len(rows)


def test_wider_windows_add_up_the_same_rows(node: KeptNode) -> None:
    started(node).train("r", range(1, 100))
    node.keeper.flush()

    page = HistoryReader(node.path).history("r", 0.0, BEGIN_SECONDS + 100, window_seconds=60)

    assert [(0, 59), (60, 40)] == [
        (row.window_seconds - BEGIN_SECONDS, row.steps) for row in page.rows
    ]
    assert sums(node.page()) == sums(page)


def test_pages_together_are_the_whole(node: KeptNode) -> None:
    started(node)
    for at in range(1, 300):
        node.train("r", [at], limit="250" if at % 2 else "200")
    whole = node.page().rows
    reader = HistoryReader(node.path, rows_per_page=5)

    rows, start, pages = [], 0.0, 0
    while start is not None:
        page = reader.history("r", start, BEGIN_SECONDS + 300)
        rows, start, pages = rows + list(page.rows), page.next_start_seconds, pages + 1

    assert list(whole) == rows
    assert pages > 5


def test_nothing_later_than_the_moment_asked_about_is_looked_at(node: KeptNode) -> None:
    started(node).train("r", range(1, 46))
    node.leased.add(0)
    node.limits_watts[0] = 200.0
    node.train("r", range(46, 61), limit="200")

    page = node.page(end=44)

    assert {("train", "250"): (44, 44 * 10**9, 4400 * 10**6, 44 * 32, 0)} == sums(page)
    assert [(44, 4400 * 10**6)] == [(t.steps, t.energy_uj) for t in page.totals if t.steps]
    (device,) = page.devices
    assert [(250.0, None)] == [(each.enforced_watts, each.target_watts) for each in device.limits]
    assert BEGIN_SECONDS + 44 == page.node.beat_seconds


def test_limits_are_kept_with_the_lease_that_held_them(node: KeptNode) -> None:
    started(node).train("r", [1, 2])
    node.leased.add(0)
    node.limits_watts[0] = 200.0
    node.train("r", [3, 4])

    (device,) = node.page().devices

    at = BEGIN_SECONDS
    assert (
        LimitRecord(at, at + 2.999, 250.0, None),
        LimitRecord(at + 3, at + 4, 200.0, 200.0),
    ) == device.limits
    assert ("Tesla V100", 300.0, 100.0, 300.0) == (
        device.model,
        device.default_watts,
        device.min_watts,
        device.max_watts,
    )


def test_a_run_holds_its_devices_until_it_is_over_and_shares_them(node: KeptNode) -> None:
    started(node)
    node.begin("other", 1.0, gpus=(0, 1))
    node.train("r", [1, 2, 3])
    held = node.page()
    node.end("r", 3.5)
    node.look(4)
    over = node.page()

    assert (True, (gpu_uuid(0),), ("other",)) == (
        held.is_held,
        tuple(device.gpu_uuid for device in held.devices),
        held.shared_with,
    )
    assert held.run is not None
    assert over.run is not None
    assert [False] == [spell.is_over for spell in held.run.spells]
    assert [True] == [spell.is_over for spell in over.run.spells]
    assert (False, (gpu_uuid(0),), ("other",)) == (
        over.is_held,
        tuple(device.gpu_uuid for device in over.devices),
        over.shared_with,
    )
    earlier = node.page(end=2)
    assert earlier.run is not None
    assert (True, [False]) == (earlier.is_held, [s.is_over for s in earlier.run.spells])


def test_a_run_that_ends_out_of_sight_keeps_its_last_interval(node: KeptNode) -> None:
    started(node).train("r", [1, 2])
    node.grow("r")
    node.end("r", 2.5)
    node.look(3, without=["r"])

    page = node.page()

    assert 3 == sum(row.steps for row in page.rows)
    assert page.run is not None
    assert page.run.spells[-1].is_over


def test_heat_is_kept_as_time_out_of_the_time_it_was_watched(node: KeptNode) -> None:
    started(node).train("r", [1, 2, 3])
    node.slowed[0] = True
    node.train("r", [4, 5])
    node.slowed[0] = None
    node.train("r", [6, 7])

    (row,) = node.page().rows

    assert (2_000, 4_000) == (row.slowed_ms, row.watched_ms)


def test_a_counter_from_before_the_file_begins_to_count_where_the_file_does(
    node: KeptNode,
) -> None:
    node.begin("r", -500)
    node.grow("r", steps=70)
    node.look(0)
    node.train("r", [1, 2])

    page = node.page()

    assert 2 == sum(row.steps for row in page.rows)
    assert 72 == sum(total.steps for total in page.totals)


def test_a_crash_loses_no_joule_only_when_the_last_ones_were_spent(node: KeptNode) -> None:
    started(node).train("r", range(1, 20))
    node.keeper.flush()
    node.train("r", range(20, 23))
    node.start()

    node.train("r", range(40, 43))

    rows = node.page().rows
    assert 25 == sum(row.steps for row in rows)
    last = rows[-1]
    assert (19, 42, 6) == (
        last.start_seconds - BEGIN_SECONDS,
        last.end_seconds - BEGIN_SECONDS,
        last.steps,
    )


def test_a_run_that_ended_with_the_last_look_before_a_crash_is_not_left_out(node: KeptNode) -> None:
    started(node).look(10.0007)
    node.keeper.flush()
    node.begin("short", 10)
    node.grow("short")
    node.end("short", 10.0007)

    node.start()
    node.look(11)

    assert [1] == [total.steps for total in node.page("short").totals]


def test_counters_of_an_older_ledger_are_waited_for(node: KeptNode) -> None:
    started(node).train("r", range(1, 10))
    node.keeper.flush()
    node.start()
    node.begin("r", 0.5)
    node.train("r", range(10, 22))

    assert {("train", "250"): (12, 12 * 10**9, 1200 * 10**6, 12 * 32, 0)} == sums(node.page())


def test_a_run_that_was_forgotten_begins_anew_and_its_totals_go_on(node: KeptNode) -> None:
    started(node).train("r", [1, 2, 3])
    node.begin("r", 3.5)
    node.train("r", [4, 5])

    page = node.page()

    assert 5 == sum(row.steps for row in page.rows)
    assert 5 == sum(total.steps for total in page.totals)
    assert page.run is not None
    assert BEGIN_SECONDS + 0.5 == page.run.start_seconds


def test_what_is_older_than_the_retention_goes_with_runs_that_are_over(tmp_path: Path) -> None:
    node = KeptNode(tmp_path, retention_seconds=3600.0)
    started(node, "old").train("old", range(1, 30))
    node.end("old", 30)
    node.look(30)
    node.begin("r", 40)
    node.train("r", range(41, 100))
    for at in range(100, 8000, 9):
        node.train("r", [at])
        if at % 10 == 0:
            node.keeper.flush()

    assert node.page("old").run is None
    page = node.page("r")
    assert page.rows[0].end_seconds > BEGIN_SECONDS + 3_600
    assert 59 + 878 == sum(total.steps for total in page.totals)
    node.start()
    node.look(8001)
    assert node.page("old").run is None


def test_a_clock_that_is_set_back_costs_no_joule(node: KeptNode) -> None:
    started(node).train("r", range(1, 40))
    node.train("r", range(-20, 35))

    assert 94 == sum(row.steps for row in node.page().rows)


def test_runs_are_listed_in_pages_as_of_a_moment(node: KeptNode) -> None:
    started(node, "a")
    node.begin("b", 5)
    node.train("a", [1, 2])
    node.keeper.flush()
    reader = HistoryReader(node.path)

    assert ["a"] == [run.run for run in reader.runs(BEGIN_SECONDS + 3).runs]
    assert ["b"] == [run.run for run in reader.runs(BEGIN_SECONDS + 9, after="a").runs]
    (run,) = reader.runs(BEGIN_SECONDS + 3).runs
    assert ("llama", ("Tesla V100",)) == (run.job, run.gpu_models)
