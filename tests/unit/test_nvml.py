"""The real nvidia-ml-py over the stand-in library: opening, faults of the driver, closing."""

from collections.abc import Iterator

import pytest

from fakes.nvml.remote import RemoteNvml
from fakes.nvml.standin import StandIn
from joulestat.domain.device import CallError
from joulestat.domain.errors import BackendUnavailable, DeviceError, LimitRefused

ENERGY = "nvmlDeviceGetTotalEnergyConsumption"
SET = "nvmlDeviceSetPowerManagementLimit"


@pytest.fixture
def nvml(nvml_standin: StandIn) -> Iterator[RemoteNvml]:
    """A process that has not opened NVML yet."""
    remote = RemoteNvml(nvml_standin)
    yield remote
    remote.kill()


def uuids(nvml: RemoteNvml) -> list[str]:
    return [device.uuid for device in nvml.devices()]


def test_a_gpu_is_described_by_what_nvml_says(nvml: RemoteNvml) -> None:
    nvml.open()
    device = nvml.devices()[1]

    assert "GPU-5a4d1000-0000-4000-8000-000000000001" == device.uuid
    assert "NVIDIA Stand-in 350W" == device.model
    assert "00000000:02:00.0" == device.pci_bus_id
    assert "590.00.00" == device.driver_version
    assert "NVIDIA" == device.vendor


@pytest.mark.parametrize(
    ("fault", "error", "cure"),
    [
        ("nvmlInitWithFlags * ret 9", "DRIVER_NOT_LOADED", "modprobe nvidia"),
        ("nvmlInitWithFlags * ret 18", "LIB_RM_VERSION_MISMATCH", "reload it or reboot"),
        ("nvmlInitWithFlags * ret 4", "NO_PERMISSION", "/dev/nvidiactl"),
        ("nvmlInitWithFlags * ret 999", "UNKNOWN", "nvidia-smi"),
        ("nvmlInitWithFlags * ret 57", "ERROR_57", "nvidia-smi"),
        ("nvmlDeviceGetCount_v2 * ret 999", "UNKNOWN", "nvidia-smi"),
        ("nvmlSystemGetDriverVersion * ret 18", "LIB_RM_VERSION_MISMATCH", "reload it or reboot"),
        ("* 0 ret 15\n* 1 ret 15", "GPU_IS_LOST", "counts 2 GPU(s), none answers"),
    ],
)
def test_what_keeps_nvml_closed_is_told_with_its_cure(
    nvml: RemoteNvml, nvml_standin: StandIn, fault: str, error: str, cure: str
) -> None:
    nvml_standin.plan(fault)

    with pytest.raises(BackendUnavailable) as refusal:
        nvml.open()

    assert error == refusal.value.error
    assert cure in str(refusal.value)


def test_opening_works_once_the_driver_does(nvml: RemoteNvml, nvml_standin: StandIn) -> None:
    nvml_standin.plan("nvmlDeviceGetCount_v2 * ret 999")
    with pytest.raises(BackendUnavailable):
        nvml.open()
    nvml_standin.plan()
    nvml.open()

    assert 2 == len(nvml.devices())


def test_a_failed_opening_leaves_nothing_open(nvml: RemoteNvml, nvml_standin: StandIn) -> None:
    nvml_standin.plan("nvmlDeviceGetCount_v2 * ret 999")
    with pytest.raises(BackendUnavailable):
        nvml.open()

    assert ("nvmlShutdown", "-", 0) == nvml_standin.calls()[-1]


def test_a_gpu_that_is_lost_at_opening_is_left_out(nvml: RemoteNvml, nvml_standin: StandIn) -> None:
    nvml_standin.plan("* 0 ret 15")
    nvml.open()

    assert [1] == [device.index for device in nvml.devices()]


def test_no_gpu_is_an_empty_list(nvml: RemoteNvml, nvml_standin: StandIn) -> None:
    nvml_standin.plan("nvmlDeviceGetCount_v2 * val 0")
    nvml.open()

    assert [] == list(nvml.devices())


def test_a_card_older_than_volta_has_no_energy_and_no_error(
    nvml: RemoteNvml, nvml_standin: StandIn
) -> None:
    nvml_standin.plan(f"{ENERGY} * ret 3", "nvmlDeviceGetFieldValues * field 3")
    nvml.open()
    reading = nvml.read(uuids(nvml)[0], details=True)

    assert reading.energy_counter_uj is None
    assert 50.0 == reading.power_watts
    assert () == reading.errors


def test_a_field_that_the_driver_predates_is_replaced(
    nvml: RemoteNvml, nvml_standin: StandIn
) -> None:
    nvml_standin.plan("nvmlDeviceGetFieldValues * field 2")
    nvml.open()
    reading = nvml.read(uuids(nvml)[0], details=False)

    assert 50.0 == reading.power_watts
    assert () == reading.errors


def test_a_field_that_fails_is_listed_by_its_own_error(
    nvml: RemoteNvml, nvml_standin: StandIn
) -> None:
    nvml.open()
    nvml_standin.plan("nvmlDeviceGetFieldValues 0 field 999")
    reading = nvml.read(uuids(nvml)[0], details=False)

    assert (CallError("nvmlDeviceGetFieldValues", "UNKNOWN"),) == reading.errors


def test_a_hanging_gpu_holds_up_no_other(nvml: RemoteNvml, nvml_standin: StandIn) -> None:
    nvml.open()
    stuck, healthy = uuids(nvml)
    nvml_standin.plan(f"{ENERGY} 0 hang")
    hanging = nvml.begin("backend", "read", stuck, details=False)

    assert () == nvml.read(healthy, details=True).errors
    assert not nvml.answered(hanging, within_seconds=0.1)
    nvml_standin.plan()
    assert () == nvml.answer(hanging).errors


def test_energy_is_out_of_nvml_as_it_came(nvml: RemoteNvml, nvml_standin: StandIn) -> None:
    nvml.open()
    nvml_standin.plan(f"{ENERGY} 0 val 12345678901234")

    assert 12_345_678_901_234_000 == nvml.read(uuids(nvml)[0], details=False).energy_counter_uj


def test_after_a_driver_reload_energy_and_limit_begin_anew(
    nvml: RemoteNvml, nvml_standin: StandIn
) -> None:
    nvml.open()
    device_uuid = uuids(nvml)[0]
    limiter = nvml.limiter(device_uuid)
    assert limiter is not None
    limiter.write_watts(150.0)
    nvml_standin.advance(3_600.0)
    before = nvml.read(device_uuid, details=False)
    nvml_standin.reload_driver()
    after = nvml.read(device_uuid, details=False)

    assert before.energy_counter_uj is not None
    assert after.energy_counter_uj is not None
    assert after.energy_counter_uj < 1_000_000 < before.energy_counter_uj
    assert (150.0, 300.0) == (before.limits.set_watts, after.limits.set_watts)


def test_an_out_of_band_cap_shows_as_enforced_only(nvml: RemoteNvml, nvml_standin: StandIn) -> None:
    nvml.open()
    nvml_standin.change(0, cap_mw=220_000, demand_mw=400_000)
    reading = nvml.read(uuids(nvml)[0], details=True)

    assert (300.0, 220.0) == (reading.limits.set_watts, reading.limits.enforced_watts)
    assert 220.0 == reading.power_watts


def test_a_write_that_the_driver_ignores_is_for_the_caller_to_read_back(
    nvml: RemoteNvml, nvml_standin: StandIn
) -> None:
    nvml.open()
    limiter = nvml.limiter(uuids(nvml)[0])
    assert limiter is not None
    nvml_standin.plan(f"{SET} * ignore")
    limiter.write_watts(150.0)

    assert 300.0 == limiter.read_watts()


def test_a_number_above_32_bits_never_reaches_the_driver(
    nvml: RemoteNvml, nvml_standin: StandIn
) -> None:
    nvml.open()
    limiter = nvml.limiter(uuids(nvml)[0])
    assert limiter is not None
    with pytest.raises(LimitRefused):
        limiter.write_watts(2**32 / 1e3 + 250.0)

    assert SET not in [function for function, _, _ in nvml_standin.calls()]


def test_a_gpu_that_cannot_be_limited_has_no_limiter(
    nvml: RemoteNvml, nvml_standin: StandIn
) -> None:
    nvml_standin.plan("nvmlDeviceGetPowerManagementLimitConstraints 0 ret 3")
    nvml.open()
    first, second = uuids(nvml)

    assert nvml.limiter(first) is None
    assert nvml.limiter(second) is not None


def test_an_unknown_gpu_is_an_error_that_names_it(nvml: RemoteNvml) -> None:
    nvml.open()

    with pytest.raises(DeviceError, match="GPU-of-somebody-else"):
        nvml.read("GPU-of-somebody-else", details=False)


def test_closing_shuts_nvml_down_once(nvml: RemoteNvml, nvml_standin: StandIn) -> None:
    nvml.open()
    nvml.close()
    nvml.close()

    assert 1 == [function for function, _, _ in nvml_standin.calls()].count("nvmlShutdown")


def test_closing_does_not_fail_where_the_driver_is_gone(
    nvml: RemoteNvml, nvml_standin: StandIn
) -> None:
    nvml.open()
    nvml_standin.plan("nvmlShutdown * ret 9")

    nvml.close()
