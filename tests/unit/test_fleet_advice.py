"""A divided power budget and per-GPU limits, said as decisions."""

from dataclasses import replace

import pytest

from joulestat.domain.plan import Action, Decision, FittedPoint
from joulestat.optimizer.fleet.advice import as_decisions, run_curve, with_gpu_limits
from joulestat.optimizer.fleet.budget import divide_budget
from joulestat.optimizer.fleet.gpu_facts import GpuLimits
from joulestat.optimizer.history.facts import Limits, RunHistory

CURVE = tuple(
    FittedPoint(watts, watts * seconds, seconds, 0.0, 0.0)
    for watts, seconds in ((150, 2.0), (200, 1.5), (250, 1.2), (300, 1.0))
)
LIMITS = Limits(reference_watts=300, current_watts=300, min_watts=100.0, max_watts=300.0)


def decision(name: str, *, gpus: int = 2) -> Decision:
    """Return what was decided for a run alone."""
    uuids = tuple(f"GPU-{name}-{index}" for index in range(gpus))
    objective: dict[str, str | float] = {"name": "slowdown"}
    return Decision(
        name, Action.HOLD, 250, "alone", objective, 300, (), None, None, uuids, curve=CURVE
    )


def history(name: str, limits: Limits = LIMITS, *, live: bool = True) -> RunHistory:
    uuids = decision(name).gpu_uuids
    return RunHistory(name, gpu_uuids=uuids, limits=limits, live=live, fresh=live)


def divided(
    budget_watts: float, *histories: RunHistory, alone: tuple[Decision, ...] = ()
) -> list[Decision]:
    decisions = alone or tuple(decision(one.run) for one in histories)
    curves = [run_curve(one, own) for one, own in zip(histories, decisions, strict=True)]
    assert None not in curves
    division = divide_budget([curve for curve in curves if curve is not None], budget_watts)
    return as_decisions(division, decisions)


def test_a_share_is_held_and_says_why() -> None:
    (only,) = divided(400.0, history("a"))

    assert (Action.HOLD, 200) == (only.action, only.power_limit_watts)
    assert (
        "Share of the power budget of 0.4 kW under which all runs together get most done: the run "
        "keeps 66.7 % of its speed at 300 W (measured)."
    ) == only.reason
    assert CURVE == only.curve


def test_what_a_share_brings_is_read_off_the_curve() -> None:
    (only,) = divided(400.0, history("a"))

    assert only.expected is not None
    assert 1.5 == pytest.approx(only.expected.slowdown_ratio)
    assert 0.0 == pytest.approx(only.expected.energy_saving_ratio)


def test_the_numbers_behind_it_are_told() -> None:
    (only,) = divided(400.0, history("a"))

    assert "The limits of all GPUs add up to 0.4 of 0.4 kW." == only.numbers[0]
    assert "GPUs at full speed" in only.numbers[2]


def test_a_budget_with_room_for_all_leaves_the_reference_limit() -> None:
    (only,) = divided(4000.0, history("a"))

    assert 300 == only.power_limit_watts
    assert "The reference limit of 300 W fits the power budget of 4 kW." == only.reason


def test_limits_are_lowered_before_others_are_raised() -> None:
    low = replace(LIMITS, current_watts=150, leased=True)
    decisions = divided(900.0, history("raised", low), history("lowered"))

    assert ["lowered", "raised"] == [one.run for one in decisions]


def test_a_run_that_somebody_else_limits_is_left_alone_and_counted() -> None:
    foreign = replace(LIMITS, foreign=("GPU-fixed-0",))
    free, fixed = sorted(
        divided(1000.0, history("fixed", foreign), history("free")),
        key=lambda one: one.power_limit_watts is None,
    )

    assert (Action.NONE, None) == (fixed.action, fixed.power_limit_watts)
    assert "sets aside its reference limit of 300 W for each of its 2 GPU(s)" in fixed.reason
    assert 200 == free.power_limit_watts


def test_a_run_that_is_not_live_is_counted_and_not_touched() -> None:
    curve = run_curve(history("a", live=False), decision("a"))

    assert curve is not None
    assert (300, None) == (curve.reference_watts, curve.min_watts)


def test_a_run_whose_limits_nobody_knows_cannot_be_counted() -> None:
    assert run_curve(history("a", Limits()), decision("a")) is None


def test_an_unknown_reference_counts_as_the_highest_limit() -> None:
    curve = run_curve(history("a", replace(LIMITS, reference_watts=None)), decision("a"))

    assert curve is not None
    assert (300, False) == (curve.reference_watts, curve.can_be_limited)


@pytest.mark.parametrize(("probed", "held"), [(180, 180), (250, 200)])
def test_a_probe_goes_on_within_the_share_only(probed: int, held: int) -> None:
    probing = replace(decision("a"), action=Action.PROBE, power_limit_watts=probed)
    (only,) = divided(400.0, history("a"), alone=(probing,))

    assert held == only.power_limit_watts
    assert (Action.PROBE if probed == held else Action.HOLD) == only.action


def test_a_run_without_a_curve_expects_nothing_measured() -> None:
    (only,) = divided(400.0, history("a"), alone=(replace(decision("a"), curve=()),))

    assert only.expected is None
    assert "(assumed: so low it was not measured yet)" in only.reason


GPU_LIMITS = GpuLimits(
    {"GPU-a-0": 250, "GPU-a-1": 230}, "One waits.", {"GPU-a-0": -0.01, "GPU-a-1": 0.04}
)


def test_a_limit_for_each_gpu_is_said_with_the_common_one() -> None:
    held = with_gpu_limits(decision("a"), GPU_LIMITS)

    assert (250, "alone One waits.") == (held.power_limit_watts, held.reason)
    assert {"GPU-a-0": 250, "GPU-a-1": 230} == held.gpu_power_limits_watts
    assert "GPU-a-1 waits for at least 4.0 % of a step and gets 230 W." == held.numbers[-1]


def test_gpus_that_all_get_the_common_limit_are_only_explained() -> None:
    alike = replace(GPU_LIMITS, limits_watts={"GPU-a-0": 250, "GPU-a-1": 250})
    held = with_gpu_limits(decision("a"), alike)

    assert "alone" == held.reason
    assert {} == held.gpu_power_limits_watts
    assert "One waits." == held.numbers[0]


def test_a_probe_is_for_all_gpus_alike() -> None:
    probe = replace(decision("a"), action=Action.PROBE)

    assert probe == with_gpu_limits(probe, GPU_LIMITS)
