"""Simulated GPUs that train together and are not equally fast."""

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, pstdev

import pytest

from fakes.clock import FakeClock
from joulestat.devices.models import TYPICAL_TRAINING, V100
from joulestat.devices.world import SimulatedWorld
from joulestat.devices.world_lockstep import Lockstep, speed


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def world(tmp_path: Path, clock: FakeClock) -> Iterator[SimulatedWorld]:
    world = SimulatedWorld.open(
        tmp_path / "world", model="V100", gpus=4, seed=7, clock=clock, noise_ratio=0.0
    )
    yield world
    world.close()


def test_without_a_spread_no_gpu_waits(world: SimulatedWorld, clock: FakeClock) -> None:
    lockstep = Lockstep(world, TYPICAL_TRAINING)
    lockstep.occupy()

    assert 0.2 == lockstep.step_seconds(clock.monotonic_ns())
    assert [TYPICAL_TRAINING] * 4 == [world.workload(uuid) for uuid in world.uuids]


def test_a_step_is_as_long_as_on_the_slowest(world: SimulatedWorld, clock: FakeClock) -> None:
    lockstep = Lockstep(world, TYPICAL_TRAINING, speed_spread_ratio=0.1)
    lockstep.occupy()
    slowest = min(speed(uuid, 0.1) for uuid in world.uuids)

    assert 0.2 / slowest == pytest.approx(lockstep.step_seconds(clock.monotonic_ns()))


def test_faster_gpus_draw_less_because_they_wait(world: SimulatedWorld, clock: FakeClock) -> None:
    lockstep = Lockstep(world, TYPICAL_TRAINING, speed_spread_ratio=0.1)
    lockstep.occupy()
    lockstep.step_seconds(clock.monotonic_ns())
    speeds = {uuid: speed(uuid, 0.1) for uuid in world.uuids}
    slowest = min(speeds.values())
    draws = {uuid: world.draw_watts(uuid, clock.monotonic_ns()) for uuid in world.uuids}

    assert {uuid: 110.0 + 160.0 * slowest / own for uuid, own in speeds.items()} == pytest.approx(
        draws
    )


def test_a_faster_gpu_that_is_slowed_in_time_costs_no_time(
    world: SimulatedWorld, clock: FakeClock
) -> None:
    lockstep = Lockstep(world, TYPICAL_TRAINING, speed_spread_ratio=0.1)
    lockstep.occupy()
    before = lockstep.step_seconds(clock.monotonic_ns())
    fastest = max(world.uuids, key=lambda uuid: speed(uuid, 0.1))
    drawn = world.draw_watts(fastest, clock.monotonic_ns())
    world.set_limit(fastest, 200.0)
    clock.advance(1.0)

    assert V100.step_seconds(200.0, TYPICAL_TRAINING) / speed(fastest, 0.1) < before
    assert before == lockstep.step_seconds(clock.monotonic_ns())
    assert world.draw_watts(fastest, clock.monotonic_ns()) < drawn


def test_a_gpu_is_as_fast_as_it_is_whenever_it_is_asked() -> None:
    names = [f"GPU-{number}" for number in range(500)]

    assert [speed(name, 0.04) for name in names] == [speed(name, 0.04) for name in names]
    assert 1.0 == pytest.approx(fmean(speed(name, 0.04) for name in names), abs=0.01)
    assert 0.04 == pytest.approx(pstdev(speed(name, 0.04) for name in names), rel=0.1)
    assert {1.0} == {speed(name, 0.0) for name in names}


def test_vacated_gpus_idle(world: SimulatedWorld) -> None:
    lockstep = Lockstep(world, TYPICAL_TRAINING, speed_spread_ratio=0.1)
    lockstep.occupy()
    lockstep.vacate()

    assert [None] * 4 == [world.workload(uuid) for uuid in world.uuids]
