"""Setting AMD's power cap: through amdsmi, through the kernel's file, and where it cannot be."""

import errno
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fakes.amd import host
from fakes.amd.remote import AMDSMI_SYSFS, PYRSMI_SYSFS, SYSFS, AmdHost, RemoteAmd
from joulestat.devices.backend import Limiter
from joulestat.domain.errors import DeviceError, LimitPermissionDenied, LimitRefused

SET = "amdsmi_set_power_cap"
UINT64_MAX = 2**64 - 1
WATT = 1_000_000


class Rig:
    """A host with one card, and its limiter."""

    def __init__(self, folder: Path, sources: tuple[str, ...], card: dict[str, Any]) -> None:
        self.host = AmdHost(folder, sources=sources)
        self.host.plug(card)
        self.backend = RemoteAmd(self.host)
        self.backend.open()

    @property
    def found(self) -> Limiter | None:
        return self.backend.limiter(self.backend.devices()[0].uuid)

    @property
    def limiter(self) -> Limiter:
        assert self.found is not None
        return self.found


Made = Callable[..., Rig]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Made]:
    """Makes rigs, and ends their processes."""
    with ExitStack() as ending:

        def made(sources: tuple[str, ...] = AMDSMI_SYSFS, **card: Any) -> Rig:
            rig = Rig(tmp_path, sources, card)
            ending.callback(rig.backend.kill)
            return rig

        yield made


@pytest.mark.parametrize("sources", [AMDSMI_SYSFS, ("amdsmi",), PYRSMI_SYSFS, SYSFS])
def test_a_cap_is_set_in_microwatts_to_the_nearest_watt(
    make: Made, sources: tuple[str, ...]
) -> None:
    rig = make(sources)
    rig.limiter.write_watts(199.6)

    assert 200.0 == rig.limiter.read_watts()
    assert 200 * WATT == rig.host.card(0)["cap_uw"]


def test_a_cap_that_amdsmi_cannot_set_is_written_to_the_kernels_file(make: Made) -> None:
    rig = make()
    rig.host.fault(SET, status=host.NOT_SUPPORTED)
    rig.limiter.write_watts(200)

    assert 200 * WATT == rig.host.card(0)["cap_uw"]


def test_a_cap_that_nobody_can_set_is_refused(make: Made) -> None:
    rig = make(("amdsmi",))
    rig.host.fault(SET, status=host.NOT_SUPPORTED)

    with pytest.raises(LimitRefused) as refusal:
        rig.limiter.write_watts(200)
    assert "NOT_SUPPORTED" == refusal.value.error


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_file_that_may_not_be_written_is_a_lack_of_privilege(make: Made, number: int) -> None:
    rig = make(SYSFS)
    rig.host.fault("power1_cap write", errno=number)

    with pytest.raises(LimitPermissionDenied, match=r"asked for 200 W.*needs root") as denial:
        rig.limiter.write_watts(200)
    assert errno.errorcode[number] == denial.value.error


def test_a_guest_that_may_not_set_its_cap_is_told_so_and_the_file_is_left_alone(make: Made) -> None:
    rig = make()
    rig.host.fault(SET, status=host.NO_PERM)

    with pytest.raises(LimitPermissionDenied, match="no virtual machine"):
        rig.limiter.write_watts(200)
    assert 300 * WATT == rig.host.card(0)["cap_uw"]


@pytest.mark.parametrize(
    ("sources", "fault", "error"),
    [
        (AMDSMI_SYSFS, {"call": SET, "status": 1}, "INVAL"),
        (SYSFS, {"call": "power1_cap write", "errno": errno.EINVAL}, "EINVAL"),
    ],
)
def test_a_cap_within_the_range_that_the_driver_refuses_is_refused(
    make: Made, sources: tuple[str, ...], fault: dict[str, Any], error: str
) -> None:
    rig = make(sources)
    rig.host.fault(**fault)

    with pytest.raises(LimitRefused) as refusal:
        rig.limiter.write_watts(100)
    assert error == refusal.value.error


def test_a_cap_that_does_not_stick_reads_back_as_it_was(make: Made) -> None:
    rig = make(cap_sticks=False)
    rig.limiter.write_watts(200)

    assert 300.0 == rig.limiter.read_watts()


def test_a_cap_that_somebody_else_sets_is_read(make: Made) -> None:
    for sources in (AMDSMI_SYSFS, SYSFS):
        rig = make(sources)
        rig.host.change(0, cap_uw=250 * WATT)
        assert 250.0 == rig.limiter.read_watts()


@pytest.mark.parametrize("sources", [AMDSMI_SYSFS, SYSFS])
@pytest.mark.parametrize(
    "bounds",
    [
        {"min_uw": UINT64_MAX, "max_uw": UINT64_MAX, "default_uw": 0},
        {"min_uw": 0, "max_uw": 0},
        {"min_uw": 300 * WATT, "max_uw": 100 * WATT},
    ],
)
def test_a_range_that_cannot_be_true_is_no_limiter(
    make: Made, sources: tuple[str, ...], bounds: dict[str, int]
) -> None:
    rig = make(sources, **bounds)
    limits = rig.backend.read(rig.backend.devices()[0].uuid, details=True).limits

    assert rig.found is None
    assert 300.0 == limits.set_watts
    assert limits.min_watts is None
    assert limits.max_watts is None


def test_an_instinct_card_without_a_floor_has_a_limiter_that_keeps_above_nothing(
    make: Made,
) -> None:
    limiter = make(min_uw=0).limiter

    assert (0.0, 300.0) == limiter.range_watts()
    with pytest.raises(LimitRefused):
        limiter.write_watts(0.5)


def test_a_card_whose_cap_could_not_be_read_at_opening_keeps_its_limiter(tmp_path: Path) -> None:
    amd = AmdHost(tmp_path, sources=AMDSMI_SYSFS)
    amd.fault("amdsmi_get_power_cap_info", status=30)
    backend = RemoteAmd(amd)
    try:
        backend.open()
        limiter = backend.limiter(backend.devices()[0].uuid)
        assert limiter is not None
        with pytest.raises(DeviceError, match="BUSY"):
            limiter.range_watts()
        amd.heal()
        assert (100.0, 300.0) == limiter.range_watts()
    finally:
        backend.kill()
