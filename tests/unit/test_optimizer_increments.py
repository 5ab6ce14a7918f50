"""What counters grew by: exact, whatever was missed, forgotten or seen twice."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulestat.optimizer.history.increments import (
    ENERGY_JOULES,
    STEP_SECONDS,
    STEPS,
    CounterKey,
    NodeTrack,
    Slice,
    slices_of,
)
from joulestat.optimizer.history.placement import nodes_of, present_placement, target_of
from joulestat.optimizer.history.promql import Point
from joulestat.optimizer.history.tracks import broken_evidence

WINDOW_START = 100.0


def track(steps: Mapping[int, Sequence[Point]], *, birth: float | None = 101.0) -> NodeTrack:
    """A node whose steps take 2 J and 0.5 s each."""
    node = NodeTrack("node0")
    for limit, points in steps.items():
        node.note((STEPS, limit), points)
        node.note((ENERGY_JOULES, limit), [(at, 2 * n) for at, n in points])
        node.note((STEP_SECONDS, limit), [(at, n / 2) for at, n in points])
        if birth is not None:
            node.note_births([(at, birth) for at, _ in points])
    return node


def no_raw(after: float, until: float) -> Mapping[CounterKey, Sequence[Point]]:
    raise AssertionError(f"nothing was reset between {after} and {until}")


def steps(slices: Sequence[Slice]) -> dict[int, float]:
    totals: dict[int, float] = {}
    for item in slices:
        totals[item.power_limit_watts] = totals.get(item.power_limit_watts, 0.0) + item.steps
        assert (item.joules, item.step_seconds) == (2 * item.steps, item.steps / 2)
    return totals


def test_the_first_value_counts_whole_if_the_run_was_born_inside_the_window() -> None:
    node = track({300: [(110, 5), (120, 8)]}, birth=WINDOW_START)

    assert {300: 8} == steps(slices_of(node, WINDOW_START, no_raw))


@pytest.mark.parametrize("birth", [WINDOW_START - 1, None])
def test_the_first_value_is_where_counting_starts_otherwise(birth: float | None) -> None:
    node = track({300: [(110, 5), (120, 8)]}, birth=birth)

    assert {300: 3} == steps(slices_of(node, WINDOW_START, no_raw))


def test_a_counter_that_appears_later_counts_whole() -> None:
    node = track({300: [(110, 5), (120, 8)], 200: [(120, 2), (130, 4)]}, birth=1.0)

    assert {300: 3, 200: 4} == steps(slices_of(node, WINDOW_START, no_raw))


def test_a_slice_spans_the_time_since_the_node_was_seen_or_born() -> None:
    node = track({300: [(110, 5), (120, 8)], 200: [(120, 2)]})

    assert [("node0", 300, 101, 110), ("node0", 200, 110, 120), ("node0", 300, 110, 120)] == [
        (item.node, item.power_limit_watts, item.start_seconds, item.end_seconds)
        for item in slices_of(node, WINDOW_START, no_raw)
    ]


def test_a_reset_is_read_again_sample_by_sample() -> None:
    # 8 at 120; then 9, 10, reset, 1, 4 at 130: 2 + 1 + 3 more.
    node = track({300: [(110, 5), (120, 8), (130, 4), (140, 6)]})
    asked = []

    def raw(after: float, until: float) -> Mapping[CounterKey, Sequence[Point]]:
        asked.append((after, until))
        points = [(122.0, 9.0), (124.0, 10.0), (126.0, 1.0), (130.0, 4.0)]
        return {
            (STEPS, 300): points,
            (ENERGY_JOULES, 300): [(at, 2 * n) for at, n in points],
            (STEP_SECONDS, 300): [(at, n / 2) for at, n in points],
        }

    assert {300: 8 + 6 + 2} == steps(slices_of(node, WINDOW_START, raw))
    assert [(120, 130)] == asked


def test_a_reset_that_no_counter_shows_is_told_by_the_runs_new_beginning() -> None:
    # Forgotten at 8 and up to 9 again before the next look: without the start's gauge, 1 step.
    node = track({300: [(110, 5), (120, 8), (130, 9)]})
    node.births[130] = 125.0
    points = [(126.0, 1.0), (130.0, 9.0)]

    assert {300: 8 + 9} == steps(
        slices_of(
            node,
            WINDOW_START,
            lambda *_: {
                (STEPS, 300): points,
                (ENERGY_JOULES, 300): [(at, 2 * n) for at, n in points],
                (STEP_SECONDS, 300): [(at, n / 2) for at, n in points],
            },
        )
    )


def test_a_counter_that_is_not_back_yet_after_a_reset_begins_at_nought() -> None:
    # At 120 the run is new and shows no counter; at 130 it has 9 steps, more than the 8 of before.
    node = track({300: [(110, 8)]})
    node.note_births([(120, 115.0)])
    for key, value in (((STEPS, 300), 9), ((ENERGY_JOULES, 300), 18), ((STEP_SECONDS, 300), 4.5)):
        node.note(key, [(130, value)])

    assert {300: 8 + 9} == steps(slices_of(node, WINDOW_START, lambda *_: {}))


def test_a_counter_that_a_reset_ended_is_not_counted_again_while_it_is_looked_back_at() -> None:
    node = track({200: [(110, 5), (120, 50), (130, 50), (140, 50), (150, 3)]})
    node.births |= {130: 125.0, 140: 125.0, 150: 125.0}

    # The scraper was away, too, so nothing marked the series' end: 50 is shown until it is back.
    assert {200: 53} == steps(slices_of(node, WINDOW_START, lambda *_: {}))


def test_of_two_scrapers_the_later_look_counts() -> None:
    node = track({300: [(110, 5), (120, 8)]})
    for key, factor in (((STEPS, 300), 1), ((ENERGY_JOULES, 300), 2), ((STEP_SECONDS, 300), 0.5)):
        node.note(key, [(110, 4 * factor), (120, 9 * factor)])

    assert {300: 9} == steps(slices_of(node, WINDOW_START, no_raw))


def test_a_scraper_that_lags_behind_is_no_reset() -> None:
    # The one ahead missed its scrape at 130; the other's last look, 8, is older than the 9 known.
    node = track({300: [(110, 5), (120, 9), (130, 8), (140, 12)]})

    assert {300: 12} == steps(slices_of(node, WINDOW_START, lambda *_: {}))


@given(
    growth=st.lists(st.tuples(st.sampled_from([180, 250, 300]), st.integers(0, 50)), max_size=40),
    missed=st.sets(st.integers(0, 40)),
)
@settings(deadline=None)
def test_whatever_looks_are_missed_nothing_is_lost_or_counted_twice(
    growth: list[tuple[int, int]], missed: set[int]
) -> None:
    totals: dict[int, float] = {}
    looks: dict[int, list[Point]] = {}
    last = len(growth) - 1
    for index, (limit, n_steps) in enumerate(growth):
        totals[limit] = totals.get(limit, 0.0) + n_steps
        if index not in missed or index == last:
            for known, total in totals.items():
                looks.setdefault(known, []).append((101.0 + index, total))
    node = track(looks)

    grown = steps(slices_of(node, WINDOW_START, no_raw))

    assert {limit: total for limit, total in totals.items() if total} == grown


@given(
    growth=st.lists(st.integers(0, 9), min_size=1, max_size=60),
    resets=st.sets(st.integers(1, 60), max_size=6),
    every=st.integers(1, 7),
)
@settings(deadline=None)
def test_whatever_is_forgotten_what_was_scraped_is_counted(
    growth: list[int], resets: set[int], every: int
) -> None:
    """A scrape each second, a look each ``every`` seconds, and counters that begin again."""
    samples: list[Point] = []
    value = total = 0.0
    for index, n_steps in enumerate(growth):
        # A reset counts only as one if it shows: see the test of the run's new beginning.
        if index in resets and value > n_steps:
            value = 0.0
        value += n_steps
        total += n_steps
        samples.append((101.0 + index, value))
    looks = [*samples[::every], samples[-1]]

    def raw(after: float, until: float) -> Mapping[CounterKey, Sequence[Point]]:
        inside = [point for point in samples if after < point[0] <= until]
        return {
            (STEPS, 300): inside,
            (ENERGY_JOULES, 300): [(at, 2 * n) for at, n in inside],
            (STEP_SECONDS, 300): [(at, n / 2) for at, n in inside],
        }

    # Looks too far apart may hide a reset; the exporter's new start of the run then shows it.
    node = track({300: looks})
    begun = 101.0
    for (_, low), (at, high) in pairwise(samples):
        begun = at if high < low else begun
        node.births.update({look: begun for look, _ in looks if look >= at})

    assert total == steps(slices_of(node, WINDOW_START, raw)).get(300, 0.0)


def test_targets_that_show_one_gpu_are_one_node() -> None:
    old, new, other = (target_of({"instance": name, "run": "r"}) for name in ("a", "b", "c"))
    nodes = nodes_of([old, new, other], {old: {"GPU-0"}, new: {"GPU-0"}, other: {"GPU-1"}})

    assert {old: "a", new: "a", other: "c"} == nodes


def test_targets_are_told_by_what_the_scrape_added() -> None:
    labels = {"__name__": "x", "run": "r", "phase": "train", "power_limit_watts": "300"}

    assert frozenset({("job", "j"), ("cluster", "east")}) == target_of(
        {**labels, "job": "j", "cluster": "east"}
    )


def work(node: str, *times: float) -> list[Slice]:
    return [Slice(node, 300, at - 10, at, 5.0, 10.0, 2.5) for at in times]


def test_a_node_that_was_left_does_not_count_beside_the_new_one() -> None:
    old, new = work("old", 100, 110), work("new", 2000, 2010)

    assert new == present_placement([*old, *new], 300.0)


def test_a_run_that_grew_counts_from_when_all_nodes_took_part() -> None:
    first, second = work("a", 100, 1000, 2000), work("b", 1000, 2000)
    kept = present_placement([*first, *second], 300.0)

    assert [("a", 2000), ("b", 2000)] == [(item.node, item.end_seconds) for item in kept]


def test_nodes_that_started_within_the_tolerance_count_from_the_beginning() -> None:
    both = [*work("a", 100, 400), *work("b", 130, 400)]

    assert both == present_placement(both, 300.0)


def test_steps_without_joules_are_broken_evidence() -> None:
    node = NodeTrack("node0")
    node.note((STEPS, 300), [(1, 1)])
    node.note((STEP_SECONDS, 300), [(1, 1)])

    assert ["node0 shows steps of the run, but no joulestat_run_energy_joules_total"] == (
        broken_evidence({"node0": node}, 1.0)
    )


@pytest.mark.parametrize(("last", "dark"), [(1000, 0), (800, 0), (600, 1), (99, 0)])
def test_a_node_that_goes_dark_while_the_run_goes_on_is_broken_evidence(
    last: float, dark: int
) -> None:
    tracks = {"a": track({300: [(0, 1), (1000, 9)]}), "b": track({300: [(0, 1), (last, 2)]})}

    assert dark == len(broken_evidence(tracks, 1.0))
