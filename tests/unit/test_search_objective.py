"""What "best" means: values by hand, bounds, and what has to be known before."""

import math
from dataclasses import replace

import pytest

from joulestat.domain.errors import ConfigError
from joulestat.domain.tariff import Tariff
from joulestat.optimizer.search.goals import FinishBy, Money, StayWithin
from joulestat.optimizer.search.objective import Cost, Energy, Objective, Reference, Slowdown

REFERENCE = Reference(
    power_limit_watts=300,
    joules_per_step=200.0,
    seconds_per_step=1.0,
    total_limit_watts=600.0,
    n_gpus=2,
    now_seconds=10_000.0,
)
PRICED = Tariff(
    price_per_kilowatt_hour=0.3,
    currency="EUR",
    carbon_grams_per_kilowatt_hour=400.0,
    pue_ratio=1.5,
)
ALL: list[Objective] = [
    Cost(0.25),
    Slowdown(1.1),
    Energy(),
    Money(2.0),
    FinishBy(20_000.0),
    StayWithin(),
]


def test_cost_weighs_energy_against_time_at_the_power_of_the_reference() -> None:
    assert 0.25 * 80 + 0.75 * 600 * 1.1 == pytest.approx(Cost(0.25).value(80.0, 1.1, REFERENCE))


@pytest.mark.parametrize(("eta", "expected"), [(0.0, 600 * 1.1), (1.0, 80.0)])
def test_cost_is_time_alone_or_energy_alone_at_its_ends(eta: float, expected: float) -> None:
    assert expected == pytest.approx(Cost(eta).value(80.0, 1.1, REFERENCE))


def test_the_reference_power_is_that_of_all_devices() -> None:
    """Eight GPUs choose as one does: with one device's limit, eta 0.5 would act like 0.89."""
    points = {300: (250.0, 1.0), 250: (225.0, 1.04), 200: (205.0, 1.2)}

    def best(gpus: int, total_limit_watts: float) -> int:
        reference = replace(REFERENCE, total_limit_watts=total_limit_watts, n_gpus=gpus)
        return min(
            points,
            key=lambda watts: Cost(0.5).value(gpus * points[watts][0], points[watts][1], reference),
        )

    assert (250, 250, 200) == (best(1, 300.0), best(8, 2400.0), best(8, 300.0))


@pytest.mark.parametrize("objective", [Slowdown(1.1), Energy(), FinishBy(20_000.0)])
def test_those_that_want_the_least_energy_rank_by_it(objective: Objective) -> None:
    assert 80.0 == objective.value(80.0, 1.1, REFERENCE)


def test_slowdown_bounds_the_time_of_a_step_and_energy_does_not() -> None:
    assert 1.1 == pytest.approx(Slowdown(1.1).most_seconds(REFERENCE))
    assert Slowdown(1.1).most_joules(REFERENCE) is None
    assert Energy().most_seconds(REFERENCE) is None


def test_money_is_electricity_and_hours_of_all_gpus() -> None:
    """1.2 MJ are 1/3 kWh, 0.5 kWh with the building: 0.15; 900 s of two GPUs at 2 an hour: 1."""
    reference = replace(REFERENCE, tariff=PRICED)

    assert 0.15 + 1.0 == pytest.approx(Money(2.0).value(1.2e6, 900.0, reference))


def test_money_prices_carbon_where_asked_to() -> None:
    """0.5 kWh of 400 g are 0.2 kg; at 100 a tonne 0.02."""
    reference = replace(REFERENCE, tariff=PRICED)

    assert 0.15 + 0.02 == pytest.approx(Money(0.0, 100.0).value(1.2e6, 900.0, reference))


def test_money_takes_no_overhead_for_granted() -> None:
    reference = replace(REFERENCE, tariff=replace(PRICED, pue_ratio=None))

    assert 0.1 == pytest.approx(Money(0.0).value(1.2e6, 900.0, reference))


def test_money_says_which_price_is_missing() -> None:
    no_carbon = replace(REFERENCE, tariff=replace(PRICED, carbon_grams_per_kilowatt_hour=None))

    assert "price of electricity is not known" in Money(2.0).missing(REFERENCE)
    assert "--price-per-kwh" in Money(2.0).missing(REFERENCE)
    assert "carbon intensity is not known" in Money(2.0, 100.0).missing(no_carbon)
    assert "" == Money(2.0).missing(no_carbon)


@pytest.mark.parametrize("prices", [(-1.0, None), (math.nan, None), (1.0, -5.0), (1.0, math.inf)])
def test_a_price_that_is_none_is_refused(prices: tuple[float, float | None]) -> None:
    with pytest.raises(ConfigError, match="must be 0 or more"):
        Money(*prices)


def test_finish_by_divides_the_time_left_by_the_steps_left() -> None:
    reference = replace(REFERENCE, steps_left=8_000.0)

    assert 1.25 == pytest.approx(FinishBy(20_000.0).most_seconds(reference))
    assert "" == FinishBy(20_000.0).missing(reference)


def test_finish_by_needs_the_steps_planned_and_time_enough() -> None:
    too_many = replace(REFERENCE, steps_left=16_000.0)

    assert "planned_steps" in FinishBy(20_000.0).missing(REFERENCE)
    assert (
        "the run cannot be done by then even at 300 W: 16000 steps are left, 100 min too many"
        == FinishBy(20_000.0).missing(too_many)
    )
    assert "100 min too many" in FinishBy(20_000.0).missing(too_many)


def test_finish_by_a_moment_that_is_past_leaves_no_time() -> None:
    reference = replace(REFERENCE, steps_left=10.0)

    assert 0.0 == FinishBy(5_000.0).most_seconds(reference)
    assert "cannot be done by then" in FinishBy(5_000.0).missing(reference)


def test_a_run_that_has_made_its_steps_has_no_bound_left() -> None:
    done = replace(REFERENCE, steps_left=0.0, joules_left=0.0)

    assert FinishBy(5_000.0).most_seconds(done) is None
    assert StayWithin().most_joules(done) is None


def test_staying_within_divides_the_energy_left_by_the_steps_left_and_wants_least_time() -> None:
    reference = replace(REFERENCE, steps_left=1_000.0, joules_left=180_000.0)

    assert 180.0 == StayWithin().most_joules(reference)
    assert 1.1 == StayWithin().value(80.0, 1.1, reference)
    assert StayWithin().most_seconds(reference) is None


def test_staying_within_a_budget_that_is_spent_leaves_nothing() -> None:
    overspent = replace(REFERENCE, steps_left=1_000.0, joules_left=-5.0)

    assert 0.0 == StayWithin().most_joules(overspent)


def test_staying_within_needs_the_steps_planned_and_a_budget() -> None:
    assert "planned_steps" in StayWithin().missing(REFERENCE)
    assert "energy_budget_kwh" in StayWithin().missing(replace(REFERENCE, steps_left=10.0))
    assert "" == StayWithin().missing(replace(REFERENCE, steps_left=10.0, joules_left=5.0))


@pytest.mark.parametrize("bound", [1.0, 1.009, 0.5, -1.0, math.nan, math.inf])
def test_a_slowdown_tighter_than_can_be_measured_is_refused_with_the_reason(bound: float) -> None:
    with pytest.raises(ConfigError, match="not known better than about 1 %"):
        Slowdown(bound)


@pytest.mark.parametrize("eta", [-0.1, 1.1, math.nan])
def test_an_eta_outside_of_nought_to_one_is_refused(eta: float) -> None:
    with pytest.raises(ConfigError, match="from 0"):
        Cost(eta)


def test_objectives_name_themselves_and_their_parameters() -> None:
    assert [
        {"name": "cost", "eta": 0.25},
        {"name": "slowdown", "max_slowdown": 1.1},
        {"name": "energy"},
        {"name": "money", "price_per_gpu_hour": 2.0},
        {"name": "finish-by", "finish_by_seconds": 20_000.0},
        {"name": "stay-within-budget"},
    ] == [objective.parameters() for objective in ALL]
    assert 100.0 == Money(2.0, 100.0).parameters()["price_per_tonne_carbon"]


@pytest.mark.parametrize("objective", ALL, ids=lambda objective: objective.name)
def test_every_objective_looks_first_between_the_half_and_the_whole(objective: Objective) -> None:
    assert 0.5 <= objective.first_ratio() <= 0.8


def test_who_may_lose_more_time_looks_lower_first() -> None:
    assert Slowdown(1.2).first_ratio() < Slowdown(1.02).first_ratio()
    assert Cost(1.0).first_ratio() < Cost(0.0).first_ratio()
