"""From history to a decision: when to probe, when to hold, and when to say nothing."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.campaign import points_of
from joulestat.domain.plan import Action, Decision, Expected, OperatingPoint, Window
from joulestat.optimizer.evidence.profile import Minimum, Profile
from joulestat.optimizer.history.facts import Limits, RunHistory
from joulestat.optimizer.search.choose import choose
from joulestat.optimizer.search.goals import FinishBy, Money, StayWithin
from joulestat.optimizer.search.objective import Cost, Objective, Slowdown

MINIMUM = Minimum(steps=30, seconds=60.0)
LIMITS = Limits(reference_watts=300, current_watts=300, min_watts=100.0, max_watts=350.0)
LIVE = RunHistory(
    "llama",
    window=Window(1000.0, 2000.0),
    gpu_uuids=("GPU-0", "GPU-1"),
    limits=LIMITS,
    live=True,
    fresh=True,
)
SWEPT = {300: (200.0, 0.50), 250: (180.0, 0.51), 200: (160.0, 0.54), 180: (158.0, 0.60)}


def thin(watts: int, steps: int = 12) -> tuple[OperatingPoint, ...]:
    return (OperatingPoint(watts, 160.0, 0.5, steps, None, None),)


def decide(
    measured: dict[int, tuple[float, float]],
    *,
    history: RunHistory = LIVE,
    objective: Objective | None = None,
    explore: bool = False,
    **profile: Any,
) -> Decision:
    return choose(
        history,
        Profile(points_of(measured), **profile),
        objective or Slowdown(1.05),
        minimum=MINIMUM,
        explore=explore,
    )


def at_limit(watts: int, *, leased: bool = True) -> RunHistory:
    return replace(LIVE, limits=replace(LIMITS, current_watts=watts, leased=leased))


def test_the_best_measured_limit_is_held_with_what_it_brings() -> None:
    decision = decide(SWEPT)

    assert (Action.HOLD, 250) == (decision.action, decision.power_limit_watts)
    assert decision.expected is not None
    assert 0.1 == pytest.approx(decision.expected.energy_saving_ratio, abs=1e-4)
    assert 1.02 == pytest.approx(decision.expected.slowdown_ratio, abs=1e-4)
    assert "10.0 % less energy per step than at 300 W, 2.0 % slower" in decision.reason


def test_a_decision_carries_what_it_rests_on() -> None:
    decision = decide(SWEPT, objective=Cost(0.25))

    assert ("llama", 300) == (decision.run, decision.reference_power_limit_watts)
    assert {"name": "cost", "eta": 0.25} == decision.objective
    assert [180, 200, 250, 300] == [point.power_limit_watts for point in decision.points]
    assert (Window(1000.0, 2000.0), ("GPU-0", "GPU-1")) == (decision.window, decision.gpu_uuids)


def test_the_reference_is_held_where_nothing_is_better() -> None:
    decision = decide({300: (200.0, 0.5), 250: (210.0, 0.6), 180: (260.0, 0.9)})

    assert (Action.HOLD, 300) == (decision.action, decision.power_limit_watts)
    assert Expected(0.0, 1.0) == decision.expected


def test_no_limit_above_the_reference_is_ever_chosen() -> None:
    decision = decide({**SWEPT, 350: (90.0, 0.4)}, objective=Cost(0.0))

    assert 300 == decision.power_limit_watts


def test_a_run_that_does_not_feel_the_limit_is_told_so() -> None:
    flat = {300: (100.0, 0.5), 120: (100.5, 0.5005)}

    for explore in (False, True):
        decision = decide(flat, explore=explore)
        assert (Action.HOLD, 300) == (decision.action, decision.power_limit_watts)
        assert "makes no difference" in decision.reason


def test_a_run_that_only_draws_less_is_no_run_that_does_not_feel_the_limit() -> None:
    assert 180 == decide({300: (100.0, 0.5), 180: (95.0, 0.5)}).power_limit_watts


@pytest.mark.parametrize(
    ("changes", "profile", "says"),
    [
        ({"live": False}, {}, "No training step of the run 'llama'"),
        ({}, {}, "Waiting for training steps: the run 'llama' is live"),
        ({"problems": ("node1 went dark",)}, {}, "node1 went dark"),
        ({}, {"problems": ("no energy at 300 W",)}, "no energy at 300 W"),
        ({"gpu_uuids": ()}, {"points": SWEPT}, "joulestat_run_gpu is missing"),
        ({"shared_with": ("other",)}, {"points": SWEPT}, "shares GPUs with 'other'"),
        ({"limits": Limits(unequal_reference=True)}, {"points": SWEPT}, "different power limits"),
        ({"limits": Limits()}, {"points": SWEPT}, "limit before any lease is not known"),
        ({}, {"points": {**SWEPT, 200: (400.0, 0.5)}}, "seem to draw 800 W"),
        ({}, {"points": {250: SWEPT[250], 200: SWEPT[200]}}, "300 W is not measured"),
        ({}, {"points": {300: SWEPT[300]}}, "--explore"),
        ({}, {"thin": thin(300)}, "12 of 30 steps, 6 of 60 s"),
    ],
)
def test_without_sound_evidence_there_is_no_advice_but_a_reason(
    changes: dict[str, Any], profile: dict[str, Any], says: str
) -> None:
    history = replace(LIVE, **changes)
    if changes.get("limits") is None and "300 W is not measured" in says:
        history = at_limit(250)
    decision = decide(profile.pop("points", {}), history=history, **profile)

    assert (Action.NONE, None) == (decision.action, decision.power_limit_watts)
    assert decision.expected is None
    assert says in decision.reason


@given(
    measured=st.dictionaries(
        st.sampled_from(range(100, 351, 10)),
        st.tuples(st.floats(20, 150), st.floats(0.5, 2.0)),
        max_size=8,
    ),
    objective=st.sampled_from([Cost(0.5), Slowdown(1.05)]),
    explore=st.booleans(),
    live=st.booleans(),
)
@settings(deadline=None)
def test_without_leave_to_explore_it_never_probes_and_always_holds_what_was_measured(
    measured: dict[int, tuple[float, float]], objective: Objective, explore: bool, live: bool
) -> None:
    decision = decide(
        measured, history=replace(LIVE, live=live), objective=objective, explore=explore
    )

    assert decision.reason
    if not (explore and live):
        assert decision.action is not Action.PROBE
    if decision.action is Action.HOLD:
        assert decision.power_limit_watts in measured
    if decision.action is Action.PROBE:
        assert decision.power_limit_watts is not None
        assert 100 <= decision.power_limit_watts <= 300


def test_exploring_begins_with_the_reference_and_writes_nothing_for_it() -> None:
    decision = decide({}, explore=True, thin=thin(300))

    assert (Action.NONE, None) == (decision.action, decision.power_limit_watts)
    assert "still being measured: 12 of 30 steps" in decision.reason


def test_the_reference_is_measured_longer_before_the_first_probe() -> None:
    """100 steps of half a second are more than 30 steps and less than four times 60 s."""
    short = (OperatingPoint(300, 200.0, 0.5, 100, 0.02, 5e-5),)
    decision = choose(LIVE, Profile(short), Slowdown(1.05), minimum=MINIMUM, explore=True)

    assert (Action.NONE, None) == (decision.action, decision.power_limit_watts)
    assert "still being measured, longer than others" in decision.reason
    assert "100 of 120 steps, 50 of 240 s" in decision.reason


def test_exploring_goes_back_to_the_reference_if_it_was_never_measured() -> None:
    decision = decide({180: SWEPT[180]}, history=at_limit(180), explore=True)

    assert (Action.PROBE, 300) == (decision.action, decision.power_limit_watts)


def test_the_first_probe_is_well_below_the_reference() -> None:
    decision = decide({300: SWEPT[300]}, explore=True)

    assert (Action.PROBE, 180, None) == (
        decision.action,
        decision.power_limit_watts,
        decision.expected,
    )


def test_the_first_probe_keeps_to_what_the_devices_accept() -> None:
    history = replace(LIVE, limits=replace(LIMITS, min_watts=203.0))

    assert 205 == decide({300: SWEPT[300]}, history=history, explore=True).power_limit_watts


@pytest.mark.parametrize("min_watts", [300.0, 298.0, None])
def test_where_the_limit_cannot_go_lower_nothing_is_probed(min_watts: float | None) -> None:
    history = replace(LIVE, limits=replace(LIMITS, min_watts=min_watts))

    assert Action.NONE is decide({300: SWEPT[300]}, history=history, explore=True).action


def test_a_probe_in_force_is_repeated_until_it_has_enough_evidence() -> None:
    for begun in ((), thin(180)):
        decision = decide({300: SWEPT[300]}, history=at_limit(180), explore=True, thin=begun)

        assert (Action.PROBE, 180) == (decision.action, decision.power_limit_watts)
        assert "still measuring" in decision.reason


def test_what_somebody_else_set_is_no_probe() -> None:
    history = at_limit(220, leased=False)

    assert 180 == decide({300: SWEPT[300]}, history=history, explore=True).power_limit_watts


@pytest.mark.parametrize("state", [{"live": False}, {"live": False, "ended": True}])
def test_a_run_that_is_not_live_is_judged_and_not_probed(state: dict[str, bool]) -> None:
    history = replace(LIVE, **state)

    assert Action.HOLD is decide(SWEPT, history=history, explore=True).action
    alone = decide({300: SWEPT[300]}, history=history, explore=True)
    assert Action.NONE is alone.action
    assert "not live" in alone.reason


def test_a_further_probe_says_what_is_expected_of_it() -> None:
    decision = decide({300: SWEPT[300], 180: SWEPT[180]}, explore=True)

    assert Action.PROBE is decision.action
    assert decision.expected is not None
    assert 1.0 < decision.expected.slowdown_ratio <= 1.05


def test_a_limit_that_turned_out_too_slow_is_left_and_that_is_said() -> None:
    decision = decide(SWEPT, history=at_limit(180))

    assert (Action.HOLD, 250) == (decision.action, decision.power_limit_watts)
    assert "180 W turned out 20.0 % slower, too slow: backing off." in decision.reason


def test_what_has_to_be_known_for_an_objective_is_asked_for() -> None:
    decision = decide(SWEPT, objective=Money(2.0))

    assert Action.NONE is decision.action
    assert decision.reason.startswith("The price of electricity is not known")


def on_budget(joules_per_step: float) -> RunHistory:
    """1,000 steps are left, and so much energy for each."""
    return replace(
        LIVE,
        planned_steps=2_000,
        steps_done=1_000.0,
        energy_budget_joules=300_000.0 + 1_000 * joules_per_step,
        joules_spent=300_000.0,
    )


def test_an_energy_budget_is_kept_at_the_least_loss_of_time() -> None:
    decision = decide(SWEPT, history=on_budget(185.0), objective=StayWithin())

    assert (Action.HOLD, 250) == (decision.action, decision.power_limit_watts)


def test_an_energy_budget_that_is_enough_changes_nothing() -> None:
    decision = decide(SWEPT, history=on_budget(210.0), objective=StayWithin())

    assert (Action.HOLD, 300) == (decision.action, decision.power_limit_watts)


def test_an_energy_budget_that_no_limit_keeps_is_told() -> None:
    decision = decide(SWEPT, history=on_budget(100.0), objective=StayWithin())

    assert (Action.HOLD, 300) == (decision.action, decision.power_limit_watts)
    assert "None of the limits measured (300, 250, 200, 180 W) keeps the bound" in decision.reason


def test_a_deadline_is_kept_with_the_least_energy() -> None:
    """530 s are left for 1,000 steps: 250 W takes 510 s, 200 W takes 540 s."""
    decision = decide(SWEPT, history=on_budget(0.0), objective=FinishBy(2_530.0))

    assert (Action.HOLD, 250) == (decision.action, decision.power_limit_watts)


def test_the_numbers_behind_a_decision_are_in_it() -> None:
    numbers = decide(SWEPT).numbers

    assert "A step is measured by steps" in numbers[0]
    assert [180, 200, 250, 300] == [int(line.split()[0]) for line in numbers[1:]]
    assert "outside the bound" in numbers[1]
    assert "outside the bound" not in numbers[3]
