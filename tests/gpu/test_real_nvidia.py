"""A real NVIDIA card, read only: `pytest -m gpu`. Nothing is ever set."""

from statistics import median

import pytest

from gpu.card import WATCH_SECONDS, Watched
from joulestat.devices.nvml_backend import NvmlBackend

pytestmark = pytest.mark.gpu


def test_every_card_says_who_it_is(backend: NvmlBackend) -> None:
    devices = backend.devices()

    assert list(range(len(devices))) == [device.index for device in devices]
    assert len(devices) == len({device.uuid for device in devices})
    for device in devices:
        assert device.uuid.startswith("GPU-")
        assert device.model
        assert device.driver_version
        assert device.pci_bus_id


def test_every_value_is_read_or_known_not_to_be_offered(backend: NvmlBackend) -> None:
    for device in backend.devices():
        reading = backend.read(device.uuid, details=True)

        assert () == reading.errors
        assert reading.power_watts is not None
        assert 0 < reading.power_watts < 2_000


def test_all_five_limits_are_sane(backend: NvmlBackend) -> None:
    for device in backend.devices():
        limits = backend.read(device.uuid, details=True).limits
        if limits.max_watts is None:
            pytest.skip(f"{device.model} has no power limit")

        assert limits.min_watts is not None
        assert limits.default_watts is not None
        assert limits.set_watts is not None
        assert limits.enforced_watts is not None
        assert 0 < limits.min_watts <= limits.default_watts <= limits.max_watts < 2_000
        assert limits.min_watts <= limits.set_watts <= limits.max_watts
        assert 0 < limits.enforced_watts <= limits.max_watts


def test_details_are_sane(backend: NvmlBackend) -> None:
    for device in backend.devices():
        details = backend.read(device.uuid, details=True).details

        assert details.utilization_ratio is None or 0 <= details.utilization_ratio <= 1
        assert details.temperature_celsius is None or 0 < details.temperature_celsius < 120
        assert details.sm_clock_hertz is None or 1e7 < details.sm_clock_hertz < 5e9
        if details.memory_size_bytes is not None:
            assert details.memory_used_bytes is not None
            assert 0 <= details.memory_used_bytes <= details.memory_size_bytes


def test_the_energy_counter_agrees_with_integrated_power(watched: Watched) -> None:
    if watched.counter_joules is None:
        pytest.skip(f"{watched.device.model} has no energy counter")

    assert watched.seconds == pytest.approx(WATCH_SECONDS, rel=0.1)
    assert watched.counter_joules == pytest.approx(watched.integrated_joules, rel=0.05)


def test_the_energy_counter_changes_more_often_than_it_is_read(watched: Watched) -> None:
    if watched.counter_joules is None:
        pytest.skip(f"{watched.device.model} has no energy counter")

    # A tick is due every second; between two changes of the counter energy is not seen.
    assert watched.counter_periods_seconds
    assert median(watched.counter_periods_seconds) < 0.25


def test_the_power_cap_counter_is_in_a_known_unit(watched: Watched) -> None:
    if watched.cap_counter_growth is None:
        pytest.skip("this driver does not offer field 74")
    if watched.capped_share < 0.5:
        pytest.skip("the card was not held back by its power cap: give it work, then look again")

    assert watched.cap_counter_unit in {"ns", "us"}


def test_a_reading_is_quick(watched: Watched) -> None:
    assert watched.read_seconds < 0.1


def test_a_look_at_a_card_that_is_there_changes_nothing(backend: NvmlBackend) -> None:
    before = backend.devices()

    assert not backend.refresh()
    assert before == backend.devices()


def test_a_limiter_reads_what_a_reading_reads(backend: NvmlBackend) -> None:
    for device in backend.devices():
        limiter = backend.limiter(device.uuid)
        if limiter is None:
            continue
        limits = backend.read(device.uuid, details=True).limits

        assert (limits.min_watts, limits.max_watts) == limiter.range_watts()
        assert limits.set_watts == limiter.read_watts()
