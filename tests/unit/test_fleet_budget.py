"""One power budget for several runs, against every other way to divide it."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulestat.domain.errors import ConfigError
from joulestat.domain.plan import FittedPoint
from joulestat.optimizer.fleet.budget import divide_budget
from joulestat.optimizer.fleet.division import Division, RunCurve
from joulestat.optimizer.fleet.speed import speed_curve


def fitted(seconds: dict[int, float]) -> tuple[FittedPoint, ...]:
    """Points at which only the time matters."""
    return tuple(FittedPoint(watts, 100.0, at, 0.0, 0.0) for watts, at in sorted(seconds.items()))


def run(
    name: str,
    *,
    gpus: int = 1,
    reference: int = 300,
    lowest: float | None = 100.0,
    seconds: dict[int, float] | None = None,
    priority: float = 1.0,
    max_slowdown: float | None = None,
    current: int | None = None,
) -> RunCurve:
    curve = fitted(seconds or {})
    return RunCurve(name, gpus, reference, lowest, curve, priority, max_slowdown, current)


def limits(division: Division) -> tuple[int, ...]:
    return tuple(share.power_limit_watts for share in division.shares)


INSENSITIVE = {100: 1.0, 300: 1.0}
SENSITIVE = {100: 3.0, 150: 2.0, 200: 1.5, 250: 1.2, 300: 1.0}


def test_watts_go_to_the_run_that_needs_them() -> None:
    division = divide_budget(
        [run("waits", seconds=INSENSITIVE), run("computes", seconds=SENSITIVE)], 400.0
    )

    assert (100, 300) == limits(division)
    assert 1.0 == pytest.approx(division.throughput_ratio)
    assert 400.0 == division.limits_watts


def test_watts_that_nobody_needs_bring_the_reference_limits_back() -> None:
    division = divide_budget(
        [run("waits", seconds=INSENSITIVE), run("computes", seconds=SENSITIVE)], 1000.0
    )

    assert (300, 300) == limits(division)
    assert 0.0 == division.gpus_per_watt


def test_like_runs_get_like_limits_on_a_straight_line() -> None:
    division = divide_budget([run(name) for name in "abcd"], 800.0)

    assert (200, 200, 200, 200) == limits(division)


def test_a_run_without_a_curve_is_taken_to_lose_two_fifths_of_its_speed_at_half() -> None:
    (share,) = divide_budget([run("new")], 150.0).shares

    assert 0.6 == pytest.approx(share.speed_ratio)
    assert not share.measured


def test_no_run_goes_below_its_lowest_measured_limit_while_the_budget_can_be_held() -> None:
    flat_above = run("flat", seconds={200: 1.0, 300: 1.0})

    assert (200, 150) == limits(divide_budget([flat_above, run("b", seconds=SENSITIVE)], 350.0))
    assert 200 > limits(divide_budget([flat_above, run("b", seconds=SENSITIVE)], 210.0))[0]


def test_what_was_not_measured_does_not_count_as_fast_enough() -> None:
    curve = speed_curve(fitted({200: 1.0, 300: 1.0}), 100.0, 300)

    assert 200 == curve.limits_watts[curve.index_at_least(0.1)]


def test_priority_moves_watts_and_the_number_of_gpus_does_not() -> None:
    plain = divide_budget([run("a", seconds=SENSITIVE), run("b", seconds=SENSITIVE)], 400.0)
    urgent = divide_budget(
        [run("a", seconds=SENSITIVE, priority=3.0), run("b", seconds=SENSITIVE)], 400.0
    )
    large = divide_budget(
        [run("a", gpus=4, seconds=SENSITIVE), run("b", gpus=4, seconds=SENSITIVE)], 1600.0
    )

    assert (200, 200) == limits(plain) == limits(large)
    assert limits(urgent)[0] > limits(urgent)[1]


def test_a_run_that_cannot_be_limited_counts_with_its_reference_limit() -> None:
    division = divide_budget(
        [run("fixed", lowest=None, gpus=2), run("other", seconds=SENSITIVE)], 800.0
    )

    assert (300, 200) == limits(division)
    assert [False, True] == [share.limited for share in division.shares]


def test_gpus_of_no_run_are_set_aside() -> None:
    division = divide_budget([run("a", seconds=SENSITIVE)], 450.0, reserved_watts=300.0)

    assert (150,) == limits(division)
    assert 450.0 == division.limits_watts


def test_a_budget_below_the_minimums_is_refused_with_the_numbers() -> None:
    with pytest.raises(ConfigError) as refused:
        divide_budget([run("a", gpus=8), run("fixed", lowest=None, gpus=4)], 1900.0)

    assert (
        "a budget of 1.9 kW is too small: the runs need 2 kW at the lowest limits that their GPUs "
        "accept, 1.2 kW of it for GPUs that cannot be limited; raise the budget or stop a run"
    ) == str(refused.value)
    assert "--power-budget-kw" == refused.value.place


def test_no_run_is_slower_than_it_allows() -> None:
    division = divide_budget(
        [
            run("bound", seconds=SENSITIVE, max_slowdown=1.2),
            run("urgent", seconds=SENSITIVE, priority=9.0),
        ],
        400.0,
    )

    assert (250, 150) == limits(division)


def test_a_budget_that_would_make_a_run_too_slow_is_refused() -> None:
    bound = run("bound", seconds=SENSITIVE, max_slowdown=1.2)

    with pytest.raises(ConfigError, match=r"0.25 kW to be no slower than asked \(0.1 kW at the"):
        divide_budget([bound], 240.0)


def test_more_power_that_was_measured_slower_is_noise_and_not_paid_for_first() -> None:
    noisy = run("noisy", seconds={100: 2.0, 200: 0.99, 300: 1.0})
    division = divide_budget([noisy, run("computes", seconds=SENSITIVE)], 500.0)

    assert (200, 300) == limits(division)


def test_limits_in_force_stay_while_a_better_division_is_hardly_better() -> None:
    before = divide_budget([run("a", seconds=SENSITIVE), run("b", seconds=SENSITIVE)], 450.0)
    now = dict(zip("ab", limits(before), strict=True))
    wobbled = {watts: at * (1 + 0.002 * (watts % 100 > 0)) for watts, at in SENSITIVE.items()}
    after = divide_budget(
        [
            run("a", seconds=wobbled, current=now["a"]),
            run("b", seconds=SENSITIVE, current=now["b"]),
        ],
        450.0,
    )

    assert limits(before) == limits(after)


def test_limits_in_force_do_not_stay_above_the_budget() -> None:
    held = [run(name, seconds=SENSITIVE, current=205) for name in "ab"]

    assert 400.0 >= divide_budget(held, 400.0).limits_watts


def test_limits_in_force_do_not_stay_where_another_division_is_better() -> None:
    held = [
        run("waits", seconds=INSENSITIVE, current=200),
        run("computes", seconds=SENSITIVE, current=200),
    ]

    assert (100, 300) == limits(divide_budget(held, 400.0))


def test_one_more_watt_is_worth_what_the_price_says() -> None:
    runs = [run("a", gpus=2, seconds=SENSITIVE), run("b", gpus=2)]
    less, more = (divide_budget(runs, watts) for watts in (700.0, 710.0))
    gained = 4 * (more.throughput_ratio - less.throughput_ratio)

    assert gained / 10 == pytest.approx(less.gpus_per_watt, rel=0.1)


def worth(runs: list[RunCurve]) -> list[list[tuple[int, float]]]:
    """Return each run's choices: watts of all its GPUs, and worth by the concave envelope."""
    return [
        [
            (one.n_gpus * watts, one.weight * value)
            for watts, value in zip(curve.limits_watts, curve.worths, strict=True)
        ]
        for one in runs
        for curve in [speed_curve(one.fitted, one.min_watts or 0.0, one.reference_watts)]
    ]


def best_of_all(runs: list[RunCurve], budget_watts: float) -> float:
    """Try every combination of limits."""
    return max(
        sum(value for _, value in combination)
        for combination in itertools.product(*worth(runs))
        if sum(watts for watts, _ in combination) <= budget_watts
    )


def got(runs: list[RunCurve], division: Division) -> float:
    return sum(
        dict(choices)[share.n_gpus * share.power_limit_watts]
        for choices, share in zip(worth(runs), division.shares, strict=True)
    )


@st.composite
def several_runs(draw: st.DrawFn, gpus: Callable[[], st.SearchStrategy[int]]) -> list[RunCurve]:
    def one(number: int) -> RunCurve:
        falls = draw(st.lists(st.floats(0.0, 0.6), min_size=0, max_size=3))
        slower = list(itertools.accumulate(falls, initial=1.0))
        seconds = {130 - 10 * place: at for place, at in enumerate(slower)}
        return run(
            f"run{number}",
            gpus=draw(gpus()),
            reference=130,
            lowest=100.0,
            seconds=seconds,
            priority=draw(st.sampled_from([0.5, 1.0, 2.0])),
        )

    return [one(number) for number in range(draw(st.integers(1, 4)))]


@settings(deadline=None, max_examples=200, derandomize=True)
@given(several_runs(lambda: st.just(2)), st.floats(0.0, 1.0))
def test_with_equally_many_gpus_no_combination_gets_more_done(
    runs: list[RunCurve], share: float
) -> None:
    budget = sum(one.n_gpus * (100 + 30 * share) for one in runs)
    division = divide_budget(runs, budget)

    assert division.limits_watts <= budget
    assert best_of_all(runs, budget) == pytest.approx(got(runs, division), abs=1e-9)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(several_runs(lambda: st.integers(1, 4)), st.floats(0.0, 1.0))
def test_with_unequal_runs_less_is_lost_than_one_step_is_worth(
    runs: list[RunCurve], share: float
) -> None:
    budget = sum(one.n_gpus * (100 + 30 * share) for one in runs)
    division = divide_budget(runs, budget)
    largest_step = 5 * max(one.n_gpus for one in runs)

    assert division.limits_watts <= budget
    lost = best_of_all(runs, budget) - got(runs, division)
    assert lost <= division.gpus_per_watt * largest_step + 1e-9


@settings(deadline=None, max_examples=100, derandomize=True)
@given(several_runs(lambda: st.integers(1, 4)), st.floats(0.0, 0.9))
def test_more_budget_never_gets_less_done(runs: list[RunCurve], share: float) -> None:
    budgets = [sum(one.n_gpus * (100 + 30 * s) for one in runs) for s in (share, share + 0.1)]
    less, more = (got(runs, divide_budget(runs, budget)) for budget in budgets)
    step = max(divide_budget(runs, budget).gpus_per_watt for budget in budgets) * 20

    assert less <= more + step
