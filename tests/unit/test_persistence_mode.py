"""Where people are told that a driver without persistence mode forgets its limits."""

from dataclasses import replace

from fakes.asgi import call
from fakes.listener import public
from fakes.node import a_device, a_snapshot
from fakes.snapshots import reading
from joulestat.cli.checks import Verdict
from joulestat.cli.checks.host import _check_persistence
from joulestat.domain.device import Device, Reading
from joulestat.domain.snapshot import DeviceState


def with_mode(mode: bool | None) -> Reading:
    read = reading()
    return replace(read, details=replace(read.details, persistence_mode=mode))


def device_with(index: int, mode: bool | None) -> DeviceState:
    return replace(a_device(index), reading=with_mode(mode))


def gpu(index: int) -> Device:
    return a_device(index).device


def test_the_doctor_warns_and_names_the_gpus_and_the_cure() -> None:
    (finding,) = _check_persistence(
        [(gpu(0), with_mode(True)), (gpu(1), with_mode(False)), (gpu(3), with_mode(False))]
    )

    assert Verdict.WARN is finding.verdict
    assert "GPU 1, 3" in finding.found
    assert "nvidia-persistenced" in finding.cure


def test_the_doctor_is_content_where_it_is_on() -> None:
    (finding,) = _check_persistence([(gpu(0), with_mode(True))])

    assert Verdict.OK is finding.verdict


def test_the_doctor_says_nothing_where_there_is_no_such_thing() -> None:
    assert [] == _check_persistence([(gpu(0), with_mode(None))])


def test_the_landing_page_names_the_gpus_and_the_cure() -> None:
    snapshot = a_snapshot([device_with(0, True), device_with(1, False), a_device(2, read=False)])

    page = call(public(snapshot=lambda: snapshot), "GET", "/").text

    assert "Persistence mode is off on GPU 1.</b>" in page
    assert "nvidia-persistenced" in page


def test_the_landing_page_says_nothing_where_it_is_on_or_unknown() -> None:
    snapshot = a_snapshot([device_with(0, True), device_with(1, None)])

    assert "ersistence" not in call(public(snapshot=lambda: snapshot), "GET", "/").text
