"""Blocks: spans of time under one limit, all nodes together, that can be compared."""

from dataclasses import replace
from itertools import pairwise

import pytest

from fakes.evidence import slices_of
from joulestat.optimizer.evidence.blocks import MAX_BLOCKS, Block, gather, whole
from joulestat.optimizer.history.facts import Slice

MEASURED = {300: (200.0, 1.0), 200: (160.0, 1.2), 150: (150.0, 1.5)}


def held(blocks: tuple[Block, ...], watts: int) -> list[Block]:
    return [block for block in blocks if block.power_limit_watts == watts]


def test_nothing_comes_of_nothing() -> None:
    gathered = gather([])

    assert ((), "steps", 0.0, 0.0) == (
        gathered.blocks,
        gathered.unit,
        gathered.thermal_seconds,
        gathered.all_seconds,
    )


def test_every_stay_at_a_limit_is_cut_by_itself() -> None:
    gathered = gather(slices_of([(300, 32), (200, 16), (300, 16)], MEASURED))

    assert [300, 200, 300] == [
        watts
        for index, watts in enumerate(b.power_limit_watts for b in gathered.blocks)
        if index == 0 or watts != gathered.blocks[index - 1].power_limit_watts
    ]
    assert {0, 2} == {block.visit for block in held(gathered.blocks, 300)}
    assert {1} == {block.visit for block in held(gathered.blocks, 200)}


def test_a_block_has_the_joules_and_seconds_of_its_steps() -> None:
    gathered = gather(slices_of([(300, 32), (200, 16)], MEASURED))

    for block in gathered.blocks:
        joules, seconds = MEASURED[block.power_limit_watts]
        assert joules == pytest.approx(block.joules_per_step)
        assert seconds == pytest.approx(block.seconds_per_step)


def test_no_step_is_lost_between_blocks() -> None:
    gathered = gather(slices_of([(300, 37), (200, 11)], MEASURED))

    assert 370 == pytest.approx(sum(block.steps for block in held(gathered.blocks, 300)))
    assert 110 == pytest.approx(sum(block.steps for block in held(gathered.blocks, 200)))


def test_blocks_follow_each_other_in_time() -> None:
    blocks = gather(slices_of([(300, 37), (200, 11)], MEASURED)).blocks

    assert all(one.end_seconds <= other.start_seconds for one, other in pairwise(blocks))


def test_long_stays_are_cut_more_coarsely_and_short_ones_still_cut() -> None:
    gathered = gather(slices_of([(300, 2000), (200, 10)], MEASURED))

    assert len(gathered.blocks) <= MAX_BLOCKS
    assert len(held(gathered.blocks, 200)) >= 8


def test_beyond_the_most_blocks_the_oldest_are_left_out() -> None:
    visits = [(watts, 1) for _ in range(MAX_BLOCKS) for watts in (300, 200)]
    blocks = gather(slices_of(visits, MEASURED)).blocks

    assert MAX_BLOCKS == len(blocks)
    assert 15.0 * len(visits) == blocks[-1].end_seconds


def test_a_limit_of_long_ago_is_still_compared_with() -> None:
    visits = [(300, 16)] + [(watts, 1) for _ in range(MAX_BLOCKS) for watts in (250, 200)]
    blocks = gather(slices_of(visits, {**MEASURED, 250: MEASURED[300]})).blocks

    assert {200, 250, 300} == {block.power_limit_watts for block in blocks}
    assert sorted(blocks, key=lambda block: block.end_seconds) == list(blocks)
    assert len(blocks) <= MAX_BLOCKS + 8


def test_joules_add_up_over_nodes_and_seconds_and_steps_do_not() -> None:
    both = slices_of([(300, 16)], {300: (2.0, 0.5)}) + slices_of(
        [(300, 16)], {300: (3.0, 0.6)}, node="b"
    )
    blocks = gather(both).blocks

    assert all(5.0 == pytest.approx(block.joules_per_step) for block in blocks)
    assert all(0.55 == pytest.approx(block.seconds_per_step) for block in blocks)
    assert 160 == pytest.approx(sum(block.steps for block in blocks))


def test_a_block_waits_until_every_node_has_made_a_step() -> None:
    slow = [
        replace(item, steps=10.0 * (index % 4 == 3))
        for index, item in enumerate(slices_of([(300, 16)], MEASURED, node="b"))
    ]
    blocks = gather(slices_of([(300, 16)], MEASURED) + slow).blocks

    assert 4 == len(blocks)
    # The slow node's energy per step is that of the four looks in which it made one.
    assert all(200.0 + 4 * 200.0 == pytest.approx(block.joules_per_step) for block in blocks)


def test_a_limit_that_one_node_never_stood_at_has_no_block() -> None:
    some = slices_of([(300, 16), (200, 8)], MEASURED) + slices_of([(300, 16)], MEASURED, node="b")

    assert [] == held(gather(some).blocks, 200)


def test_of_two_limits_in_one_look_the_one_in_force_before_comes_first() -> None:
    before, after = slices_of([(300, 8)], MEASURED), slices_of([(200, 8)], MEASURED)
    after = [
        replace(item, start_seconds=item.start_seconds + 105.0, end_seconds=item.end_seconds + 105)
        for item in after
    ]
    assert before[-1].end_seconds == after[0].end_seconds

    for items in (before + after, [*before[:-1], after[0], before[-1], *after[1:]]):
        assert [0, 1] == sorted({block.visit for block in gather(items).blocks})


def with_tokens(items: list[Slice], per_step: float, longer: float = 1.0) -> list[Slice]:
    return [
        replace(
            item,
            tokens=per_step * item.steps,
            joules=longer * item.joules,
            step_seconds=longer * item.step_seconds,
        )
        for item in items
    ]


def test_batches_of_unequal_length_do_not_look_like_an_effect_of_the_limit() -> None:
    items = slices_of([(300, 16), (200, 16)], {300: (200.0, 1.0), 200: (200.0, 1.0)})
    gathered = gather(with_tokens(items[:16], 100.0) + with_tokens(items[16:], 200.0, longer=2.0))

    assert "tokens" == gathered.unit
    # A mean step has 150 tokens, so 1.5 times the time and energy of one of 100 tokens.
    assert all(1.5 == pytest.approx(block.seconds_per_step) for block in gathered.blocks)
    assert all(300.0 == pytest.approx(block.joules_per_step) for block in gathered.blocks)


def test_tokens_that_are_not_known_throughout_are_not_counted_by() -> None:
    items = with_tokens(slices_of([(300, 16)], MEASURED), 100.0)
    items[3] = replace(items[3], tokens=None)

    assert "steps" == gather(items).unit
    assert "samples" == gather([replace(item, samples=32.0) for item in items]).unit


def test_time_in_which_heat_sets_the_pace_is_no_evidence_and_is_counted() -> None:
    items = slices_of([(300, 20)], MEASURED)
    hot = [
        replace(item, step_seconds=2 * item.step_seconds, thermal_ratio=0.3) for item in items[:5]
    ]
    cool = [replace(item, thermal_ratio=0.0) for item in items[5:]]
    gathered = gather(hot + cool)

    assert (100.0, 250.0) == (gathered.thermal_seconds, gathered.all_seconds)
    assert all(1.0 == pytest.approx(block.seconds_per_step) for block in gathered.blocks)


def test_all_of_it_can_be_one_block() -> None:
    items = slices_of([(300, 37)], MEASURED)
    block = whole(items, gather(items).reckoning)

    assert block is not None
    assert (370.0, 0.0, 555.0) == (block.steps, block.start_seconds, block.end_seconds)
