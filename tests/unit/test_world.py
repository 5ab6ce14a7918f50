"""Simulated hardware: energy, limits and noise, by hand and in closed form."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.clock import FakeClock
from joulestat.devices.models import TYPICAL_TRAINING, Workload
from joulestat.devices.world import Fault, SimulatedWorld
from joulestat.domain.errors import DeviceError, LimitRefused

MINUTE_NS = 60_000_000_000


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def world(tmp_path: Path, clock: FakeClock) -> Iterator[SimulatedWorld]:
    """Two V100s without noise."""
    world = SimulatedWorld.open(
        tmp_path / "world", model="V100", gpus=2, seed=7, clock=clock, noise_ratio=0.0
    )
    yield world
    world.close()


def test_an_idle_gpu_draws_its_idle_watts(world: SimulatedWorld, clock: FakeClock) -> None:
    gpu = world.uuids[0]
    clock.advance(10)

    assert 40.0 == world.draw_watts(gpu, clock.monotonic_ns())
    assert 400_000_000 == world.energy_uj(gpu, clock.monotonic_ns())


def test_a_busy_gpu_draws_what_its_limit_leaves(world: SimulatedWorld, clock: FakeClock) -> None:
    gpu, other = world.uuids
    world.occupy(gpu, TYPICAL_TRAINING)
    clock.advance(10)
    world.set_limit(gpu, 150.0)
    clock.advance(10)
    now_ns = clock.monotonic_ns()

    # 270 W for 10 s and the 200 ms that the card takes to react, 150 W for the other 9.8 s.
    assert 4_224_000_000 == world.energy_uj(gpu, now_ns)
    assert 150.0 == world.draw_watts(gpu, now_ns)
    assert 800_000_000 == world.energy_uj(other, now_ns)


def test_a_new_limit_is_set_at_once_but_acts_after_the_reaction_time(
    world: SimulatedWorld, clock: FakeClock
) -> None:
    gpu = world.uuids[0]
    world.occupy(gpu, TYPICAL_TRAINING)
    world.set_limit(gpu, 130.0)

    assert 130.0 == world.limit_watts(gpu)
    clock.advance(0.199)
    assert 300.0 == world.acting_limit_watts(gpu, clock.monotonic_ns())
    assert 270.0 == world.draw_watts(gpu, clock.monotonic_ns())
    assert 0.2 == pytest.approx(world.step_seconds(gpu, clock.monotonic_ns()))
    clock.advance(0.001)
    assert 130.0 == world.acting_limit_watts(gpu, clock.monotonic_ns())
    assert 130.0 == world.draw_watts(gpu, clock.monotonic_ns())
    assert 0.26 == pytest.approx(world.step_seconds(gpu, clock.monotonic_ns()))


def test_setting_the_same_limit_again_does_not_put_it_off(
    world: SimulatedWorld, clock: FakeClock
) -> None:
    gpu = world.uuids[0]
    world.set_limit(gpu, 130.0)
    clock.advance(0.15)
    world.set_limit(gpu, 130.0)
    clock.advance(0.05)

    assert 130.0 == world.acting_limit_watts(gpu, clock.monotonic_ns())


def test_another_limit_set_meanwhile_takes_the_place_of_the_first(
    world: SimulatedWorld, clock: FakeClock
) -> None:
    gpu = world.uuids[0]
    world.set_limit(gpu, 130.0)
    clock.advance(0.15)
    world.set_limit(gpu, 200.0)
    clock.advance(0.15)
    assert 300.0 == world.acting_limit_watts(gpu, clock.monotonic_ns())
    clock.advance(0.05)
    assert 200.0 == world.acting_limit_watts(gpu, clock.monotonic_ns())


def test_work_that_begins_before_a_limit_acts_meets_it_in_time(
    world: SimulatedWorld, clock: FakeClock
) -> None:
    gpu = world.uuids[0]
    world.set_limit(gpu, 130.0)
    clock.advance(0.1)
    world.occupy(gpu, TYPICAL_TRAINING)
    clock.advance(1.0)

    # 0.1 s idle at 40 W, 0.1 s at 270 W, 0.9 s at 130 W.
    assert 4_000_000 + 27_000_000 + 117_000_000 == world.energy_uj(gpu, clock.monotonic_ns())


def test_the_counter_moves_once_per_granularity_and_in_whole_millijoules(
    world: SimulatedWorld, clock: FakeClock
) -> None:
    gpu = world.uuids[0]
    clock.advance(1)
    start_ns = clock.monotonic_ns()
    shown = [world.counter_uj(gpu, start_ns + ms * 1_000_000) for ms in range(1_000)]

    # 40 W x 20 ms = 0.8 J per move, 50 moves a second.
    assert 50 == sum(1 for a, b in itertools.pairwise(shown) if a != b)
    assert {0, 800_000} == {b - a for a, b in itertools.pairwise(shown)}
    assert all(uj % 1_000 == 0 for uj in shown)
    assert 0 <= world.energy_uj(gpu, start_ns) - shown[0] < 801_000


def test_a_change_between_two_moves_does_not_move_the_counter(
    world: SimulatedWorld, clock: FakeClock
) -> None:
    gpu = world.uuids[0]
    clock.advance(1)
    shown = world.counter_uj(gpu, clock.monotonic_ns())
    while world.counter_uj(gpu, clock.monotonic_ns()) == shown:
        clock.advance(0.001)
    moved = world.counter_uj(gpu, clock.monotonic_ns())
    clock.advance(0.005)
    world.occupy(gpu, TYPICAL_TRAINING)

    assert moved == world.counter_uj(gpu, clock.monotonic_ns())
    clock.advance(0.013)
    assert moved == world.counter_uj(gpu, clock.monotonic_ns())


def test_a_driver_reload_zeroes_the_counter_and_brings_back_the_default_limit(
    world: SimulatedWorld, clock: FakeClock
) -> None:
    gpu = world.uuids[0]
    world.set_limit(gpu, 150.0)
    clock.advance(100)
    before_uj = world.energy_uj(gpu, clock.monotonic_ns())
    world.reset_counter(gpu)

    assert 0 == world.counter_uj(gpu, clock.monotonic_ns())
    assert 300.0 == world.limit_watts(gpu)
    assert 300.0 == world.acting_limit_watts(gpu, clock.monotonic_ns())
    assert before_uj == world.energy_uj(gpu, clock.monotonic_ns())
    clock.advance(10)
    assert 399_200_000 <= world.counter_uj(gpu, clock.monotonic_ns()) <= 400_000_000


def test_an_instant_before_the_last_change_answers_as_that_change_did(
    world: SimulatedWorld, clock: FakeClock
) -> None:
    gpu = world.uuids[0]
    clock.advance(10)
    world.occupy(gpu, TYPICAL_TRAINING)

    assert 400_000_000 == world.energy_uj(gpu, clock.monotonic_ns() - MINUTE_NS)


def test_the_temperature_follows_the_draw_with_a_lag(
    world: SimulatedWorld, clock: FakeClock
) -> None:
    gpu = world.uuids[0]
    clock.advance(3_600)
    assert 30 + 45 * 40 / 300 == pytest.approx(world.temperature_celsius(gpu, clock.monotonic_ns()))
    world.occupy(gpu, TYPICAL_TRAINING)
    clock.advance(20)
    # One time constant covers 63.2 % of the way from 36 to 70.5 degrees.
    assert 57.8 == pytest.approx(world.temperature_celsius(gpu, clock.monotonic_ns()), abs=0.05)
    clock.advance(3_600)
    assert 70.5 == pytest.approx(world.temperature_celsius(gpu, clock.monotonic_ns()))


def test_occupying_and_vacating_show_in_the_workload(world: SimulatedWorld) -> None:
    gpu = world.uuids[0]
    workload = Workload(compute_share=0.5, base_step_seconds=0.125, intensity=1.25)
    world.occupy(gpu, workload)
    assert workload == world.workload(gpu)
    world.vacate(gpu)
    assert world.workload(gpu) is None


def test_an_idle_gpu_has_no_step_time(world: SimulatedWorld, clock: FakeClock) -> None:
    with pytest.raises(DeviceError, match="occupy it first"):
        world.step_seconds(world.uuids[0], clock.monotonic_ns())


@pytest.mark.parametrize("limit_watts", [99.999, 300.001, 0.0, -150.0, float("nan"), float("inf")])
def test_a_limit_outside_the_range_is_refused_and_changes_nothing(
    world: SimulatedWorld, limit_watts: float
) -> None:
    with pytest.raises(LimitRefused, match="takes 100 to 300 W"):
        world.set_limit(world.uuids[0], limit_watts)

    assert 300.0 == world.limit_watts(world.uuids[0])


def test_an_unknown_uuid_is_named(world: SimulatedWorld, clock: FakeClock) -> None:
    with pytest.raises(DeviceError, match="'GPU-0'") as caught:
        world.energy_uj("GPU-0", clock.monotonic_ns())

    assert "NOT_FOUND" == caught.value.error


def test_uuids_look_real_and_follow_from_the_seed(tmp_path: Path, clock: FakeClock) -> None:
    shape = re.compile(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
    worlds = [
        SimulatedWorld.open(tmp_path / name, model="H100", gpus=4, seed=seed, clock=clock)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]

    assert worlds[0].uuids == worlds[1].uuids
    assert 8 == len({*worlds[0].uuids, *worlds[2].uuids})
    assert all(shape.fullmatch(uuid) for world in worlds for uuid in world.uuids)
    for world in worlds:
        world.close()


def test_noise_swings_around_the_mean_and_adds_no_energy(tmp_path: Path, clock: FakeClock) -> None:
    world = SimulatedWorld.open(tmp_path / "noisy", model="V100", gpus=1, seed=3, clock=clock)
    gpu, start_ns = world.uuids[0], clock.monotonic_ns()
    world.occupy(gpu, TYPICAL_TRAINING)
    instants = [start_ns + second * 1_000_000_000 for second in range(600)]
    draws = [world.draw_watts(gpu, at_ns) for at_ns in instants]
    steps = [world.step_seconds(gpu, at_ns) for at_ns in instants]

    assert 264.6 <= min(draws) < 267 < 273 < max(draws) <= 275.4
    assert 0.198 <= min(steps) < 0.199 < 0.201 < max(steps) <= 0.202
    mean_watts = world.energy_uj(gpu, start_ns + 600 * 1_000_000_000) / 600e6
    assert 270.0 == pytest.approx(mean_watts, rel=1e-4)
    world.close()


def test_noisy_energy_is_the_integral_of_the_draw(tmp_path: Path, clock: FakeClock) -> None:
    world = SimulatedWorld.open(tmp_path / "noisy", model="A100", gpus=1, seed=3, clock=clock)
    gpu, start_ns = world.uuids[0], clock.monotonic_ns()
    midpoints = range(start_ns + 500_000, start_ns + 7_000_000_000, 1_000_000)
    summed_uj = sum(world.draw_watts(gpu, at_ns) for at_ns in midpoints) * 1e3

    assert summed_uj == pytest.approx(world.energy_uj(gpu, start_ns + 7_000_000_000), rel=1e-7)
    world.close()


def test_a_fault_stays_until_it_is_mended(world: SimulatedWorld) -> None:
    gpu, other = world.uuids
    world.set_fault(gpu, Fault.LOST)
    assert (Fault.LOST, None) == (world.fault(gpu), world.fault(other))
    world.set_fault(gpu, None)
    assert world.fault(gpu) is None
