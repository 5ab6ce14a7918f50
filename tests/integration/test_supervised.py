"""The exporter under a supervisor, with drivers that hang: ready, alive, and never waiting."""

import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from joulestat.devices.world import Fault
from servers.exporter import Exporter

PATIENCE_SECONDS = 30.0
WATCHDOG_USEC = 1_000_000


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[socket.socket]:
    """What systemd listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path_factory.mktemp("systemd") / "notify"))
        listening.settimeout(PATIENCE_SECONDS)
        yield listening


@pytest.fixture(scope="module")
def exporter(heard: socket.socket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    running = Exporter(tmp_path_factory.mktemp("supervised"))
    running.environment = {
        "NOTIFY_SOCKET": heard.getsockname(),
        "WATCHDOG_USEC": str(WATCHDOG_USEC),
    }
    with running:
        yield running


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def next_with(heard: socket.socket, line: str) -> str:
    """Wait for a message that has a line; anything else is passed over."""
    while True:
        message = heard.recv(4096).decode()
        if line in message.split("\n"):
            return message


def forget(heard: socket.socket) -> None:
    """Drop what has arrived already."""
    heard.settimeout(0)
    try:
        while heard.recv(4096):
            pass
    except BlockingIOError:
        heard.settimeout(PATIENCE_SECONDS)


def test_it_is_ready_once_it_serves(heard: socket.socket, exporter: Exporter) -> None:
    next_with(heard, "READY=1")

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


def test_a_scrape_waits_for_no_driver_whatever_it_says_of_its_timeout(
    exporter: Exporter, all_hang: None
) -> None:
    for seconds in TIMEOUTS:
        status, page = exporter.get("/metrics", **{"X-Prometheus-Scrape-Timeout-Seconds": seconds})

        assert 200 == status
        # What is not fresh is not shown; what stays true is.
        assert "\njoulestat_gpu_power_watts{" not in page
        assert "\njoulestat_gpu_energy_joules_total{" in page


def test_a_driver_that_hangs_makes_it_not_ready_and_is_no_reason_for_a_restart(
    heard: socket.socket, exporter: Exporter, all_hang: None
) -> None:
    until(lambda: exporter.get("/readyz")[0] == 503)
    forget(heard)

    for _ in range(3):
        assert "no answer from GPU 0, 1" in next_with(heard, "WATCHDOG=1")
    assert (200, "ok\n") == exporter.get("/healthz")
    assert (503, "not ready: no fresh reading of the GPUs\n") == exporter.get("/readyz")


def test_a_process_that_stands_still_gives_no_sign_of_life(
    heard: socket.socket, exporter: Exporter
) -> None:
    assert exporter.process is not None
    next_with(heard, "WATCHDOG=1")
    exporter.process.send_signal(signal.SIGSTOP)
    until(lambda: "State:\tT" in Path(f"/proc/{exporter.process.pid}/status").read_text())
    forget(heard)

    heard.settimeout(3 * WATCHDOG_USEC / 2 / 1e6)
    with pytest.raises(TimeoutError):
        heard.recv(4096)
    exporter.process.send_signal(signal.SIGCONT)
    heard.settimeout(PATIENCE_SECONDS)
    next_with(heard, "WATCHDOG=1")


def test_it_says_that_it_stops(heard: socket.socket, exporter: Exporter) -> None:
    assert 0 == exporter.stop()

    next_with(heard, "STOPPING=1")
