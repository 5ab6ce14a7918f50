"""Whether the power limit changes anything."""

from dataclasses import replace

import pytest

from fakes.evidence import levels_of
from joulestat.optimizer.search.effect import (
    ABOVE_DRAW_RATIO,
    MOST_LOOKS,
    Change,
    change_of,
    has_no_effect,
    held_without_effect,
    probe_to_be_sure,
    without_effect,
)
from joulestat.optimizer.search.explore import Probe, Site, outlook_of
from joulestat.optimizer.search.objective import Energy, Reference

REFERENCE = Reference(300, 160.0, 1.0, total_limit_watts=300.0)
FLOOR = 120
SITE = Site(
    min_watts=float(FLOOR),
    current_watts=None,
    window_steps=120.0,
    visit_steps=0.0,
    steps_left=10_000.0,
    steps_done=1_000.0,
    tried_watts=frozenset({FLOOR}),
    known_watts=frozenset({300, FLOOR}),
)


def changed(joules: float, seconds: float, *, error: float = 1e-4, lowest: int = FLOOR) -> Change:
    """Ask about a run that draws 160 W at 300 W, and was measured at one lower limit."""
    levels = levels_of({300: (160.0, 1.0), lowest: (joules, seconds)}, seconds_error=error)
    change = change_of(levels, REFERENCE)
    assert change is not None
    return replace(change, steps=SITE.window_steps)


def known_without(change: Change, *, enough: set[int] | None = None) -> bool:
    return has_no_effect(change, REFERENCE, float(FLOOR), enough or {300, change.lowest_watts})


def test_the_lowest_limit_that_changes_nothing_shows_that_none_does() -> None:
    assert known_without(changed(160.5, 1.001))
    assert known_without(changed(160.5, 1.001, lowest=FLOOR + 5))


def test_a_limit_above_the_lowest_shows_nothing_of_those_below() -> None:
    assert not known_without(changed(160.0, 1.0, lowest=200))


@pytest.mark.parametrize(("joules", "seconds"), [(160.0, 1.03), (150.0, 1.0), (150.0, 0.97)])
def test_a_limit_that_changes_time_or_energy_has_an_effect(joules: float, seconds: float) -> None:
    assert not known_without(changed(joules, seconds))


def test_what_is_not_sure_is_not_said() -> None:
    assert not known_without(changed(160.0, 1.0, error=0.015))
    assert not known_without(changed(160.0, 1.0), enough={300})
    assert not has_no_effect(changed(160.0, 1.0), REFERENCE, None, {300, FLOOR})


def test_the_reference_alone_shows_no_effect_of_none() -> None:
    assert change_of(levels_of({300: (160.0, 1.0)}), REFERENCE) is None
    assert change_of(levels_of({200: (160.0, 1.0)}), REFERENCE) is None


def sure(change: Change, *, site: Site = SITE, back: float = 0.0) -> Probe | None:
    return probe_to_be_sure(change, REFERENCE, site, back)


def watts(probe: Probe | None) -> int | None:
    return None if probe is None else probe.power_limit_watts


def test_what_seems_to_change_nothing_is_looked_at_in_turns_with_the_reference() -> None:
    open_still = changed(160.0, 1.001, error=0.015)
    there = replace(SITE, current_watts=FLOOR)

    assert FLOOR == watts(sure(open_still))
    assert FLOOR == watts(sure(open_still, site=replace(there, visit_steps=119.0)))
    assert 300 == watts(sure(open_still, site=replace(there, visit_steps=120.0)))
    assert 300 == watts(sure(open_still, back=119.0))
    assert FLOOR == watts(sure(open_still, back=120.0))


def test_from_a_higher_limit_that_changes_nothing_it_goes_down() -> None:
    high = changed(160.0, 1.0, lowest=200)
    site = replace(SITE, known_watts=frozenset({300, 200}))

    assert 150 == watts(sure(high, site=site))
    assert sure(high) is None, "it was only looked at briefly"


def test_it_is_looked_at_only_where_that_may_show_something() -> None:
    assert sure(changed(160.0, 1.03, error=0.02)) is None, "it is not likely"
    short = replace(SITE, steps_left=MOST_LOOKS * SITE.window_steps - 1)
    assert sure(changed(160.0, 1.0, error=0.015), site=short) is None, "the run is over soon"
    done = replace(changed(160.0, 1.0, error=0.015), steps=MOST_LOOKS * SITE.window_steps)
    assert sure(done) is None, "it was looked at for long"


def test_where_gpus_draw_far_less_than_any_limit_only_proof_ends_it() -> None:
    unlikely = changed(160.0, 1.03, error=0.02)
    idle = replace(unlikely, draw_watts=FLOOR / ABOVE_DRAW_RATIO - 1)

    assert sure(unlikely) is None
    assert FLOOR == watts(sure(idle))
    assert sure(replace(idle, seconds_error=0.001)) is None


def test_the_reference_stays_unless_another_limit_is_clearly_better() -> None:
    levels = levels_of({300: (160.0, 1.0), FLOOR: (158.0, 1.0)})
    better = outlook_of(levels, REFERENCE, Energy(), 120.0, {300, FLOOR})
    unsure = levels_of({300: (160.0, 1.0), FLOOR: (158.0, 1.0)}, seconds_error=0.01)
    same = outlook_of(unsure, REFERENCE, Energy(), 120.0, {300, FLOOR})

    assert FLOOR == better.watts(held_without_effect(better))
    assert 300 == same.watts(held_without_effect(same))


def test_it_is_said_with_the_numbers() -> None:
    change = changed(160.8, 1.002, error=0.004)

    said = without_effect(change, 300, 300)
    assert "from 300 W down to 120 W time per step changes by +0.2 ± 0.6 %" in said
    assert "What little there is to gain is had at 120 W" in without_effect(change, 300, FLOOR)
