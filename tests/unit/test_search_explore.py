"""Which limit to measure next, if any is worth the time."""

from dataclasses import replace

import pytest

from fakes.evidence import levels_of
from joulestat.optimizer.evidence.levels import Levels
from joulestat.optimizer.search.explore import (
    GRID_WATTS,
    LOWER_RATIO,
    MOST_PROBES,
    USUAL_PROBES,
    Probe,
    Site,
    first_probe,
    floor_watts,
    next_probe,
    outlook_of,
)
from joulestat.optimizer.search.objective import Cost, Energy, Objective, Reference, Slowdown

REFERENCE = Reference(300, 200.0, 1.0, total_limit_watts=300.0)
SITE = Site(
    min_watts=100.0,
    current_watts=None,
    window_steps=120.0,
    visit_steps=0.0,
    steps_left=10_000.0,
    steps_done=1_000.0,
    tried_watts=frozenset(),
)
CURVE = {300: (200.0, 1.0), 200: (160.0, 1.1), 150: (175.0, 1.4)}


def probed(
    levels: Levels, objective: Objective | None = None, *, site: Site = SITE
) -> Probe | None:
    outlook = outlook_of(
        levels, REFERENCE, objective or Energy(), site.min_watts, set(levels.limits_watts)
    )
    return next_probe(outlook, levels, site)


@pytest.mark.parametrize(
    ("reference_watts", "min_watts", "expected"),
    [(300, 100.0, 120), (300, 203.0, 205), (700, 200.0, 280), (305, 100.0, 125)],
)
def test_nothing_is_tried_below_two_fifths_of_the_reference_or_what_the_devices_accept(
    reference_watts: int, min_watts: float, expected: int
) -> None:
    assert expected == floor_watts(reference_watts, min_watts)


def test_the_first_look_is_well_below_the_reference() -> None:
    probe = first_probe(levels_of({300: (300.0, 1.0)}), REFERENCE, Slowdown(1.05), SITE)

    assert 210 == probe.power_limit_watts
    assert "first look well below the reference of 300 W" == probe.reason


def test_the_first_look_is_below_what_the_gpus_draw() -> None:
    """Two GPUs draw 180 W each: a limit of 210 W would do nothing."""
    levels = levels_of({300: (360.0, 1.0)})
    probe = first_probe(levels, replace(REFERENCE, n_gpus=2), Slowdown(1.05), SITE)

    assert 160 == probe.power_limit_watts


def test_the_first_look_keeps_to_what_may_be_tried() -> None:
    levels = levels_of({300: (60.0, 1.0)})

    assert 120 == first_probe(levels, REFERENCE, Energy(), SITE).power_limit_watts
    high = replace(SITE, min_watts=203.0)
    assert 205 == first_probe(levels, REFERENCE, Energy(), high).power_limit_watts


def test_limits_looked_at_are_multiples_of_five_between_the_floor_and_the_reference() -> None:
    levels = levels_of(CURVE)
    limits = outlook_of(levels, REFERENCE, Energy(), 103.0, set(CURVE)).posterior.limits_watts

    assert all(watts % GRID_WATTS == 0 for watts in limits)
    assert 120 == min(limits)
    assert 300 == max(limits)


def test_no_step_down_is_longer_than_a_quarter() -> None:
    levels = levels_of({300: (200.0, 1.0), 250: (170.0, 1.0)})
    limits = outlook_of(levels, REFERENCE, Energy(), 50.0, {250, 300}).posterior.limits_watts

    assert min(limits) >= LOWER_RATIO * 250 - GRID_WATTS / 2


def test_without_knowing_how_low_the_devices_go_nothing_lower_is_looked_at() -> None:
    levels = levels_of(CURVE)

    assert 150 == min(
        outlook_of(levels, REFERENCE, Energy(), None, set(CURVE)).posterior.limits_watts
    )


def test_limits_close_to_a_measured_one_are_as_good_as_measured() -> None:
    limits = outlook_of(
        levels_of(CURVE), REFERENCE, Energy(), 100.0, set(CURVE)
    ).posterior.limits_watts

    assert 295 not in limits
    assert 290 in limits
    assert all(abs(one - other) >= 5 for one in limits for other in CURVE if one != other)


def test_the_next_look_is_where_a_better_limit_is_likely() -> None:
    probe = probed(levels_of(CURVE))

    assert probe is not None
    assert 150 < probe.power_limit_watts < 300
    assert "a better one than 200 W is likely" in probe.reason


def test_the_next_look_goes_down_where_the_lowest_limit_is_the_best() -> None:
    probe = probed(levels_of({300: (200.0, 1.0), 250: (170.0, 1.01)}))

    assert probe is not None
    assert 185 <= probe.power_limit_watts < 250
    assert "near the lowest limit measured" in probe.reason


def test_a_run_that_is_nearly_over_is_left_alone() -> None:
    assert probed(levels_of(CURVE), site=replace(SITE, steps_left=20.0)) is None


def test_a_run_of_days_is_tuned_finer_than_one_of_an_hour() -> None:
    known = levels_of({300: (200.0, 1.0), 240: (172.0, 1.05), 200: (160.0, 1.12)})
    short = probed(known, Cost(0.5), site=replace(SITE, steps_left=300.0))
    days = probed(known, Cost(0.5), site=replace(SITE, steps_left=1e6))

    assert short is None
    assert days is not None


def test_a_close_decision_is_looked_at_again_and_says_so() -> None:
    """At 240 W and 200 W the energy is the same, and known to 2 % only."""
    levels = levels_of(
        {300: (200.0, 1.0), 240: (160.5, 1.1), 200: (160.0, 1.2), 150: (200.0, 1.9)},
        watts_error=0.02,
        step_scatter=0.02,
    )
    tried = replace(SITE, tried_watts=frozenset(range(200, 205 + USUAL_PROBES)))
    probe = probed(levels, site=tried)

    assert probe is not None
    assert probe.power_limit_watts in levels.limits_watts
    assert "too close to" in probe.reason


def test_what_was_just_given_up_for_the_held_limit_is_not_gone_back_to_at_once() -> None:
    levels = levels_of(
        {300: (200.0, 1.0), 240: (160.5, 1.1), 200: (160.0, 1.2), 150: (200.0, 1.9)},
        watts_error=0.02,
        step_scatter=0.02,
    )
    tried = replace(SITE, tried_watts=frozenset(range(200, 205 + USUAL_PROBES)))
    again = probed(levels, site=replace(tried, in_force_watts=200))
    at_once = probed(levels, site=replace(tried, in_force_watts=200, left_watts=240))
    elsewhere = probed(levels, site=replace(tried, in_force_watts=150, left_watts=240))

    assert again is not None
    assert 240 == again.power_limit_watts
    assert at_once is None or 240 != at_once.power_limit_watts
    assert again == elsewhere


def test_after_the_usual_number_of_probes_only_what_was_measured_is_looked_at_again() -> None:
    tried = frozenset({150, 160, 170, 180, 190})
    probe = probed(levels_of(CURVE), site=replace(SITE, tried_watts=tried))

    assert probe is None or probe.power_limit_watts in CURVE


def test_a_long_run_may_try_more_limits_but_not_without_end() -> None:
    long = replace(SITE, steps_done=1e6, steps_left=1e6)
    some = replace(long, tried_watts=frozenset(range(150, 151 + USUAL_PROBES)))
    many = replace(long, tried_watts=frozenset(range(150, 150 + MOST_PROBES)))
    more, end = probed(levels_of(CURVE), site=some), probed(levels_of(CURVE), site=many)

    assert more is not None
    assert more.power_limit_watts not in CURVE
    assert end is None or end.power_limit_watts in CURVE


def test_a_look_outside_the_bound_has_to_gain_more() -> None:
    """With a bound of 1.05 nothing as slow as 200 W is looked at again, or anything below it."""
    probe = probed(levels_of({300: (200.0, 1.0), 200: (150.0, 1.2)}), Slowdown(1.05))

    assert probe is not None
    assert 200 < probe.power_limit_watts < 300
