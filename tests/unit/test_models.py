"""The built-in cards, checked by hand."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulestat.devices.models import (
    FLOOR_SPEED,
    MODELS,
    TYPICAL_TRAINING,
    V100,
    CardModel,
    Workload,
    card_model,
)
from joulestat.domain.errors import ConfigError

EVERY_MODEL = pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)


def test_an_unlimited_v100_draws_static_and_dynamic_watts() -> None:
    assert 110.0 + 160.0 == V100.busy_watts(300.0, TYPICAL_TRAINING)
    assert 0.2 == pytest.approx(V100.step_seconds(300.0, TYPICAL_TRAINING))


def test_at_half_speed_a_v100_is_at_its_energy_minimum() -> None:
    # 130 W leaves 20 of 160 W: f = cbrt(1/8) = 1/2; 0.3 * 2 + 0.7 = 1.3 times 0.2 s.
    assert 0.5 == pytest.approx(V100.relative_speed(130.0, TYPICAL_TRAINING))
    assert 130.0 == V100.busy_watts(130.0, TYPICAL_TRAINING)
    assert 0.26 == pytest.approx(V100.step_seconds(130.0, TYPICAL_TRAINING))
    assert 33.8 == pytest.approx(V100.joules_per_step(130.0, TYPICAL_TRAINING))
    assert 130 == min(range(100, 301), key=lambda p: V100.joules_per_step(p, TYPICAL_TRAINING))


def test_below_the_lowest_clock_a_card_pauses_and_still_keeps_its_limit() -> None:
    # 110 + 160/64 = 112.5 W at a quarter of full clock: 0.3 * 4 + 0.7 = 1.9 times 0.2 s.
    assert 0.38 == pytest.approx(V100.step_seconds(112.5, TYPICAL_TRAINING))
    assert 0.38 * 112.5 / 100.0 == pytest.approx(V100.step_seconds(100.0, TYPICAL_TRAINING))
    assert 100.0 == V100.busy_watts(100.0, TYPICAL_TRAINING)
    assert FLOOR_SPEED == V100.relative_speed(100.0, TYPICAL_TRAINING)


def test_an_intense_workload_reaches_the_default_limit() -> None:
    intense = Workload(compute_share=0.9, base_step_seconds=0.1, intensity=1.25)

    assert 310.0 == V100.full_watts(intense)
    assert 300.0 == V100.busy_watts(300.0, intense)
    assert V100.step_seconds(300.0, intense) > 0.1


def test_a_card_that_waits_draws_its_static_watts_meanwhile() -> None:
    # Busy at 270 W three quarters of the time, at 110 W for the rest; 130 W likewise.
    waits = Workload(compute_share=0.3, base_step_seconds=0.2, waiting_ratio=0.25)

    assert 0.75 * 270.0 + 0.25 * 110.0 == V100.mean_watts(300.0, waits)
    assert 0.75 * 130.0 + 0.25 * 110.0 == V100.mean_watts(130.0, waits)
    assert 100.0 == V100.mean_watts(100.0, waits)
    assert 270.0 == V100.mean_watts(300.0, TYPICAL_TRAINING)


def test_a_card_cannot_wait_all_the_time() -> None:
    with pytest.raises(ConfigError, match=r"waiting_ratio=1.0; it must be 0 to below 1"):
        Workload(compute_share=0.3, base_step_seconds=0.2, waiting_ratio=1.0)


@EVERY_MODEL
def test_each_objective_has_an_optimum_of_its_own_inside_the_range(model: CardModel) -> None:
    reference = model.default_limit_watts
    limits = range(round(model.min_limit_watts), round(model.max_limit_watts) + 1, 5)

    def joules(limit: float) -> float:
        return model.joules_per_step(limit, TYPICAL_TRAINING)

    def seconds(limit: float) -> float:
        return model.step_seconds(limit, TYPICAL_TRAINING)

    def cost_optimum(eta: float) -> int:
        return min(limits, key=lambda p: eta * joules(p) + (1 - eta) * reference * seconds(p))

    def slowdown_optimum(slowdown: float) -> int:
        return min((p for p in limits if seconds(p) <= slowdown * seconds(reference)), key=joules)

    optima = [
        cost_optimum(1.0),
        cost_optimum(0.5),
        slowdown_optimum(1.1),
        slowdown_optimum(1.05),
        cost_optimum(0.25),
    ]

    assert sorted(set(optima)) == optima
    assert model.min_limit_watts + 10 < optima[0]
    assert optima[-1] < model.full_watts(TYPICAL_TRAINING) - 10


@EVERY_MODEL
def test_seven_tenths_of_the_default_limit_cost_a_few_percent_of_time(model: CardModel) -> None:
    limited = model.step_seconds(0.7 * model.default_limit_watts, TYPICAL_TRAINING)
    free = model.step_seconds(model.default_limit_watts, TYPICAL_TRAINING)

    assert 1.03 < limited / free < 1.08


@EVERY_MODEL
def test_the_counter_moves_every_20_to_100_ms(model: CardModel) -> None:
    assert 20_000_000 <= model.counter_granularity_ns <= 100_000_000


@EVERY_MODEL
@given(
    st.floats(0.0, 1.0),
    st.floats(0.5, 1.5),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
)
def test_a_lower_limit_never_draws_more_and_never_steps_faster(
    model: CardModel, share: float, intensity: float, one: float, other: float
) -> None:
    workload = Workload(share, 0.2, intensity)
    span = model.max_limit_watts - model.min_limit_watts
    lower, higher = sorted(model.min_limit_watts + part * span for part in (one, other))

    assert model.busy_watts(lower, workload) <= model.busy_watts(higher, workload) <= higher
    slower, faster = model.step_seconds(lower, workload), model.step_seconds(higher, workload)
    assert faster <= slower * (1 + 1e-12)


@EVERY_MODEL
@given(st.floats(0.05, 1.0))
def test_joules_per_step_fall_to_one_minimum_and_rise_again(model: CardModel, share: float) -> None:
    workload = Workload(share, 0.2)
    limits = range(round(model.min_limit_watts), round(model.max_limit_watts) + 1, 5)
    joules = [model.joules_per_step(limit, workload) for limit in limits]
    lowest = joules.index(min(joules))

    slack = 1e-9 * joules[lowest]
    falling, rising = joules[: lowest + 1], joules[lowest:]
    assert all(a >= b - slack for a, b in itertools.pairwise(falling))
    assert all(a <= b + slack for a, b in itertools.pairwise(rising))


def test_a_card_is_found_by_its_name_in_any_case() -> None:
    assert V100 is card_model("v100")


def test_an_unknown_card_is_refused_with_the_list_of_known_ones() -> None:
    with pytest.raises(ConfigError, match="'B300'; choose one of V100, A40, A100, H100"):
        card_model("B300")


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("compute_share", (1.01, 0.2, 1.0)),
        ("compute_share", (float("nan"), 0.2, 1.0)),
        ("base_step_seconds", (0.3, 0.0, 1.0)),
        ("intensity", (0.3, 0.2, float("inf"))),
    ],
)
def test_an_impossible_workload_is_refused(field: str, values: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError) as caught:
        Workload(*values)

    assert field == caught.value.field
