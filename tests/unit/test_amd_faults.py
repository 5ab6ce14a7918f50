"""The real AMD backend when its driver misbehaves, and getting back from it without a restart."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.amd import host
from fakes.amd.remote import AMDSMI_SYSFS, AmdHost, RemoteAmd
from joulestat.domain.device import CallError, Reading
from joulestat.domain.errors import DeviceError

ENERGY = "amdsmi_get_energy_count"
NOT_THERE = CallError("amdsmi_get_processor_handles", "NOT_FOUND")


@pytest.fixture
def amd(tmp_path: Path) -> AmdHost:
    """A host with two GPUs, amdsmi and the kernel's files."""
    return AmdHost(tmp_path, sources=AMDSMI_SYSFS)


@pytest.fixture
def backend(amd: AmdHost) -> Iterator[RemoteAmd]:
    """Its backend, open."""
    remote = RemoteAmd(amd)
    remote.open()
    yield remote
    remote.kill()


def reading_of(backend: RemoteAmd, index: int = 0) -> Reading:
    return backend.read(backend.devices()[index].uuid, details=False)


def energy_uj(backend: RemoteAmd, index: int = 0) -> int:
    energy_counter_uj = reading_of(backend, index).energy_counter_uj
    assert energy_counter_uj is not None
    return energy_counter_uj


def errors(backend: RemoteAmd, index: int = 0) -> set[str]:
    return {error.error for error in reading_of(backend, index).errors}


def test_a_frozen_counter_is_handed_on_as_it_is(amd: AmdHost, backend: RemoteAmd) -> None:
    amd.change(0, frozen_ticks=1_000_000)
    before_uj = energy_uj(backend)
    amd.advance(10)

    assert before_uj == energy_uj(backend) == 15_300_000


@pytest.mark.parametrize("shift_ticks", [-1_000_000, 1_000_000_000])
def test_a_dip_and_a_jump_are_handed_on_and_leave_no_trace(
    amd: AmdHost, backend: RemoteAmd, shift_ticks: int
) -> None:
    amd.change(0, shift_ticks=shift_ticks)
    shifted_uj = energy_uj(backend)
    amd.change(0, shift_ticks=0)
    back_uj = energy_uj(backend)

    assert shift_ticks * 15.3 == pytest.approx(shifted_uj - back_uj, abs=50_000_000)


def test_a_32_bit_counter_rises_beyond_what_32_bits_hold(tmp_path: Path) -> None:
    amd = AmdHost(tmp_path, sources=AMDSMI_SYSFS)
    amd.plug({"bits": 32, "energy_uj": 65_535_000_000, "demand_mw": 300_000})
    backend = RemoteAmd(amd)
    try:
        backend.open()
        readings = []
        for _ in range(300):  # 5 minutes at 300 W: beyond the end, all around and beyond again
            readings.append(energy_uj(backend))
            amd.advance(1.0)
            backend.ask("advance", 1.0)
    finally:
        backend.kill()

    assert sorted(readings) == readings
    joules = (readings[-1] - readings[0]) / 1e6
    assert 299 * 300 * 15.3e-6 * 2**16 == pytest.approx(joules, rel=0.02)


def test_a_slow_call_is_stamped_in_its_middle(amd: AmdHost, backend: RemoteAmd) -> None:
    amd.fault(ENERGY, seconds=0.4)
    before_ns = backend.ask("now_ns")
    reading = reading_of(backend)
    after_ns = backend.ask("now_ns")

    assert before_ns + 150_000_000 < reading.at_ns < after_ns - 150_000_000


def test_many_threads_take_turns_in_the_library(amd: AmdHost, backend: RemoteAmd) -> None:
    # The stand-in fails whoever comes in while another one is inside.
    amd.fault(seconds=0.001)
    limiter = backend.limiter(backend.devices()[0].uuid)
    assert limiter is not None
    uuids = [device.uuid for device in backend.devices()]
    requests = [backend.begin("backend", "read", uuids[n % 2], details=True) for n in range(20)] + [
        backend.begin("limiter", uuids[0], "read_watts") for _ in range(20)
    ]
    answers = [backend.answer(request) for request in requests]

    assert {()} == {answer.errors for answer in answers[:20]}
    assert {300.0} == set(answers[20:])


def test_behind_a_call_that_hangs_refresh_and_close_do_not_wait_long(
    amd: AmdHost, backend: RemoteAmd
) -> None:
    uuid = backend.devices()[0].uuid
    amd.fault(ENERGY, seconds=60.0)
    hanging = backend.begin("backend", "read", uuid, details=False)
    amd.change(1, bdf="0000:99:00.0")  # a reason to look again
    time.sleep(0.2)
    started = time.monotonic()
    changed = backend.refresh()
    backend.close()

    assert not changed
    assert time.monotonic() - started < 4.0
    assert not backend.answered(hanging, within_seconds=0.0)


def test_a_lost_gpu_is_asked_once_a_round(amd: AmdHost, backend: RemoteAmd) -> None:
    amd.fault(gpu=0, status=host.NOT_FOUND)

    assert (CallError(ENERGY, "NOT_FOUND"),) == reading_of(backend, 0).errors
    assert () == reading_of(backend, 1).errors


def test_a_driver_that_answers_unknown_errors_alone_is_opened_again(
    amd: AmdHost, backend: RemoteAmd
) -> None:
    amd.fault(status=0xFFFF_FFFF, gpu=0)
    before = amd.asked("amdsmi_init")
    assert {"UNKNOWN_ERROR"} == errors(backend)
    for _ in range(3):
        backend.ask("advance", 60.0)
        backend.refresh()
        assert {"NOT_FOUND"} == errors(backend)
    amd.heal()
    backend.ask("advance", 60.0)
    backend.refresh()

    assert before + 4 == amd.asked("amdsmi_init")
    assert set() == errors(backend) == errors(backend, 1)
    assert 1 == backend.log().count("event=gpu_left_out backend=amd gpu=0")


def test_a_driver_that_went_and_came_back_is_read_again(amd: AmdHost, backend: RemoteAmd) -> None:
    before = backend.devices()
    limiter = backend.limiter(before[0].uuid)
    assert limiter is not None
    limiter.write_watts(200)
    before_uj = energy_uj(backend)
    amd.fault(status=host.DRIVER_NOT_LOADED, errno=host.ENODEV)
    assert {"DRIVER_NOT_LOADED"} == errors(backend)
    backend.ask("advance", 10.0)
    backend.refresh()
    assert (NOT_THERE,) == reading_of(backend).errors
    assert before == backend.devices()
    with pytest.raises(DeviceError, match="not there any more"):
        limiter.write_watts(200)

    amd.heal()
    amd.reload_driver()
    backend.ask("advance", 60.0)
    backend.refresh()

    assert before == backend.devices()
    assert set() == errors(backend)
    assert energy_uj(backend) < before_uj
    assert 300.0 == limiter.read_watts()


def test_looking_again_is_tried_ever_more_rarely(amd: AmdHost, backend: RemoteAmd) -> None:
    amd.fault(gpu=0, status=host.NOT_FOUND)
    reading_of(backend)
    looks = []
    for _ in range(200):
        backend.ask("advance", 1.0)
        before = amd.asked("amdsmi_init")
        backend.refresh()
        looks.append(amd.asked("amdsmi_init") - before)
        reading_of(backend)
    moments = [second for second, looked in enumerate(looks) if looked]

    assert 9 <= moments[0] <= 10
    assert moments[-1] - moments[-2] == pytest.approx(60, abs=1)
    assert len(moments) < 8


def test_nothing_is_opened_again_while_all_is_well(amd: AmdHost, backend: RemoteAmd) -> None:
    before = amd.asked("amdsmi_init")
    for _ in range(5):
        backend.ask("advance", 100.0)
        reading_of(backend)
        assert not backend.refresh()

    assert before == amd.asked("amdsmi_init")


def test_a_gpu_that_comes_is_found_at_once_and_one_that_goes_stays_with_an_error(
    amd: AmdHost, backend: RemoteAmd
) -> None:
    two = backend.devices()
    amd.plug({}, {}, {})
    assert backend.refresh()
    three = backend.devices()
    amd.plug({}, {})
    backend.refresh()

    assert two == three[:2]
    assert three == backend.devices()
    assert (NOT_THERE,) == reading_of(backend, 2).errors
    assert () == reading_of(backend, 1).errors


@pytest.mark.parametrize("call", ["amdsmi_get_gpu_device_uuid", "amdsmi_get_gpu_kfd_info"])
def test_a_gpu_that_cannot_say_who_it_is_gets_no_other_name(
    amd: AmdHost, backend: RemoteAmd, call: str
) -> None:
    before = backend.devices()
    amd.fault(call, gpu=0, status=7)
    amd.fault(ENERGY, gpu=1, status=host.NOT_FOUND)  # a reason to look again
    for _ in range(2):
        reading_of(backend, 1)
        backend.ask("advance", 60.0)
        backend.refresh()
        assert before == backend.devices()
        assert (NOT_THERE,) == reading_of(backend, 0).errors
    amd.heal()
    backend.ask("advance", 60.0)
    backend.refresh()

    assert before == backend.devices()
    assert set() == errors(backend)


def test_rocm_that_is_installed_later_is_taken_up(tmp_path: Path) -> None:
    amd = AmdHost(tmp_path, sources=AMDSMI_SYSFS)
    backend = RemoteAmd(amd)
    try:
        backend.ask("uninstall", "amdsmi", "pyrsmi")
        backend.open()
        uuids = [device.uuid for device in backend.devices()]
        assert reading_of(backend).energy_counter_uj is None
        backend.ask("uninstall")
        backend.ask("advance", 60.0)

        assert backend.refresh()
        assert uuids == [device.uuid for device in backend.devices()]
        assert reading_of(backend).energy_counter_uj is not None
        assert "(amdsmi 26.0.2)" in backend.devices()[0].driver_version
    finally:
        backend.kill()


def test_a_closed_backend_looks_no_more(backend: RemoteAmd) -> None:
    backend.close()
    backend.ask("advance", 100.0)

    assert not backend.refresh()
    assert {"NOT_INIT"} == errors(backend)
