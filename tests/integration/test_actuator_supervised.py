"""The actuator under a supervisor, with drivers that hang: ready, alive, and never waiting."""

import signal
from collections.abc import Callable, Iterator

import pytest

from fakes.actuator import Socket, send
from fakes.notify_socket import NotifySocket, stopped, until
from joulestat.actuator.client import ActuatorClient
from joulestat.actuator.wire import PROTOCOL, RevertAll, line
from joulestat.devices.world import Fault, SimulatedWorld
from joulestat.domain.limit import LeaseRequest
from joulestat.loops.system_clock import SystemClock
from servers.split import Actuator

GPUS = 2
PINGS = 3
REQUEST = LeaseRequest(250.0, 600.0, "test", "test")


@pytest.fixture(scope="module")
def systemd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NotifySocket]:
    with NotifySocket(tmp_path_factory.mktemp("systemd") / "notify") as listening:
        yield listening


@pytest.fixture(scope="module")
def actuator(systemd: NotifySocket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Actuator]:
    folder = tmp_path_factory.mktemp("actuator")
    running = Actuator(folder, "write-interval: 0s")
    running.environment = systemd.environment
    running.start()
    yield running
    assert running.process is not None
    if running.process.poll() is None:
        running.process.send_signal(signal.SIGCONT)
        running.end(signal.SIGTERM)


@pytest.fixture
def all_hang(actuator: Actuator) -> Iterator[SimulatedWorld]:
    """No GPU answers."""
    world = SimulatedWorld.join(actuator.world_file, clock=SystemClock())
    for gpu in world.uuids:
        world.set_fault(gpu, Fault.HANG)
    yield world
    for gpu in world.uuids:
        world.set_fault(gpu, None)
    world.close()


def test_it_is_ready_once_it_serves_and_says_what_it_holds(
    systemd: NotifySocket, actuator: Actuator
) -> None:
    client = ActuatorClient(actuator.socket, SystemClock())

    assert f"STATUS={GPUS} GPUs, 0 leased" in systemd.next_with("READY=1").split("\n")

    client.refresh()
    client.grant(next(iter(client.controls())), REQUEST, principal="test")
    systemd.next_with(f"STATUS={GPUS} GPUs, 1 leased")


@pytest.mark.promise("watchdog")
def test_a_driver_that_hangs_over_a_write_is_no_reason_for_a_restart(
    systemd: NotifySocket,
    actuator: Actuator,
    all_hang: SimulatedWorld,
    record_property: Callable[[str, object], None],
) -> None:
    client = ActuatorClient(actuator.socket, SystemClock())
    client.refresh()
    with Socket(actuator.socket).connect() as asking:
        # It has to write the hardware now, and does not come back from that.
        send(asking, line(RevertAll(PROTOCOL, principal="test")))
        systemd.forget()

        for _ in range(PINGS):
            systemd.next_with("WATCHDOG=1")
        client.refresh()

    assert client.read_only_reason is None
    record_property("measured", "actuator, a write that hangs: pings go on, the socket answers")


@pytest.mark.promise("watchdog")
def test_a_process_that_stands_still_gives_no_sign_of_life(
    systemd: NotifySocket, actuator: Actuator, record_property: Callable[[str, object], None]
) -> None:
    assert actuator.process is not None
    systemd.next_with("WATCHDOG=1")
    actuator.process.send_signal(signal.SIGSTOP)
    pid = actuator.process.pid
    until(lambda: stopped(pid))
    systemd.forget()

    watched_seconds = 1.5 * systemd.watchdog_seconds
    count = systemd.signs_of_life(watched_seconds)
    actuator.process.send_signal(signal.SIGCONT)

    assert 0 == count
    systemd.next_with("WATCHDOG=1")
    record_property(
        "measured",
        f"actuator frozen for {watched_seconds:g} s, WatchdogSec "
        f"{systemd.watchdog_seconds:g} s: {count} pings",
    )


def test_it_says_that_it_stops(systemd: NotifySocket, actuator: Actuator) -> None:
    assert 0 == actuator.end()

    assert "STATUS=stopping: puts every power limit back" in systemd.next_with("STOPPING=1")
