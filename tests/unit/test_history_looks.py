"""When a run is looked at: seldom over weeks, often where something happened, never too often."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulestat.optimizer.history.increments import ENERGY_JOULES, STEP_SECONDS, STEPS, NodeTrack
from joulestat.optimizer.history.looks import (
    MOST_CELLS,
    MOST_COARSE_LOOKS,
    MOST_PARTS,
    MOST_RECENT_LOOKS,
    MOST_SPANS,
    Grid,
    cells_of,
    finer_grids,
    plan_looks,
)

DAY = 86_400.0


def n_looks(grid: Grid) -> int:
    return round((grid.end_seconds - grid.start_seconds) / grid.step_seconds) + 1


def times(grid: Grid) -> list[float]:
    return [grid.start_seconds + i * grid.step_seconds for i in range(n_looks(grid))]


@pytest.mark.parametrize(
    ("interval", "step"),
    [(None, 1), (0.997, 1), (14.3, 15), (15.0, 15), (16.7, 15), (30.0, 30), (300.0, 60)],
)
def test_a_short_run_is_looked_at_at_every_scrape(interval: float | None, step: float) -> None:
    plan = plan_looks(1_000.0, 1_400.0, 30, interval)

    assert (step, 0, ()) == (plan.step_seconds, plan.n_recent, plan.finer_steps_seconds)
    assert plan.grids(1_000.0)[0].start_seconds <= 1_000.0


@given(
    span=st.floats(1.0, 30 * DAY),
    n_series=st.integers(0, 20_000),
    interval=st.one_of(st.none(), st.floats(0.5, 120.0)),
)
@settings(deadline=None)
def test_however_long_a_run_is_it_is_looked_at_a_few_hundred_times(
    span: float, n_series: int, interval: float | None
) -> None:
    plan = plan_looks(0.0, span, n_series, interval)

    grids = plan.grids(0.0)
    assert sum(n_looks(grid) for grid in grids) <= MOST_COARSE_LOOKS + MOST_RECENT_LOOKS + 3
    assert all(grid.end_seconds == span for grid in grids)
    assert grids[0].start_seconds <= 0.0
    steps = [plan.step_seconds, *plan.finer_steps_seconds]
    assert all(finer <= coarse for coarse, finer in pairwise(steps))
    assert all(coarse / finer <= 300 for coarse, finer in pairwise(steps))


def test_thirty_days_are_looked_at_every_four_hours_and_the_last_hour_at_every_scrape() -> None:
    plan = plan_looks(0.0, 30 * DAY, 25, 15.0)

    grids = plan.grids(0.0)
    assert [16_335.0, 15.0] == [grid.step_seconds for grid in grids]
    assert [160, 241] == [n_looks(grid) for grid in grids]
    assert (495.0, 15.0) == plan.finer_steps_seconds


def looked_at(steps: dict[int, list[tuple[float, float]]], birth: float = 0.0) -> NodeTrack:
    """A node with these step counters by limit."""
    node = NodeTrack("node0")
    for limit, points in steps.items():
        for metric in (STEPS, STEP_SECONDS, ENERGY_JOULES):
            node.note((metric, limit), points)
        node.note_births([(at, birth) for at, _ in points])
    return node


def test_a_part_in_which_the_limit_changed_is_looked_into() -> None:
    steady = [(100.0 * i, 10.0 * min(i, 20)) for i in range(41)]
    other = [(100.0 * i, 10.0 * max(0, i - 19)) for i in range(41)]
    cells = cells_of([looked_at({300: steady, 200: other})], 0.0)

    assert [(1_900.0, 2_000.0)] == [(cell.start_seconds, cell.end_seconds) for cell in cells]


def test_a_limit_that_was_in_force_briefly_is_looked_into_first() -> None:
    steady = [(100.0 * i, 10.0 * i) for i in range(41)]
    brief = [(100.0 * i, 10.0 * (i > 7)) for i in range(41)]
    cells = cells_of([looked_at({300: steady, 200: brief})], 0.0)

    assert (700.0, 800.0) == (cells[0].start_seconds, cells[0].end_seconds)


def test_where_counters_were_forgotten_is_looked_into_before_all_else() -> None:
    fallen = [(100.0 * i, 10.0 * i if i < 30 else 10.0 * (i - 29)) for i in range(41)]
    brief = [(100.0 * i, 10.0 * (i > 7)) for i in range(41)]
    cells = cells_of([looked_at({300: fallen, 200: brief})], 0.0)

    assert [2_900.0, 700.0] == [cell.start_seconds for cell in cells[:2]]


def test_where_nodes_come_and_go_is_looked_into() -> None:
    old = looked_at({300: [(100.0 * i, 10.0 * min(i, 20)) for i in range(41)]})
    new = looked_at({300: [(100.0 * i, 10.0 * (i - 25)) for i in range(25, 41)]})
    urgent = [cell for cell in cells_of([old, new], 0.0) if cell.urgency[0] == 0]

    assert {0.0, 1_900.0, 2_500.0, 3_900.0} == {cell.start_seconds for cell in urgent}


@given(
    changes=st.lists(st.integers(1, 239), max_size=200),
    n_series=st.integers(1, 10_000),
)
@settings(deadline=None)
def test_whatever_happened_looking_into_it_has_a_bound(changes: list[int], n_series: int) -> None:
    coarse, finer, end = 10_800.0, 400.0, 240 * 10_800.0
    node = NodeTrack("node0")
    total = dict.fromkeys((300, 200), 0.0)
    for i in range(241):
        total[300 if sum(change <= i for change in changes) % 2 else 200] += 10.0
        node.note_births([(coarse * i, 0.0)])
        for limit, steps in total.items():
            node.note((STEPS, limit), [(coarse * i, steps)])
    grids = finer_grids(cells_of([node], 0.0), finer, end, n_series)

    assert len(grids) <= MOST_SPANS
    assert sum(n_looks(grid) for grid in grids) <= MOST_CELLS * MOST_PARTS + MOST_SPANS
    assert all(((end - at) / finer).is_integer() for grid in grids for at in times(grid))
