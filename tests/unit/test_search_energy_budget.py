"""Whether a run finishes on its energy budget: told of what is decided, and never guessed."""

from dataclasses import replace

import pytest

from fakes.campaign import points_of
from joulestat.domain.plan import Action, BudgetForecast, Decision, Window
from joulestat.optimizer.evidence.profile import Minimum, Profile
from joulestat.optimizer.history.facts import Limits, RunHistory
from joulestat.optimizer.search.case import reference_of
from joulestat.optimizer.search.choose import choose
from joulestat.optimizer.search.energy_budget import FROM_OPTION, with_forecast
from joulestat.optimizer.search.objective import Cost, Energy, Objective, Slowdown

MEASURED = {300: (200.0, 0.50), 250: (180.0, 0.51), 200: (160.0, 0.54), 180: (158.0, 0.60)}
"""Joules and seconds per step, measured within 0.1 %."""
SPENT_JOULES = 300_000.0
STEPS_LEFT = 1_000
KWH = 3.6e6


def a_run(joules_per_step: float | None, **known: object) -> RunHistory:
    """1,000 steps are left, and so much energy for each; None is a run without a budget."""
    history = RunHistory(
        "llama",
        window=Window(1000.0, 2000.0),
        gpu_uuids=("GPU-0", "GPU-1"),
        limits=Limits(reference_watts=300, current_watts=300, min_watts=100.0, max_watts=350.0),
        live=True,
        fresh=True,
        planned_steps=2_000,
        steps_done=1_000.0,
        joules_spent=SPENT_JOULES,
        energy_budget_joules=None
        if joules_per_step is None
        else SPENT_JOULES + STEPS_LEFT * joules_per_step,
    )
    return replace(history, **known)  # type: ignore[arg-type]


def decided(
    history: RunHistory,
    objective: Objective | None = None,
    measured: dict[int, tuple[float, float]] = MEASURED,
) -> Decision:
    objective = objective or Slowdown(1.05)
    decision = choose(
        history,
        Profile(points_of(measured)),
        objective,
        minimum=Minimum(steps=30, seconds=60.0),
        explore=False,
    )
    return with_forecast(decision, history, objective)


def forecast(history: RunHistory, objective: Objective | None = None) -> BudgetForecast:
    budget = decided(history, objective).budget
    assert budget is not None
    return budget


def test_a_run_that_finishes_within_its_budget_is_told_so_with_what_it_will_have_used() -> None:
    budget = forecast(a_run(190.0))

    assert (True, 250, None) == (budget.finishes, budget.power_limit_watts, budget.instead)
    assert SPENT_JOULES + STEPS_LEFT * 180.0 == pytest.approx(budget.expected_joules, rel=1e-4)
    assert (
        "At 250 W the run finishes within its energy budget: 0.1333 kWh of 0.1361 kWh, 98.0 %."
        == budget.reason
    )


def test_where_the_bound_is_what_prevents_it_the_limit_that_would_is_named_with_its_price() -> None:
    """250 W is the least energy within 5 %; 200 W would do, at 8 %."""
    budget = forecast(a_run(161.0))

    assert budget.instead is not None
    assert (False, False) == (budget.finishes, budget.instead.within_bound)
    assert 200 <= budget.instead.power_limit_watts <= 205
    assert 1.075 <= budget.instead.slowdown_ratio <= 1.081
    assert "At 250 W the run needs more than its energy budget: 0.1333 kWh" in budget.reason
    assert "would keep it with" in budget.reason
    assert "is slower than the objective allows" in budget.reason


def test_a_wider_bound_makes_the_run_finish() -> None:
    assert not forecast(a_run(161.0), Slowdown(1.05)).finishes
    assert forecast(a_run(161.0), Slowdown(1.1)).finishes


def test_where_no_limit_that_is_known_would_do_that_is_told_with_the_one_that_takes_least() -> None:
    budget = forecast(a_run(150.0))

    assert (False, None) == (budget.finishes, budget.instead)
    assert "No limit that is known surely keeps it; 18" in budget.reason


@pytest.mark.parametrize("joules_per_step", [None, 100.0, 161.0, 190.0, 500.0])
def test_a_budget_never_changes_what_is_decided(joules_per_step: float | None) -> None:
    without = decided(a_run(None))

    assert without.budget is None
    assert without == replace(decided(a_run(joules_per_step)), budget=None)


def test_what_evaluations_take_goes_on_being_taken() -> None:
    """A tenth of what was spent went into evaluations: 30 J for each step to come."""
    evaluating = a_run(190.0, other_joules_spent=SPENT_JOULES / 10)
    budget = forecast(evaluating)

    assert SPENT_JOULES + STEPS_LEFT * 210.0 == pytest.approx(budget.expected_joules, rel=1e-4)
    assert not budget.finishes
    point = points_of(MEASURED)[0]
    left = [reference_of(run, point).joules_left for run in (a_run(190.0), evaluating)]
    assert [190_000.0, 160_000.0] == pytest.approx(left)


def test_what_lies_within_the_error_is_too_close_to_tell() -> None:
    decision = decided(a_run(None))
    points = tuple(replace(point, joules_per_step_stderr=2.0) for point in decision.points)
    unsure = with_forecast(
        replace(decision, points=points, curve=()), a_run(181.0), Slowdown(1.05)
    ).budget

    assert unsure is not None
    assert unsure.finishes is None
    assert "comes too close to its energy budget to tell" in unsure.reason
    assert "± 0.4 %" in unsure.reason


@pytest.mark.parametrize(
    ("known", "says"),
    [
        ({"planned_steps": None}, "give planned_steps to joulestat.init"),
        ({"steps_done": None}, "how many steps it plans is not known"),
        ({"joules_spent": None}, "what it has used so far is not known"),
    ],
)
def test_what_is_not_known_is_said_and_not_guessed(known: dict[str, object], says: str) -> None:
    budget = forecast(a_run(190.0, **known))

    assert (None, None, None) == (budget.finishes, budget.expected_joules, budget.instead)
    assert says in budget.reason


def test_a_run_that_was_not_measured_is_not_told_anything_of_its_end() -> None:
    history = a_run(190.0)
    budget = decided(history, measured={}).budget

    assert budget is not None
    assert (None, 300) == (budget.finishes, budget.power_limit_watts)
    assert "what a step takes at 300 W is not measured" in budget.reason


def test_without_advice_it_is_told_for_the_limit_that_the_run_goes_on_at() -> None:
    decision = decided(a_run(190.0), measured={300: MEASURED[300]})

    assert decision.action is Action.NONE
    assert decision.budget is not None
    assert (False, 300) == (decision.budget.finishes, decision.budget.power_limit_watts)
    assert "No other limit that is known takes less." in decision.budget.reason


def test_a_budget_that_is_used_up_is_told_whatever_else_is_unknown() -> None:
    budget = forecast(a_run(190.0, joules_spent=KWH, planned_steps=None))

    assert budget.finishes is False
    assert "The energy budget of 0.1361 kWh is used up: 1 kWh." == budget.reason


def test_a_run_that_is_over_has_finished_on_what_it_used() -> None:
    over, done = forecast(a_run(190.0, ended=True)), forecast(a_run(190.0, steps_done=2_500.0))

    for budget in (over, done):
        assert (True, SPENT_JOULES) == (budget.finishes, budget.expected_joules)
    assert over.reason.startswith("The run is over, and was within the energy budget: 0.08333 kWh")
    assert done.reason.startswith("All planned steps are made, within the energy budget: 0.08333")


def test_an_objective_without_a_bound_prefers_another_limit_and_prevents_nothing() -> None:
    budget = forecast(a_run(161.0), Cost(0.0))

    assert budget.instead is not None
    assert (300, False, None) == (
        budget.power_limit_watts,
        budget.finishes,
        budget.instead.within_bound,
    )
    assert forecast(a_run(159.0), Energy()).finishes


def test_a_budget_that_was_given_is_told_from_one_that_the_run_has() -> None:
    given = with_forecast(decided(a_run(None)), a_run(190.0), Slowdown(1.05), FROM_OPTION).budget

    assert given is not None
    assert ("run", "option") == (forecast(a_run(190.0)).source, given.source)
