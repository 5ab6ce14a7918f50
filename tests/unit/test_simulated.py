"""The simulated backend: a driver's view of simulated hardware, and its faults."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.clock import FakeClock
from joulestat.devices.backend import Backend, Limiter
from joulestat.devices.models import TYPICAL_TRAINING
from joulestat.devices.simulated import SimulatedBackend, open_simulated
from joulestat.devices.world import Fault, SimulatedWorld
from joulestat.domain.device import CallError, Details, PowerLimits, ThrottleReason
from joulestat.domain.errors import (
    ConfigError,
    DeviceError,
    LimitPermissionDenied,
    LimitRefused,
    StateError,
)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def backend(tmp_path: Path, clock: FakeClock) -> Iterator[SimulatedBackend]:
    """Two V100s without noise."""
    world = SimulatedWorld.open(
        tmp_path / "world", model="V100", gpus=2, seed=7, clock=clock, noise_ratio=0.0
    )
    backend = SimulatedBackend(world, clock)
    yield backend
    backend.close()


def test_it_is_a_backend_with_a_limiter_for_every_device(backend: SimulatedBackend) -> None:
    as_backend: Backend = backend
    limiters: list[Limiter | None] = [
        as_backend.limiter(device.uuid) for device in as_backend.devices()
    ]

    assert "simulated" == as_backend.name
    assert 2 == len(limiters)
    assert None not in limiters


def test_devices_say_that_they_are_simulated(backend: SimulatedBackend) -> None:
    first, second = backend.devices()

    assert (0, 1) == (first.index, second.index)
    assert backend.world.uuids == (first.uuid, second.uuid)
    assert ("nvidia", "V100 (simulated)") == (first.vendor, first.model)
    assert first.pci_bus_id != second.pci_bus_id


def test_a_reading_shows_counter_draw_and_limits(
    backend: SimulatedBackend, clock: FakeClock
) -> None:
    gpu = backend.devices()[0].uuid
    backend.world.occupy(gpu, TYPICAL_TRAINING)
    clock.advance(10)
    reading = backend.read(gpu, details=False)

    assert clock.monotonic_ns() == reading.at_ns
    assert reading.energy_counter_uj == backend.world.counter_uj(gpu, clock.monotonic_ns())
    assert 270.0 == reading.power_watts
    assert PowerLimits(300.0, 300.0, 300.0, 100.0, 300.0) == reading.limits
    assert () == reading.errors


def test_details_of_an_idle_gpu(backend: SimulatedBackend, clock: FakeClock) -> None:
    clock.advance(3_600)
    details = backend.read(backend.devices()[0].uuid, details=True).details

    assert frozenset() == details.throttle_reasons
    assert 0.0 == details.utilization_ratio
    assert 36.0 == details.temperature_celsius
    assert 135e6 == details.sm_clock_hertz
    assert 32 * 2**30 == details.memory_size_bytes


def test_details_of_a_busy_gpu_at_half_clock(backend: SimulatedBackend, clock: FakeClock) -> None:
    gpu = backend.devices()[0].uuid
    backend.world.occupy(gpu, TYPICAL_TRAINING)
    backend.world.set_limit(gpu, 130.0)
    assert frozenset() == backend.read(gpu, details=True).details.throttle_reasons
    clock.advance(0.2)
    details = backend.read(gpu, details=True).details

    assert frozenset({ThrottleReason.POWER_CAP}) == details.throttle_reasons
    assert 1.0 == details.utilization_ratio
    assert 765e6 == details.sm_clock_hertz
    assert 24 * 2**30 == details.memory_used_bytes


def test_a_quick_reading_repeats_the_last_details(
    backend: SimulatedBackend, clock: FakeClock
) -> None:
    gpu = backend.devices()[0].uuid
    assert Details() == backend.read(gpu, details=False).details
    slow = backend.read(gpu, details=True).details
    backend.world.occupy(gpu, TYPICAL_TRAINING)
    clock.advance(5)

    assert slow == backend.read(gpu, details=False).details


def test_a_limit_that_was_written_is_read_back_to_the_milliwatt(backend: SimulatedBackend) -> None:
    limiter = backend.limiter(backend.devices()[0].uuid)
    limiter.write_watts(200.12345)

    assert 200.123 == limiter.read_watts()
    assert 200.123 == limiter.enforced_watts()
    assert 200.123 == backend.read(backend.devices()[0].uuid, details=False).limits.set_watts
    assert 300.0 == backend.limiter(backend.devices()[1].uuid).read_watts()
    assert (100.0, 300.0) == limiter.range_watts()


@pytest.mark.parametrize("limit_watts", [99.9, 300.1, float("nan")])
def test_a_limit_outside_the_range_is_refused(
    backend: SimulatedBackend, limit_watts: float
) -> None:
    limiter = backend.limiter(backend.devices()[0].uuid)
    with pytest.raises(LimitRefused):
        limiter.write_watts(limit_watts)

    assert 300.0 == limiter.read_watts()


def test_without_permission_limits_can_be_read_but_not_written(backend: SimulatedBackend) -> None:
    gpu = backend.devices()[0].uuid
    limiter = backend.limiter(gpu)
    backend.world.set_fault(gpu, Fault.NO_PERMISSION)
    with pytest.raises(LimitPermissionDenied):
        limiter.write_watts(200.0)

    assert 300.0 == limiter.read_watts()
    assert () == backend.read(gpu, details=True).errors


def test_a_sticky_limit_says_yes_and_stays(backend: SimulatedBackend) -> None:
    gpu = backend.devices()[0].uuid
    backend.world.set_fault(gpu, Fault.STICKY)
    backend.limiter(gpu).write_watts(200.0)

    assert 300.0 == backend.limiter(gpu).read_watts()


def test_a_lost_gpu_shows_nothing_and_the_others_go_on(
    backend: SimulatedBackend, clock: FakeClock
) -> None:
    lost, healthy = (device.uuid for device in backend.devices())
    slow = backend.read(lost, details=True).details
    backend.world.set_fault(lost, Fault.LOST)
    reading = backend.read(lost, details=False)

    assert (CallError("energy_counter", "GPU_IS_LOST"),) == reading.errors
    assert (None, None) == (reading.energy_counter_uj, reading.power_watts)
    assert PowerLimits() == reading.limits
    assert clock.monotonic_ns() == reading.at_ns
    assert slow == reading.details
    assert Details() == backend.read(lost, details=True).details
    assert () == backend.read(healthy, details=True).errors
    for call in (
        backend.limiter(lost).range_watts,
        backend.limiter(lost).read_watts,
        backend.limiter(lost).enforced_watts,
        lambda: backend.limiter(lost).write_watts(200.0),
    ):
        with pytest.raises(DeviceError) as caught:
            call()
        assert "GPU_IS_LOST" == caught.value.error


@pytest.mark.parametrize("cure", ["mended", "closed"])
def test_a_hanging_read_returns_when_the_driver_is_mended_or_closed(
    backend: SimulatedBackend, cure: str
) -> None:
    gpu = backend.devices()[0].uuid
    backend.world.set_fault(gpu, Fault.HANG)
    readings = []
    reader = threading.Thread(target=lambda: readings.append(backend.read(gpu, details=False)))
    reader.start()
    reader.join(0.05)
    assert reader.is_alive()
    assert () == backend.read(backend.devices()[1].uuid, details=False).errors
    if cure == "mended":
        backend.world.set_fault(gpu, None)
    else:
        backend.close()
    reader.join(10)

    assert not reader.is_alive()
    expected = () if cure == "mended" else (CallError("energy_counter", "UNINITIALIZED"),)
    assert expected == readings[0].errors


def test_after_close_reads_fail_and_a_second_close_does_nothing(backend: SimulatedBackend) -> None:
    gpu = backend.devices()[0].uuid
    backend.close()
    backend.close()

    expected = (CallError("energy_counter", "UNINITIALIZED"),)
    assert expected == backend.read(gpu, details=True).errors
    with pytest.raises(DeviceError):
        backend.limiter(gpu).read_watts()


def test_a_damaged_world_fails_a_reading_but_does_not_raise(
    backend: SimulatedBackend, tmp_path: Path
) -> None:
    with (tmp_path / "world").open("r+b") as file:
        file.seek(256)
        file.write(bytes(256))
    gpu, healthy = (device.uuid for device in backend.devices())

    assert (CallError("energy_counter", "UNKNOWN"),) == backend.read(gpu, details=True).errors
    assert () == backend.read(healthy, details=True).errors
    with pytest.raises(DeviceError, match="damaged"):
        backend.limiter(gpu).read_watts()


def test_gpus_without_a_path_are_private_and_leave_no_file(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    one = open_simulated(path=None, model="h100", gpus=8, seed=1, clock=clock)
    other = open_simulated(path=None, model="h100", gpus=8, seed=1, clock=clock)
    gpu = one.devices()[0].uuid
    one.limiter(gpu).write_watts(400.0)

    assert [] == list(tmp_path.iterdir())
    assert 400.0 == one.limiter(gpu).read_watts()
    assert 700.0 == other.limiter(gpu).read_watts()
    one.close()
    other.close()


def test_gpus_with_a_path_are_found_again(tmp_path: Path, clock: FakeClock) -> None:
    def opened() -> SimulatedBackend:
        return open_simulated(path=tmp_path / "w", model="A100", gpus=1, seed=1, clock=clock)

    backend = opened()
    gpu = backend.devices()[0].uuid
    backend.limiter(gpu).write_watts(250.0)
    backend.close()
    backend = opened()

    assert 250.0 == backend.limiter(gpu).read_watts()
    backend.close()


def test_a_missing_temporary_folder_is_a_clear_error(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(StateError, match="give them a state file"):
        open_simulated(path=None, model="V100", gpus=1, seed=1, clock=clock)


def test_an_unknown_card_is_refused(clock: FakeClock) -> None:
    with pytest.raises(ConfigError, match="'GTX'"):
        open_simulated(path=None, model="GTX", gpus=1, seed=1, clock=clock)
