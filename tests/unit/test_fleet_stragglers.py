"""Per-GPU limits in a closed loop on unequal GPUs: energy saved, and no time lost."""

from dataclasses import replace

import pytest

from benchmarks.fleet_ring import Loop, Ring, SimulatedLaw, ring
from benchmarks.fleet_stragglers import compare, saved, simulated_laws
from joulestat.devices.models import A100, Workload
from joulestat.optimizer.fleet.gpu_facts import GpuEvidence
from joulestat.optimizer.fleet.stragglers import REFRESH_SECONDS, per_gpu_limits

LAW = SimulatedLaw(A100, Workload(0.6, 0.2, intensity=1.2))
COMMON_WATTS = 400


def four(*speeds: float) -> Ring:
    return Ring(LAW, {f"GPU-{number}": speed for number, speed in enumerate(speeds)})


def loop(of: Ring, rounds: int) -> Loop:
    made = Loop(of, COMMON_WATTS)
    made.run(rounds)
    return made


def decide(of: Loop, **changed: object) -> str:
    """Return the reason given for what is left of a loop's evidence."""
    evidence = GpuEvidence("run", tuple(of.ring.speeds), tuple(of.stretches))
    return per_gpu_limits(
        replace(evidence, **changed),  # type: ignore[arg-type]
        of._curve,
        common_watts=COMMON_WATTS,
        min_watts=100.0,
    ).reason


@pytest.mark.parametrize(("spread", "at_least"), [(0.02, 0.003), (0.04, 0.03), (0.08, 0.08)])
def test_energy_is_saved_at_equal_step_time(spread: float, at_least: float) -> None:
    """Measured: 0.8, 4.8, 10.8 % with nothing known of waiting; 6.6, 11.7, 18.9 % are possible."""
    results = compare(simulated_laws(), spread, 1, cheapest=False)

    assert sum(one.ratio for one in results) / len(results) >= at_least
    assert max(one.longer for one in results) <= 1.005
    assert max(one.worst for one in results) <= 1.005


def test_little_is_left_to_save_under_the_cheapest_common_limit() -> None:
    results = compare(simulated_laws(), 0.04, 1, cheapest=True)

    assert max(one.ratio for one in results) <= 0.03
    assert min(one.ratio for one in results) >= -0.001
    assert max(one.worst for one in results) <= 1.005


def test_knowing_half_of_what_waiting_draws_saves_more() -> None:
    of = ring(LAW, 0.08, seed=3)

    assert saved(of, COMMON_WATTS, 0, told=True).ratio > saved(of, COMMON_WATTS, 0).ratio


def test_the_slowest_gpu_keeps_the_common_limit() -> None:
    limits = loop(four(1.0, 0.9, 1.05, 1.1), 8).limits

    assert COMMON_WATTS == limits["GPU-1"]
    assert limits["GPU-3"] < limits["GPU-2"] < limits["GPU-0"] < COMMON_WATTS


def test_gpus_that_are_alike_are_left_alone() -> None:
    made = loop(four(1.0, 1.0, 1.0, 1.0), 10)

    assert made.ring.common(COMMON_WATTS) == made.limits
    assert "No GPU waits long enough for another to give power up." == made.decided[-1].reason


def test_when_another_gpu_becomes_the_slowest_it_gets_its_power_back() -> None:
    made = loop(four(1.0, 0.9, 1.05, 1.1), 8)
    assert made.limits["GPU-3"] < COMMON_WATTS - 40

    made.ring.speeds["GPU-3"] = 0.9
    made.run(8)

    pace = made.ring.step_seconds(made.ring.common(COMMON_WATTS))
    assert made.ring.step_seconds(made.limits) <= 1.005 * pace
    assert any("the last step is undone" in one.reason for one in made.decided)


def test_what_was_too_low_is_not_tried_again_soon() -> None:
    """One card needs 6 % less power for the same work: it seems to wait and does not."""
    of = Ring(LAW, {"GPU-0": 1.0, "GPU-1": 1.0}, busy_ratios={"GPU-1": 0.94})
    made = loop(of, 20)
    lengths = [of.step_seconds(one.limits_watts) for one in made.stretches]

    assert max(lengths[10:]) <= max(lengths[:10])
    assert of.step_seconds(made.limits) <= 1.01 * of.step_seconds(of.common(COMMON_WATTS))


def test_a_run_that_drifts_is_measured_anew() -> None:
    made = loop(four(1.0, 0.9, 1.05, 1.1), 12)
    now = made.stretches[-1]
    slower = replace(now, step_seconds=1.02 * now.step_seconds)
    before = [*made.stretches[:-1], replace(now, start_seconds=now.start_seconds - 1)]

    assert "not because of a lowered GPU: the pace is measured anew." in decide(
        made, stretches=(*before, slower)
    )


def test_the_common_pace_is_measured_anew_after_hours() -> None:
    made = loop(four(1.0, 0.9, 1.05, 1.1), 3)
    later = replace(made.stretches[-1], end_seconds=REFRESH_SECONDS + 1_000)

    assert f"The pace at {COMMON_WATTS} W is measured anew." == decide(
        made, stretches=(*made.stretches, later)
    )


def test_nothing_is_changed_while_it_is_still_measured() -> None:
    made = loop(four(1.0, 0.9, 1.05, 1.1), 4)
    now = replace(made.stretches[-1], step_stderr_seconds=None)

    assert "Still measuring how long the GPUs wait for each other." == decide(
        made, stretches=(*made.stretches[:-1], now)
    )


def test_a_limit_that_does_not_act_is_told() -> None:
    idle = SimulatedLaw(A100, Workload(0.6, 0.2, intensity=0.5))
    made = loop(Ring(idle, {"GPU-0": 1.0, "GPU-1": 1.1}), 2)

    assert made.decided[-1].reason == (
        "The limit of 400 W does not act: the busiest GPU draws "
        f"{max(made.stretches[-1].power_watts.values()):.0f} W, so what a GPU draws does not tell "
        "whether it waits."
    )
    assert not made.decided[-1].differ


def test_first_the_common_pace_is_measured() -> None:
    made = loop(four(1.0, 0.9), 1)
    other = made.ring.stretch({"GPU-0": 300, "GPU-1": 350}, 0, made._noise)

    assert "First, the pace at 400 W on all GPUs is measured." == decide(made, stretches=(other,))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"gpu_uuids": ("GPU-0",)}, "The run holds one GPU, which waits for no other."),
        ({"stretches": ()}, "What each GPU draws under which limit is not known yet."),
        (
            {"gpu_uuids": ("GPU-0", "GPU-9")},
            "What each GPU draws is not known for all of the run's GPUs.",
        ),
    ],
)
def test_what_is_missing_is_told(changed: dict[str, object], reason: str) -> None:
    assert reason == decide(loop(four(1.0, 0.9), 1), **changed)


def test_without_a_curve_nothing_is_lowered() -> None:
    made = loop(four(1.0, 0.9), 1)
    decided = per_gpu_limits(
        GpuEvidence("run", ("GPU-0", "GPU-1"), tuple(made.stretches)),
        (),
        common_watts=COMMON_WATTS,
        min_watts=100.0,
    )

    assert "not measured around 400 W yet" in decided.reason
    assert {"GPU-0": 400, "GPU-1": 400} == decided.limits_watts
