"""One serial number, and the names that libraries make of it."""

import pytest

from joulestat.devices.amd_names import serial_of, uuid_of


@pytest.mark.parametrize(
    ("unique_id", "device_id", "uuid"),
    [
        ("e7f04c2d9a1b0001", "0x740f", "e7ff740f-0000-1000-80f0-4c2d9a1b0001"),
        ("deadbeef", "0x1234", "00ff1234-0000-1000-8000-0000deadbeef"),
        ("0", "0x73bf", None),
        (None, "0x73bf", None),
        ("e7f04c2d9a1b0001", None, None),
    ],
)
def test_a_serial_number_makes_the_uuid_that_amdsmi_makes(
    unique_id: str | None, device_id: str | None, uuid: str | None
) -> None:
    assert uuid == uuid_of(unique_id, device_id)


@pytest.mark.parametrize(
    "name",
    [
        "e7ff740f-0000-1000-80f0-4c2d9a1b0001",
        "e700740f-0000-1000-80f0-4c2d9a1b0001",  # with its partition, in newer releases
        "GPU-e7ff740f-0000-1000-80f0-4c2d9a1b0001",
        "GPU-e7f04c2d9a1b0001",
        "GPU-E7F04C2D9A1B0001",
        "65376630-3463-3264-3961-316230303031",
        "GPU-65376630-3463-3264-3961-316230303031",
    ],
)
def test_every_spelling_has_the_same_serial_number(name: str) -> None:
    assert "e7f04c2d9a1b0001" == serial_of(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "GPU-", "AMD-0000:03:00.0", "MIG-65376630-3463-3264-3961-316230303031"),
        *("GPU-5a4d1000-0000-4000-8000-000000000001", "GPU-e7f04c2d9a1b00", "GPU-\u00e9"),
    ],
)
def test_other_names_have_none(name: str) -> None:
    assert serial_of(name) is None
