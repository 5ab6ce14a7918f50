"""Which limit is best as far as is known, and what another look may gain."""

import numpy as np
import pytest

from fakes.evidence import levels_of
from joulestat.optimizer.evidence.levels import Levels
from joulestat.optimizer.evidence.posterior import believe
from joulestat.optimizer.search.gains import gains
from joulestat.optimizer.search.goals import StayWithin
from joulestat.optimizer.search.objective import Cost, Energy, Objective, Reference, Slowdown
from joulestat.optimizer.search.outlook import Outlook, look

BASE = Reference(300, 100.0, 1.0, total_limit_watts=300.0)


def outlook_on(
    levels: Levels, objective: Objective, *, reference: Reference = BASE, grid: tuple[int, ...] = ()
) -> Outlook:
    return look(believe(levels, grid), objective, reference, set(levels.limits_watts))


def best_of(
    measured: dict[int, tuple[float, float]],
    objective: Objective,
    *,
    reference: Reference = BASE,
    **errors: float,
) -> int:
    outlook = outlook_on(levels_of(measured, **errors), objective, reference=reference)
    return outlook.watts(outlook.best)


def test_slowdown_takes_the_least_energy_and_not_the_lowest_limit() -> None:
    assert 200 == best_of({300: (100.0, 1.0), 200: (70.0, 1.03), 150: (75.0, 1.04)}, Slowdown(1.05))


def test_slowdown_leaves_out_what_is_too_slow() -> None:
    measured = {300: (100.0, 1.0), 250: (90.0, 1.04), 200: (70.0, 1.06)}

    assert 250 == best_of(measured, Slowdown(1.05))
    assert 200 == best_of(measured, Slowdown(1.1))


def test_slowdown_keeps_its_bound_even_one_standard_error_worse() -> None:
    """The errors of both sides make 1 % together; 4.5 % slower is half of it below the bound."""
    measured = {300: (100.0, 1.0), 250: (90.0, 1.045)}

    assert 300 == best_of(measured, Slowdown(1.05), seconds_error=0.007)
    assert 250 == best_of(measured, Slowdown(1.06), seconds_error=0.007)


def test_the_reference_is_allowed_however_badly_it_is_known() -> None:
    assert 300 == best_of({300: (100.0, 1.0)}, Slowdown(1.01), seconds_error=0.2)


def test_limits_without_evidence_enough_are_not_held() -> None:
    levels = levels_of({300: (100.0, 1.0), 250: (90.0, 1.0), 200: (70.0, 1.0)})
    outlook = look(believe(levels, []), Energy(), BASE, {250, 300})

    assert 250 == outlook.watts(outlook.best)


def test_limits_that_were_not_measured_are_not_held() -> None:
    levels = levels_of({300: (100.0, 1.0), 200: (70.0, 1.3)})
    outlook = outlook_on(levels, Slowdown(1.05), grid=(230, 260, 280))

    assert 300 == outlook.watts(outlook.best)


def test_of_limits_equal_within_their_error_the_higher_wins() -> None:
    measured = {300: (100.0, 1.0), 250: (80.02, 1.0), 200: (80.0, 1.0)}

    assert 250 == best_of(measured, Energy(), watts_error=0.002)


def test_limits_further_apart_than_a_tie_are_no_tie_however_wide_their_error() -> None:
    """A wide error is a reason to look again, not to give energy away."""
    measured = {300: (100.0, 1.0), 250: (81.0, 1.0), 200: (80.0, 1.0)}

    assert 200 == best_of(measured, Energy(), watts_error=0.02)


def test_limits_known_to_differ_are_no_tie_however_close() -> None:
    measured = {300: (100.0, 1.0), 250: (80.1, 1.0), 200: (80.0, 1.0)}

    assert 200 == best_of(measured, Energy(), watts_error=1e-5, seconds_error=1e-5)


def test_an_energy_budget_bounds_what_a_step_may_cost() -> None:
    """90 J a step are left: the fastest limit that keeps to it is 200 W."""
    reference = Reference(
        300, 100.0, 1.0, total_limit_watts=300.0, steps_left=100.0, joules_left=9_000.0
    )
    measured = {300: (100.0, 1.0), 250: (93.0, 1.02), 200: (86.0, 1.05), 150: (80.0, 1.2)}

    assert 200 == best_of(measured, StayWithin(), reference=reference)


def test_the_reference_stays_where_no_limit_keeps_the_energy_budget() -> None:
    reference = Reference(
        300, 100.0, 1.0, total_limit_watts=300.0, steps_left=100.0, joules_left=0.0
    )

    assert 300 == best_of({300: (100.0, 1.0), 200: (86.0, 1.05)}, StayWithin(), reference=reference)


def test_a_reference_outside_the_energy_budget_is_no_reason_to_stop_looking() -> None:
    """Nothing measured keeps to 80 J a step. Lower limits cost time, and are worth it."""
    reference = Reference(
        300, 100.0, 1.0, total_limit_watts=300.0, steps_left=100.0, joules_left=8_000.0
    )
    levels = levels_of({300: (100.0, 1.0), 200: (85.0, 1.05)})
    outlook = outlook_on(levels, StayWithin(), reference=reference, grid=(150,))
    found = gains(outlook, levels, np.full(3, 100.0))

    assert 300 == outlook.watts(outlook.best)
    assert not outlook.allowed[outlook.best]
    assert found[0] > 0.01


def gains_of(levels: Levels, objective: Objective, grid: tuple[int, ...] = ()) -> dict[int, float]:
    outlook = outlook_on(levels, objective, grid=grid)
    count = len(outlook.posterior.limits_watts)
    found = gains(outlook, levels, np.full(count, 100.0))
    return dict(zip(outlook.posterior.limits_watts, found.tolist(), strict=True))


MEASURED = {300: (100.0, 1.0), 200: (80.0, 1.05), 150: (95.0, 1.5)}


def test_no_look_costs_by_what_it_may_show() -> None:
    found = gains_of(levels_of(MEASURED), Cost(0.5), (170, 220, 250, 280))

    assert all(gain >= 0 for gain in found.values())


def test_what_is_surely_worse_gains_nothing() -> None:
    found = gains_of(levels_of(MEASURED), Energy(), (190, 210, 280))

    assert found[150] < 1e-6
    assert found[280] < 1e-6
    assert max(found[190], found[210]) > 1e-3


def test_what_is_surely_too_slow_gains_nothing() -> None:
    found = gains_of(levels_of({300: (100.0, 1.0), 200: (60.0, 1.3)}), Slowdown(1.05), (290,))

    assert 0.0 == pytest.approx(found[200], abs=1e-9)
    assert found[290] > 0.01


def test_a_look_gains_more_the_less_is_known() -> None:
    vague = gains_of(levels_of(MEASURED, seconds_error=0.02, watts_error=0.02), Energy())
    sure = gains_of(levels_of({**MEASURED, 150: (81.0, 1.05)}), Energy())

    assert vague[300] >= sure[300]
    assert sure[150] < 1e-3


def test_a_look_that_is_too_noisy_to_tell_gains_less() -> None:
    measured = {300: (100.0, 1.0), 250: (81.0, 1.0), 200: (80.0, 1.0)}
    sharp = gains_of(levels_of(measured, watts_error=0.01, step_scatter=0.01), Energy())
    blurred = gains_of(levels_of(measured, watts_error=0.01, step_scatter=2.0), Energy())

    assert blurred[250] < sharp[250] / 3
