"""What tests may count on in the stand-in for NVML: one driver for all processes, its faults."""

from collections.abc import Iterator

import pytest

from fakes.nvml import faults
from fakes.nvml.remote import RemoteNvml
from fakes.nvml.standin import StandIn
from joulestat.devices.backend import Limiter
from joulestat.domain.errors import LimitPermissionDenied

ENERGY = "nvmlDeviceGetTotalEnergyConsumption"
SET = "nvmlDeviceSetPowerManagementLimit"


@pytest.fixture
def two_processes(nvml_standin: StandIn) -> Iterator[tuple[RemoteNvml, RemoteNvml]]:
    """Two processes on one host, NVML open in both."""
    one, other = RemoteNvml(nvml_standin), RemoteNvml(nvml_standin)
    one.open()
    other.open()
    yield one, other
    one.kill()
    other.kill()


def limiter_of(nvml: RemoteNvml) -> Limiter:
    limiter = nvml.limiter(nvml.devices()[0].uuid)
    assert limiter is not None
    return limiter


def energy_uj(nvml: RemoteNvml) -> int:
    counter_uj = nvml.read(nvml.devices()[0].uuid, details=False).energy_counter_uj
    assert counter_uj is not None
    return counter_uj


def test_a_limit_is_seen_by_every_process(two_processes: tuple[RemoteNvml, RemoteNvml]) -> None:
    one, other = two_processes
    limiter_of(one).write_watts(180.0)

    assert 180.0 == limiter_of(other).read_watts()


def test_energy_is_one_counter_for_all_processes_and_the_test(
    two_processes: tuple[RemoteNvml, RemoteNvml], nvml_standin: StandIn
) -> None:
    one, other = two_processes
    nvml_standin.advance(1_000.0)
    seen_uj = [energy_uj(one), energy_uj(other), energy_uj(one), nvml_standin.gpu(0).energy_uj]

    assert sorted(seen_uj) == seen_uj
    assert 50_000_000_000 == pytest.approx(seen_uj[0], rel=1e-3)


def test_a_new_limit_leaves_the_energy_drawn_under_the_old_one(
    two_processes: tuple[RemoteNvml, RemoteNvml], nvml_standin: StandIn
) -> None:
    nvml_standin.change(0, demand_mw=300_000)
    nvml_standin.advance(1_000.0)
    limiter_of(two_processes[0]).write_watts(100.0)
    nvml_standin.advance(1_000.0)

    assert 400_000_000_000 == pytest.approx(nvml_standin.gpu(0).energy_uj, rel=1e-3)


def test_a_reloaded_driver_is_found_by_every_process(
    two_processes: tuple[RemoteNvml, RemoteNvml], nvml_standin: StandIn
) -> None:
    one, other = two_processes
    limiter_of(one).write_watts(180.0)
    nvml_standin.reload_driver()

    assert 300.0 == limiter_of(other).read_watts()
    limiter_of(other).write_watts(170.0)
    assert 170.0 == limiter_of(one).read_watts()


def test_a_fault_is_for_the_planned_gpu_and_function_alone(
    two_processes: tuple[RemoteNvml, RemoteNvml], nvml_standin: StandIn
) -> None:
    nvml = two_processes[0]
    nvml_standin.plan("# a comment", "", f"{ENERGY} 1 ret 999  # unknown")
    first, second = (nvml.read(device.uuid, details=True) for device in nvml.devices())

    assert () == first.errors
    assert [ENERGY] == [error.call for error in second.errors]


def test_a_planned_latency_is_felt(
    two_processes: tuple[RemoteNvml, RemoteNvml], nvml_standin: StandIn
) -> None:
    nvml = two_processes[0]
    device_uuid = nvml.devices()[0].uuid
    nvml_standin.plan(f"{ENERGY} * us 20000", f"{ENERGY} 0 us 20000")
    start_ns = nvml.ask("now_ns")
    at_ns = nvml.read(device_uuid, details=False).at_ns

    assert at_ns - start_ns >= 20_000_000  # stamped in the middle of 40 ms


def test_a_counter_can_freeze_dip_jump_and_be_itself_again(
    two_processes: tuple[RemoteNvml, RemoteNvml], nvml_standin: StandIn
) -> None:
    nvml = two_processes[0]
    nvml_standin.advance(1_000.0)
    true_uj = energy_uj(nvml)
    shown_uj = []
    for fault in (
        faults.frozen_counter(0, 7_000),
        faults.shifted_counter(0, -8_500_000),
        faults.shifted_counter(0, 30_000_000),
    ):
        nvml_standin.plan(fault)
        shown_uj.append(energy_uj(nvml))
    nvml_standin.plan()

    assert 7_000_000 == shown_uj[0]
    off_uj = [shown_uj[1] - true_uj, shown_uj[2] - true_uj, energy_uj(nvml) - true_uj]
    assert [-8.5e9, 30e9, 0] == pytest.approx(off_uj, abs=1e7)


def test_a_reset_gpu_counts_from_zero_and_its_neighbour_goes_on(
    two_processes: tuple[RemoteNvml, RemoteNvml], nvml_standin: StandIn
) -> None:
    nvml_standin.advance(1_000.0)
    nvml_standin.change(0, energy_uj=0)

    assert nvml_standin.gpu(0).energy_uj < 1e9 < nvml_standin.gpu(1).energy_uj


@pytest.mark.parametrize("error", ["NOT_SUPPORTED", "NO_PERMISSION", "TIMEOUT", "UNKNOWN"])
def test_a_call_can_fail_in_the_vendors_words(
    two_processes: tuple[RemoteNvml, RemoteNvml], nvml_standin: StandIn, error: str
) -> None:
    nvml = two_processes[0]
    nvml_standin.plan(faults.failing(ENERGY, getattr(faults, error), gpu=0))
    reading = nvml.read(nvml.devices()[0].uuid, details=False)

    listed = [] if error == "NOT_SUPPORTED" else [error]
    assert listed == [failed.error for failed in reading.errors]
    assert reading.energy_counter_uj is None


def test_another_drivers_library_answers_version_mismatch(
    two_processes: tuple[RemoteNvml, RemoteNvml], nvml_standin: StandIn
) -> None:
    nvml_standin.upgrade_driver("600.10.20")

    for nvml in two_processes:
        reading = nvml.read(nvml.devices()[0].uuid, details=False)
        assert ["LIB_RM_VERSION_MISMATCH"] == [failed.error for failed in reading.errors]


def test_a_write_can_be_made_to_store_another_value(
    two_processes: tuple[RemoteNvml, RemoteNvml], nvml_standin: StandIn
) -> None:
    nvml_standin.plan(f"{SET} * val 205000")
    limiter = limiter_of(two_processes[0])
    limiter.write_watts(203.0)

    assert 205.0 == limiter.read_watts()


def test_every_call_is_logged_with_its_gpu_and_return_code(
    two_processes: tuple[RemoteNvml, RemoteNvml], nvml_standin: StandIn
) -> None:
    nvml_standin.plan(f"{SET} * ret 4")
    nvml_standin.forget_calls()
    with pytest.raises(LimitPermissionDenied):
        limiter_of(two_processes[0]).write_watts(150.0)

    assert [(SET, "0", 4)] == nvml_standin.calls()


def test_a_plan_with_a_slip_of_the_pen_ends_the_process(
    two_processes: tuple[RemoteNvml, RemoteNvml], nvml_standin: StandIn
) -> None:
    nvml_standin.plan(f"{ENERGY} * return 15")

    with pytest.raises(EOFError):
        energy_uj(two_processes[0])
