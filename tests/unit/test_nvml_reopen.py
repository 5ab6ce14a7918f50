"""The real nvidia-ml-py over the stand-in library: drivers that are reloaded and replaced."""

from itertools import pairwise
from pathlib import Path

import pytest

from fakes.nvml.remote import RemoteNvml, Start, errors_of, limiter_of, read_all
from fakes.nvml.standin import LIBRARY, StandIn, build_library
from joulestat.domain.errors import DeviceError

ENERGY = "nvmlDeviceGetTotalEnergyConsumption"


def inits(standin: StandIn) -> int:
    return [function for function, _, _ in standin.calls()].count("nvmlInitWithFlags")


@pytest.mark.parametrize(("code", "error"), [(1, "UNINITIALIZED"), (15, "GPU_IS_LOST")])
def test_after_a_driver_reload_that_ended_the_session_nvml_is_opened_anew(
    nvml: RemoteNvml, nvml_standin: StandIn, code: int, error: str
) -> None:
    limiter = limiter_of(nvml, 0)
    limiter.write_watts(150.0)
    nvml_standin.advance(3_600.0)
    nvml_standin.plan(f"* * stale {code}")
    nvml_standin.reload_driver()

    assert [{error}, {error}] == errors_of(nvml)
    nvml.refresh()
    first, second = read_all(nvml)
    assert () == first.errors == second.errors
    assert first.energy_counter_uj is not None
    assert first.energy_counter_uj < 60_000_000
    assert 300.0 == first.limits.set_watts
    limiter.write_watts(160.0)
    assert 160.0 == limiter.read_watts()
    nvml.refresh()
    assert ["gpu_lost", "gpu_lost", "nvml_reopened", "gpu_came", "gpu_came"] == nvml.events()


def test_a_driver_that_is_unloaded_is_waited_for(nvml: RemoteNvml, nvml_standin: StandIn) -> None:
    nvml_standin.plan("* * ret 9")
    read_all(nvml)
    for _ in range(4):
        nvml.refresh()
        assert [{"DRIVER_NOT_LOADED"}] * 2 == errors_of(nvml)
    nvml_standin.plan()
    nvml.refresh()

    assert [set(), set()] == errors_of(nvml)
    nvml.refresh()
    lost_and_found = ["gpu_lost", "gpu_lost", "nvml_reopen_failed"]
    assert [*lost_and_found, "nvml_reopened", "gpu_came", "gpu_came"] == nvml.events()


def test_an_upgraded_driver_is_read_with_its_new_library(start: Start, tmp_path: Path) -> None:
    standin = StandIn(build_library(tmp_path), tmp_path)
    nvml = start(standin)
    nvml.open()
    limiter = limiter_of(nvml, 0)
    standin.upgrade_driver("600.10.20")

    for _ in range(3):
        assert [{"LIB_RM_VERSION_MISMATCH"}] * 2 == errors_of(nvml)
        nvml.refresh()
    build_library(tmp_path, driver_version="600.10.20")
    assert nvml.refresh()
    assert [set(), set()] == errors_of(nvml)
    assert ["600.10.20"] * 2 == [device.driver_version for device in nvml.devices()]
    assert 300.0 == limiter.read_watts()
    assert 1 == nvml.events().count("nvml_reopen_failed")


def test_opening_anew_leaks_no_descriptor(nvml: RemoteNvml, nvml_standin: StandIn) -> None:
    counts = []
    for _ in range(5):
        nvml_standin.plan("* * stale 1")
        nvml_standin.reload_driver()
        read_all(nvml)
        nvml.refresh()
        assert [set(), set()] == errors_of(nvml)
        counts.append(nvml.ask("open_descriptors"))

    assert 1 == len(set(counts))


def test_while_a_call_hangs_nvml_is_not_opened_anew_and_others_are_read(
    nvml: RemoteNvml, nvml_standin: StandIn
) -> None:
    stuck, healthy = (device.uuid for device in nvml.devices())
    nvml_standin.add_gpu()
    nvml_standin.plan(f"{ENERGY} 0 hang", "* 1 ret 15")
    hanging = nvml.begin("backend", "read", stuck, details=False)
    nvml.read(healthy, details=False)
    nvml.ask("advance", 2.0)  # which makes the call a hanging one, for all that NVML knows
    nvml.refresh()
    nvml.refresh()

    assert 1 == inits(nvml_standin)
    assert () == nvml.read(nvml.devices()[2].uuid, details=True).errors
    nvml_standin.plan(f"{ENERGY} 0 hang")
    assert () == nvml.read(healthy, details=True).errors
    nvml_standin.plan()
    assert () == nvml.answer(hanging).errors
    assert 1 == nvml.events().count("nvml_reopen_postponed")


def test_a_gpu_lost_among_others_is_asked_for_more_and_more_rarely(
    nvml: RemoteNvml, nvml_standin: StandIn
) -> None:
    nvml_standin.plan("* 1 ret 15")
    reopened_at = []
    for second in range(100):
        before = inits(nvml_standin)
        nvml.ask("advance", 1.0)
        read_all(nvml)
        nvml.refresh()
        if inits(nvml_standin) > before:
            reopened_at.append(second)

    gaps = [later - earlier for earlier, later in pairwise(reopened_at)]
    assert 0 == reopened_at[0]
    assert [10, 20, 40] == pytest.approx(gaps, abs=1)
    nvml_standin.plan()
    nvml.refresh()
    read_all(nvml)
    nvml.refresh()
    assert ["gpu_lost", "nvml_reopened", "gpu_came"] == nvml.events()


def test_others_without_persistence_mode_keep_their_limits_when_one_is_lost(
    nvml: RemoteNvml, nvml_standin: StandIn
) -> None:
    nvml_standin.change(0, persistence=0)
    nvml_standin.plan("* 1 ret 15")
    for _ in range(3):
        read_all(nvml)
        nvml.refresh()

    assert 1 == inits(nvml_standin)
    assert ["gpu_lost", "nvml_reopen_postponed"] == nvml.events()


def test_closing_leaves_nvml_open_where_a_call_hangs(
    nvml: RemoteNvml, nvml_standin: StandIn
) -> None:
    stuck = nvml.devices()[0].uuid
    nvml_standin.plan("* 0 hang", "nvmlShutdown * hang")
    hanging = nvml.begin("backend", "read", stuck, details=False)
    assert not nvml.answered(hanging, within_seconds=0.05)
    nvml.close()

    assert "nvmlShutdown" not in [function for function, _, _ in nvml_standin.calls()]
    assert not nvml.refresh()
    with pytest.raises(DeviceError, match="UNINITIALIZED"):
        limiter_of(nvml, 1).read_watts()
    assert ["nvml_left_open"] == nvml.events()


def test_a_library_that_appears_after_the_start_is_found_and_logged_once(
    start: Start, tmp_path: Path
) -> None:
    standin = StandIn(tmp_path, tmp_path)
    (tmp_path / LIBRARY).write_bytes(b"not a library")
    nvml = start(standin)

    assert [False] * 3 == [nvml.ask("open_auto") for _ in range(3)]
    build_library(tmp_path)
    standin.plan("nvmlInitWithFlags * ret 18")
    assert [False] * 3 == [nvml.ask("open_auto") for _ in range(3)]
    standin.plan()
    assert nvml.ask("open_auto")
    assert 2 == len(nvml.devices())
    about_nvml = [event for event in nvml.logged() if "backend=nvml" in event]
    assert ["LIBRARY_NOT_FOUND", "LIB_RM_VERSION_MISMATCH"] == [
        error
        for line in about_nvml
        for error in ("LIBRARY_NOT_FOUND", "LIB_RM_VERSION_MISMATCH")
        if error in line
    ]


def test_nothing_of_a_failed_opening_stays_loaded(start: Start, tmp_path: Path) -> None:
    standin = StandIn(build_library(tmp_path, driver_version="600.10.20"), tmp_path)
    start(standin).open()  # which loads the driver
    build_library(tmp_path)
    nvml = start(standin)

    assert not nvml.ask("open_auto")
    build_library(tmp_path, driver_version="600.10.20")
    assert nvml.ask("open_auto")


def test_closing_takes_no_library_away_from_a_look_that_hangs_as_it_opens_it(
    nvml: RemoteNvml, nvml_standin: StandIn
) -> None:
    nvml_standin.plan("* * ret 9", "nvmlInitWithFlags * hang")
    assert [{"DRIVER_NOT_LOADED"}] * 2 == errors_of(nvml)
    looking = nvml.begin("backend", "refresh")
    assert not nvml.answered(looking, within_seconds=0.2)
    nvml.close()
    nvml_standin.plan()

    nvml.answer(looking)
    assert "nvml_left_open" in nvml.events()
