"""What every backend promises; the same tests for each of them."""

import math

import pytest

from contract.rigs import GPUS, Rig
from joulestat.devices.backend import Limiter
from joulestat.domain.errors import DeviceError, LimitPermissionDenied, LimitRefused
from joulestat.domain.units import NS_PER_SECOND, same_limit

WRAPS_TO_250_WATTS = 2**32 / 1e3 + 250.0
"""In mW it is one above 32 bits and 250 W in the lower 32 of them."""


def uuid_of(rig: Rig, index: int) -> str:
    return rig.backend.devices()[index].uuid


def limiter_of(rig: Rig, index: int) -> Limiter:
    limiter = rig.backend.limiter(uuid_of(rig, index))
    assert limiter is not None
    return limiter


def energy_uj(rig: Rig, index: int) -> int:
    energy_counter_uj = rig.backend.read(uuid_of(rig, index), details=False).energy_counter_uj
    assert energy_counter_uj is not None
    return energy_counter_uj


def test_devices_are_told_apart_by_uuid_and_come_in_order_of_index(rig: Rig) -> None:
    devices = rig.backend.devices()

    assert list(range(GPUS)) == [device.index for device in devices]
    assert GPUS == len({device.uuid for device in devices})
    assert GPUS == len({device.pci_bus_id for device in devices})


def test_devices_say_who_they_are_in_text(rig: Rig) -> None:
    for device in rig.backend.devices():
        for text in (device.uuid, device.vendor, device.model, device.driver_version):
            assert isinstance(text, str)
            assert text


def test_devices_stay_the_same_for_another_process(rig: Rig) -> None:
    before = rig.backend.devices()
    rig.reopen()

    assert before == rig.backend.devices()


def test_a_reading_is_stamped_with_the_clock_it_was_given(rig: Rig) -> None:
    before_ns = rig.now_ns()
    reading = rig.backend.read(uuid_of(rig, 0), details=False)

    assert before_ns <= reading.at_ns <= rig.now_ns()


def test_energy_never_falls(counting_rig: Rig) -> None:
    counting_rig.occupy(1)
    readings = []
    for _ in range(20):
        readings.append(energy_uj(counting_rig, 1))
        counting_rig.advance(0.037)

    assert sorted(readings) == readings
    assert readings[-1] > readings[0]


def test_a_gpu_without_a_counter_has_no_energy_and_no_error(rig: Rig) -> None:
    reading = rig.backend.read(uuid_of(rig, 0), details=False)

    assert rig.can.counts is (reading.energy_counter_uj is not None)
    assert reading.power_watts is not None
    assert () == reading.errors


def test_an_idle_gpu_draws_energy_too(counting_rig: Rig) -> None:
    before_uj = energy_uj(counting_rig, 0)
    counting_rig.advance(10.0)

    assert energy_uj(counting_rig, 0) > before_uj


def test_energy_is_power_times_time_in_microjoules(counting_rig: Rig) -> None:
    counting_rig.occupy(0)
    counting_rig.advance(60.0)
    first = counting_rig.backend.read(uuid_of(counting_rig, 0), details=False)
    counting_rig.advance(1_000.0)
    last = counting_rig.backend.read(uuid_of(counting_rig, 0), details=False)

    assert first.energy_counter_uj is not None
    assert last.energy_counter_uj is not None
    assert last.power_watts is not None
    joules = (last.energy_counter_uj - first.energy_counter_uj) / 1e6
    seconds = (last.at_ns - first.at_ns) / NS_PER_SECOND
    assert last.power_watts == pytest.approx(
        joules / seconds / counting_rig.can.counter_scale, rel=1e-3
    )


def test_a_gpu_that_works_does_not_charge_its_neighbour(counting_rig: Rig) -> None:
    before_uj = energy_uj(counting_rig, 1), energy_uj(counting_rig, 2)
    counting_rig.occupy(1)
    counting_rig.advance(100.0)
    worked_uj, idled_uj = (
        energy_uj(counting_rig, 1) - before_uj[0],
        energy_uj(counting_rig, 2) - before_uj[1],
    )

    assert worked_uj > 2 * idled_uj


def test_all_five_limits_are_read_in_watts_and_in_order(rig: Rig) -> None:
    limits = rig.backend.read(uuid_of(rig, 0), details=True).limits

    assert limits.set_watts is not None
    assert limits.default_watts is not None
    assert limits.min_watts is not None
    assert limits.max_watts is not None
    assert 10 < limits.min_watts < limits.default_watts <= limits.max_watts < 2_000
    assert limits.min_watts <= limits.set_watts <= limits.max_watts
    assert limits.in_force_watts == limits.set_watts
    assert limits.enforced_watts == (limits.set_watts if rig.can.tells_enforced else None)


def test_the_limiter_knows_the_same_range_and_limits_as_a_reading(rig: Rig) -> None:
    limits = rig.backend.read(uuid_of(rig, 0), details=True).limits
    limiter = limiter_of(rig, 0)

    assert (limits.min_watts, limits.max_watts) == limiter.range_watts()
    assert limits.set_watts == limiter.read_watts()
    assert limiter.enforced_watts() in {None, limits.enforced_watts}


def test_slow_values_are_repeated_until_they_are_asked_for_again(rig: Rig) -> None:
    rig.occupy(0)
    rig.advance(60.0)
    slow = rig.backend.read(uuid_of(rig, 0), details=True)
    rig.advance(60.0)
    fast = rig.backend.read(uuid_of(rig, 0), details=False)

    assert slow.details == fast.details
    assert slow.limits == fast.limits


def test_details_are_in_si_units(rig: Rig) -> None:
    rig.occupy(0)
    rig.advance(600.0)
    details = rig.backend.read(uuid_of(rig, 0), details=True).details

    assert rig.can.tells_throttling is (details.throttle_reasons is not None)
    assert details.utilization_ratio is not None
    assert 0.5 < details.utilization_ratio <= 1.0
    assert details.temperature_celsius is not None
    assert 20 < details.temperature_celsius < 100
    assert details.sm_clock_hertz is not None
    assert 1e8 < details.sm_clock_hertz < 4e9
    assert details.memory_used_bytes is not None
    assert details.memory_size_bytes is not None
    assert 0 < details.memory_used_bytes < details.memory_size_bytes
    assert details.memory_size_bytes > 2**33


@pytest.mark.parametrize("limit_watts", [150.0, 200.5, 249.999])
def test_a_written_limit_is_read_back(rig: Rig, limit_watts: float) -> None:
    limiter = limiter_of(rig, 1)
    limiter.write_watts(limit_watts)
    limits = rig.backend.read(uuid_of(rig, 1), details=False).limits

    assert same_limit(limit_watts, limiter.read_watts())
    assert limits.set_watts is not None
    assert same_limit(limit_watts, limits.set_watts)


def test_a_written_limit_holds_for_that_gpu_alone(rig: Rig) -> None:
    before_watts = limiter_of(rig, 0).read_watts()
    limiter_of(rig, 1).write_watts(150.0)

    assert before_watts == limiter_of(rig, 0).read_watts()


def test_a_gpu_obeys_the_limit_that_was_written(rig: Rig) -> None:
    rig.occupy(1)
    rig.advance(10.0)
    limiter_of(rig, 1).write_watts(150.0)
    rig.advance(10.0)
    reading = rig.backend.read(uuid_of(rig, 1), details=True)

    assert reading.power_watts == pytest.approx(150.0, abs=1.0)
    assert reading.details.throttle_reasons == ({"power_cap"} if rig.can.tells_throttling else None)


def test_a_limit_outlives_the_process_that_wrote_it(rig: Rig) -> None:
    limiter_of(rig, 1).write_watts(150.0)
    rig.reopen()

    assert same_limit(150.0, limiter_of(rig, 1).read_watts())


@pytest.mark.parametrize(
    "limit_watts", [99.0, 100_000.0, 0.0, -250.0, WRAPS_TO_250_WATTS, math.inf, math.nan]
)
def test_a_limit_out_of_range_is_refused_and_changes_nothing(rig: Rig, limit_watts: float) -> None:
    limiter = limiter_of(rig, 1)
    before_watts = limiter.read_watts()

    with pytest.raises(LimitRefused) as refusal:
        limiter.write_watts(limit_watts)

    assert rig.words.refused == refusal.value.error
    assert before_watts == limiter.read_watts()


def test_a_limit_without_the_privilege_is_denied_and_changes_nothing(rig: Rig) -> None:
    limiter = limiter_of(rig, 1)
    before_watts = limiter.read_watts()
    rig.forbid_writes()

    with pytest.raises(LimitPermissionDenied) as denial:
        limiter.write_watts(150.0)

    assert rig.words.denied == denial.value.error
    assert before_watts == limiter.read_watts()


def test_a_lost_gpu_lists_errors_and_hurts_no_other(rig: Rig) -> None:
    rig.lose(1)
    lost = rig.backend.read(uuid_of(rig, 1), details=True)

    assert {rig.words.lost} == {error.error for error in lost.errors}
    assert lost.energy_counter_uj is None
    assert lost.power_watts is None
    assert lost.limits.in_force_watts is None
    for index in (0, 2):
        other = rig.backend.read(uuid_of(rig, index), details=True)
        assert () == other.errors
        assert other.power_watts is not None


def test_a_gpu_that_comes_back_is_read_again(rig: Rig) -> None:
    rig.lose(1)
    rig.backend.read(uuid_of(rig, 1), details=True)
    rig.find(1)
    reading = rig.backend.read(uuid_of(rig, 1), details=True)

    assert () == reading.errors
    assert reading.power_watts is not None
    assert reading.limits.max_watts is not None


def test_energy_runs_on_while_a_gpu_is_lost(counting_rig: Rig) -> None:
    before_uj = energy_uj(counting_rig, 1)
    counting_rig.lose(1)
    counting_rig.backend.read(uuid_of(counting_rig, 1), details=True)
    counting_rig.advance(10.0)
    counting_rig.find(1)

    assert energy_uj(counting_rig, 1) > before_uj


def test_the_limiter_of_a_lost_gpu_raises_what_the_driver_says(rig: Rig) -> None:
    limiter = limiter_of(rig, 1)
    rig.lose(1)

    with pytest.raises(DeviceError) as unread:
        limiter.read_watts()
    with pytest.raises(DeviceError) as unwritten:
        limiter.write_watts(150.0)
    assert rig.words.lost == unread.value.error == unwritten.value.error
    assert not isinstance(unwritten.value, LimitRefused | LimitPermissionDenied)


def test_closing_twice_is_closing_once(rig: Rig) -> None:
    rig.backend.close()
    rig.backend.close()


def test_a_reading_after_closing_lists_its_calls_as_failed(rig: Rig) -> None:
    device_uuid = uuid_of(rig, 0)
    rig.backend.close()
    reading = rig.backend.read(device_uuid, details=False)

    assert {rig.words.closed} == {error.error for error in reading.errors}
    assert reading.energy_counter_uj is None
