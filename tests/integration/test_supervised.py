"""The exporter under a supervisor, with drivers that hang: ready, alive, and never waiting."""

import signal
from collections.abc import Callable, Iterator

import pytest

from fakes.notify_socket import NotifySocket, stopped, until
from joulestat.devices.world import Fault
from servers.exporter import Exporter

PINGS = 3


@pytest.fixture(scope="module")
def systemd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NotifySocket]:
    with NotifySocket(tmp_path_factory.mktemp("systemd") / "notify") as listening:
        yield listening


@pytest.fixture(scope="module")
def exporter(systemd: NotifySocket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    running = Exporter(tmp_path_factory.mktemp("supervised"))
    running.environment = systemd.environment
    with running:
        yield running


def test_it_is_ready_once_it_serves(systemd: NotifySocket, exporter: Exporter) -> None:
    systemd.next_with("READY=1")

    assert 200 == exporter.get("/healthz")[0]


@pytest.fixture
def all_hang(exporter: Exporter) -> Iterator[None]:
    """No GPU answers, and the exporter has noticed."""
    world = exporter.world()
    for gpu in world.uuids:
        world.set_fault(gpu, Fault.HANG)
    until(lambda: exporter.value("gpu_up") == 0)
    yield
    for gpu in world.uuids:
        world.set_fault(gpu, None)
    until(lambda: exporter.value("gpu_up") == len(world.uuids))
    world.close()


TIMEOUTS = ("1", "3", "10", "0", "-1", "nan", "inf", "1e309", "0x1", "", "1, 2", "9" * 5000)


@pytest.mark.promise("scrape-timeout")
def test_a_scrape_waits_for_no_driver_whatever_it_says_of_its_timeout(
    exporter: Exporter, all_hang: None
) -> None:
    for seconds in TIMEOUTS:
        status, page = exporter.get("/metrics", **{"X-Prometheus-Scrape-Timeout-Seconds": seconds})

        assert 200 == status
        # What is not fresh is not shown; what stays true is.
        assert "\njoulestat_gpu_power_watts{" not in page
        assert "\njoulestat_gpu_energy_joules_total{" in page


@pytest.mark.promise("watchdog")
def test_a_driver_that_hangs_makes_it_not_ready_and_is_no_reason_for_a_restart(
    systemd: NotifySocket,
    exporter: Exporter,
    all_hang: None,
    record_property: Callable[[str, object], None],
) -> None:
    until(lambda: exporter.get("/readyz")[0] == 503)
    systemd.forget()

    for _ in range(PINGS):
        assert "no answer from GPU 0, 1" in systemd.next_with("WATCHDOG=1")
    assert (200, "ok\n") == exporter.get("/healthz")
    assert (503, "not ready: no fresh reading of the GPUs\n") == exporter.get("/readyz")
    record_property("measured", "exporter, all GPUs hang: pings go on, /healthz 200, /readyz 503")


@pytest.mark.promise("watchdog")
def test_a_process_that_stands_still_gives_no_sign_of_life(
    systemd: NotifySocket, exporter: Exporter, record_property: Callable[[str, object], None]
) -> None:
    assert exporter.process is not None
    systemd.next_with("WATCHDOG=1")
    exporter.process.send_signal(signal.SIGSTOP)
    pid = exporter.process.pid
    until(lambda: stopped(pid))
    systemd.forget()

    watched_seconds = 1.5 * systemd.watchdog_seconds
    count = systemd.signs_of_life(watched_seconds)
    exporter.process.send_signal(signal.SIGCONT)

    assert 0 == count
    systemd.next_with("WATCHDOG=1")
    record_property(
        "measured",
        f"exporter frozen for {watched_seconds:g} s, WatchdogSec "
        f"{systemd.watchdog_seconds:g} s: {count} pings",
    )


def test_it_says_that_it_stops(systemd: NotifySocket, exporter: Exporter) -> None:
    assert 0 == exporter.stop()

    systemd.next_with("STOPPING=1")
