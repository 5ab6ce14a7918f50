"""What AMD's answers mean, and the gate that lets one thread in."""

import threading

import pytest

from joulestat.devices.amd_rsmi import bdf_of
from joulestat.devices.amd_smi import error_name
from joulestat.devices.amd_source import Gate, caps, number, watts
from joulestat.domain.errors import DeviceError

UINT64_MAX = 2**64 - 1


@pytest.mark.parametrize("answer", ["N/A", None, -1, True, float("nan"), float("inf"), [], "12"])
def test_what_is_no_number_is_none(answer: object) -> None:
    assert number(answer) is None
    assert watts(answer) is None


@pytest.mark.parametrize(
    ("answer", "power_watts"), [(0, None), (0xFFFF, None), (93, 93.0), (717.5, 717.5)]
)
def test_a_power_of_nothing_or_of_a_power_station_is_none(
    answer: float, power_watts: float | None
) -> None:
    assert power_watts == watts(answer)


@pytest.mark.parametrize(
    ("min_uw", "max_uw", "range_watts"),
    [
        (100_000_000, 300_000_000, (100.0, 300.0)),
        (0, 750_000_000, (0.0, 750.0)),  # Instinct cards have no floor
        (UINT64_MAX, UINT64_MAX, None),
        (100_000_000, UINT64_MAX, None),
        (0, 0, None),
        (300_000_000, 100_000_000, None),
        (100, 300, None),  # W, where uW are due
        ("N/A", 300_000_000, None),
        (None, None, None),
    ],
)
def test_a_range_that_cannot_be_true_is_none(
    min_uw: object, max_uw: object, range_watts: tuple[float, float] | None
) -> None:
    assert range_watts == caps(300_000_000, 300_000_000, min_uw, max_uw).range_watts


def test_a_default_of_0_is_none() -> None:
    assert caps(300_000_000, 0, UINT64_MAX, UINT64_MAX).default_watts is None


@pytest.mark.parametrize(
    ("pci_id", "bdf"),
    [
        (0xC1 << 8, "0000:c1:00.0"),
        (0x0001 << 32 | 0x0C << 8 | 0x1F << 3 | 2, "0001:0c:1f.2"),  # through amdsmi
        (0x0001 << 16 | 0x0C << 8 | 0x1F << 3 | 2, "0001:0c:1f.2"),  # through the library itself
        (-1, None),
        ("N/A", None),
    ],
)
def test_both_forms_of_pyrsmis_address_are_read(pci_id: object, bdf: str | None) -> None:
    assert bdf == bdf_of(pci_id)


class LibraryError(Exception):
    def __init__(self, err_code: int, err_info: str) -> None:
        super().__init__(err_code)
        self.err_code, self.err_info = err_code, err_info


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (LibraryError(10, "AMDSMI_STATUS_NO_PERM - Permission Denied"), "NO_PERM"),
        (LibraryError(45, "AMD_SMI_NO_ENERGY_DRV - Energy driver not found"), "NO_ENERGY_DRV"),
        (LibraryError(77, "AMDSMI_STATUS_UNKNOWN_ERROR - An unknown error occurred"), "ERROR_77"),
        (LibraryError(2**32 - 1, "AMDSMI_STATUS_UNKNOWN_ERROR - An unknown"), "UNKNOWN_ERROR"),
        (AttributeError("amdsmi_get_violation_status"), "AttributeError"),
    ],
)
def test_an_error_has_the_vendors_name(error: Exception, name: str) -> None:
    assert name == error_name(error)


def test_who_waits_too_long_behind_a_call_that_hangs_gets_an_error() -> None:
    gate = Gate(wait_seconds=0.01)
    inside, done = threading.Event(), threading.Event()

    def hang() -> None:
        with gate.entered("amdsmi_get_energy_count"):
            inside.set()
            done.wait(10)

    hanging = threading.Thread(target=hang)
    hanging.start()
    inside.wait(10)
    with pytest.raises(DeviceError, match="another call that hangs") as busy, gate.entered("close"):
        pass
    done.set()
    hanging.join()

    assert "STUCK" == busy.value.error
    with gate.entered("close"), gate.entered("amdsmi_shut_down"):
        pass
