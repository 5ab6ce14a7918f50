"""The real AMD backend over the stand-ins: what it finds, and what it makes of odd answers."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fakes.amd import host
from fakes.amd.remote import AMDSMI_SYSFS, PYRSMI_SYSFS, SYSFS, AmdHost, RemoteAmd
from joulestat.domain.device import CallError, Reading
from joulestat.domain.errors import BackendUnavailable, DeviceError

ENERGY = "amdsmi_get_energy_count"
UINT64_MAX = 2**64 - 1

Opened = Callable[..., RemoteAmd]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """Opens the backend on a host with these cards."""
    with ExitStack() as ending:

        def open_on(
            *cards: dict[str, Any], sources: tuple[str, ...] = AMDSMI_SYSFS, **fault: Any
        ) -> RemoteAmd:
            amd = AmdHost(tmp_path, sources=sources)
            amd.plug(*(cards or ({}, {})))
            if fault:
                amd.fault(**fault)
            remote = RemoteAmd(amd)
            ending.callback(remote.kill)
            remote.open()
            return remote

        yield open_on


def reading_of(amd: RemoteAmd, index: int = 0) -> Reading:
    return amd.read(amd.devices()[index].uuid, details=True)


def test_a_gpu_is_described_by_what_amdsmi_says(opened: Opened) -> None:
    device = opened().devices()[1]

    assert "e7ff740f-0000-1000-80f0-4c2d9a1b0002" == device.uuid
    assert "AMD Instinct Stand-in" == device.model
    assert "0000:13:00.0" == device.pci_bus_id
    assert "6.14.14 (amdsmi 26.0.2)" == device.driver_version
    assert "AMD" == device.vendor


@pytest.mark.parametrize(
    ("sources", "log"),
    [
        (AMDSMI_SYSFS, "energy=amdsmi power=amdsmi limits=amdsmi limiter=yes"),
        (PYRSMI_SYSFS, "energy=none power=pyrsmi limits=sysfs limiter=yes"),
        (SYSFS, "energy=none power=sysfs limits=sysfs limiter=yes"),
        (("pyrsmi",), "energy=none power=pyrsmi limits=none limiter=no"),
    ],
)
def test_whose_numbers_they_are_is_logged_once_per_gpu(
    opened: Opened, sources: tuple[str, ...], log: str
) -> None:
    amd = opened({}, sources=sources)
    reading_of(amd)
    amd.refresh()

    assert 1 == amd.log().count("event=amd_sources")
    assert log in amd.log()


def test_a_gpu_is_the_same_whoever_shows_it(opened: Opened, tmp_path: Path) -> None:
    shown = [opened(sources=sources).devices() for sources in (AMDSMI_SYSFS, PYRSMI_SYSFS, SYSFS)]

    assert [0, 1] == [device.index for device in shown[0]]
    for devices in shown:
        assert [device.uuid for device in shown[0]] == [device.uuid for device in devices]
        assert [device.pci_bus_id for device in shown[0]] == [d.pci_bus_id for d in devices]


def test_amdsmi_without_rocm_is_done_without_and_prints_nothing(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_AMD_NO_ROCM", "1")
    amd = opened({})
    reading = reading_of(amd)

    assert 50.0 == reading.power_watts
    assert () == reading.errors
    assert "KeyError('libamd_smi.so')" == amd.ask("reasons")["amdsmi"]
    assert "" == amd.printed()


def test_pyrsmi_that_trips_over_amdsmi_is_done_without(opened: Opened) -> None:
    amd = opened({}, sources=PYRSMI_SYSFS, call="smi_initialize", raises="KeyError")

    assert 50.0 == reading_of(amd).power_watts
    assert "(sysfs)" in amd.devices()[0].driver_version
    assert "KeyError" in amd.ask("reasons")["pyrsmi"]


def test_without_any_gpu_each_source_says_why(opened: Opened) -> None:
    with pytest.raises(BackendUnavailable) as refusal:
        opened({}, sources=("amdsmi",), call="amdsmi_init", status=host.DRIVER_NOT_LOADED)

    assert "amdsmi_init answered DRIVER_NOT_LOADED" in str(refusal.value)
    assert "pyrsmi: ModuleNotFoundError" in str(refusal.value)
    assert "sysfs: no card of vendor 0x1002" in str(refusal.value)
    assert "modprobe amdgpu" in str(refusal.value)


def test_an_unknown_gpu_is_an_error(opened: Opened) -> None:
    with pytest.raises(DeviceError, match="no GPU 'GPU-x'"):
        opened().read("GPU-x", details=False)


def test_a_gpu_that_does_not_say_who_it_is_is_left_out(opened: Opened) -> None:
    amd = opened(call="amdsmi_get_gpu_device_bdf", gpu=0, status=host.NOT_FOUND)

    assert [1] == [device.index for device in amd.devices()]
    assert "event=gpu_left_out backend=amd gpu=0" in amd.log()


def test_of_the_partitions_of_a_card_the_first_one_is_the_gpu(opened: Opened) -> None:
    cards = [{"bdf": f"0000:{n // 2:02x}:00.{n % 2}", "partition": n % 2} for n in range(4)]

    for sources in (AMDSMI_SYSFS, PYRSMI_SYSFS):
        devices = opened(*cards, sources=sources).devices()
        assert [0, 2] == [device.index for device in devices]
    assert ["0000:00:00.0", "0000:01:00.0"] == [
        device.pci_bus_id for device in opened(*cards, sources=SYSFS).devices()
    ]


@pytest.mark.parametrize("sources", [AMDSMI_SYSFS, PYRSMI_SYSFS, SYSFS])
def test_the_odd_die_of_an_mi250_has_neither_energy_nor_power(
    opened: Opened, sources: tuple[str, ...]
) -> None:
    odd = {"demand_mw": 0, "energy_uj": 0, "cap_uw": 0, "min_uw": 0, "max_uw": 0, "default_uw": 0}
    amd = opened(
        {"name": "AMD Instinct MI250X"}, {"name": "AMD Instinct MI250X", **odd}, sources=sources
    )
    even, odd_reading = reading_of(amd, 0), reading_of(amd, 1)

    assert 50.0 == even.power_watts
    assert odd_reading.energy_counter_uj is None
    assert odd_reading.power_watts is None
    assert odd_reading.limits.in_force_watts is None
    assert () == odd_reading.errors
    assert amd.limiter(amd.devices()[1].uuid) is None


def test_two_dies_with_one_serial_number_are_told_apart_by_address(opened: Opened) -> None:
    amd = opened({"unique_id": "abc"}, {"unique_id": "abc"})

    assert ["00ff740f-0000-1000-8000-000000000abc", "AMD-0000:13:00.0"] == [
        device.uuid for device in amd.devices()
    ]


@pytest.mark.parametrize("sources", [AMDSMI_SYSFS, SYSFS])
def test_a_card_without_a_serial_number_is_named_by_its_address(
    opened: Opened, sources: tuple[str, ...]
) -> None:
    assert "AMD-0000:03:00.0" == opened({"unique_id": ""}, sources=sources).devices()[0].uuid


@pytest.mark.parametrize("status", [host.NOT_SUPPORTED, 14, 40])
def test_a_card_without_a_uuid_is_named_by_its_serial_number(opened: Opened, status: int) -> None:
    amd = opened(call="amdsmi_get_gpu_device_uuid", status=status)

    assert "e7ff740f-0000-1000-80f0-4c2d9a1b0001" == amd.devices()[0].uuid


def test_a_card_without_any_of_these_is_named_by_its_address(opened: Opened) -> None:
    amd = opened(call="amdsmi_get_gpu_device_uuid", status=2, sources=("amdsmi",))

    assert "AMD-0000:03:00.0" == amd.devices()[0].uuid


@pytest.mark.parametrize(
    "name", ["GPU-e7f04c2d9a1b0002", "GPU-65376630-3463-3264-3961-316230303032"]
)
def test_a_gpu_is_found_by_the_name_that_training_code_has_for_it(
    opened: Opened, name: str
) -> None:
    amd = opened()

    assert amd.devices()[1].uuid == amd.ask("backend", "parent_of", name)
    assert amd.ask("backend", "parent_of", amd.devices()[1].uuid) is None
    assert amd.ask("backend", "parent_of", "GPU-e7f04c2d9a1bffff") is None


def test_the_energys_old_key_is_read_as_well(opened: Opened) -> None:
    assert reading_of(opened(call=ENERGY, old_key=True)).energy_counter_uj is not None


@pytest.mark.parametrize("tells_current", [True, False])
def test_the_power_that_a_card_has_is_read(opened: Opened, tells_current: bool) -> None:
    for sources in (AMDSMI_SYSFS, SYSFS):
        amd = opened({"tells_current": tells_current}, sources=sources)
        assert 50.0 == reading_of(amd).power_watts


def test_where_pyrsmi_says_minus_one_the_kernel_knows(opened: Opened) -> None:
    amd = opened({"tells_current": False}, sources=PYRSMI_SYSFS)

    assert 50.0 == reading_of(amd).power_watts


def test_where_pyrsmi_says_minus_one_and_nobody_knows_it_is_none(opened: Opened) -> None:
    reading = reading_of(opened({"tells_current": False}, sources=("pyrsmi",)))

    assert reading.power_watts is None
    assert () == reading.errors


def test_a_power_that_amdsmi_has_not_is_the_kernels(opened: Opened) -> None:
    fields = ["socket_power", "current_socket_power", "average_socket_power"]

    assert 50.0 == reading_of(opened(call="amdsmi_get_power_info", na=fields)).power_watts


def test_an_energy_that_is_not_supported_is_none_and_no_error(opened: Opened) -> None:
    reading = reading_of(opened(call=ENERGY, status=host.NOT_SUPPORTED))

    assert reading.energy_counter_uj is None
    assert 50.0 == reading.power_watts
    assert () == reading.errors


def test_a_call_that_fails_is_listed_and_not_papered_over(opened: Opened) -> None:
    reading = reading_of(opened(call="amdsmi_get_power_info", status=30))

    assert reading.power_watts is None
    assert reading.energy_counter_uj is not None
    assert (CallError("amdsmi_get_power_info", "BUSY"),) == reading.errors


@pytest.mark.parametrize(
    ("active", "reasons"),
    [
        ({"active_prochot_thrm": True}, {"hw_slowdown"}),
        ({"active_socket_thrm": True, "active_hbm_thrm": True}, {"hw_thermal"}),
        ({"active_ppt_pwr": True, "active_vr_thrm": True}, {"power_cap", "hw_thermal"}),
    ],
)
def test_what_is_violated_is_the_reason(
    opened: Opened, active: dict[str, bool], reasons: set[str]
) -> None:
    reading = reading_of(opened(call="amdsmi_get_violation_status", answer=active))

    assert reasons == reading.details.throttle_reasons


def test_what_a_card_does_not_tell_in_detail_is_none_and_no_error(opened: Opened) -> None:
    violations = ["prochot_thrm", "ppt_pwr", "socket_thrm", "vr_thrm", "hbm_thrm"]
    fields = [f"active_{name}" for name in violations] + ["clk", "gfx_activity"]
    reading = reading_of(opened(call="*", na=fields, sources=("amdsmi",)))

    assert reading.details.throttle_reasons is None
    assert reading.details.sm_clock_hertz is None
    assert reading.details.utilization_ratio is None
    assert () == reading.errors
