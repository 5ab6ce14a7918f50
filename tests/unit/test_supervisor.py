"""What systemd hears of us, and when it must hear nothing."""

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fakes.host import Host
from fakes.node import a_device, a_snapshot
from joulestat.actuator.peers import PeerRule
from joulestat.actuator.server import ActuatorServer
from joulestat.actuator.verbs import Verbs
from joulestat.config import ListenAddress
from joulestat.domain.snapshot import Snapshot
from joulestat.loops.driver_threads import spawn
from joulestat.loops.heartbeat import Heartbeat
from joulestat.loops.listening import bind
from joulestat.loops.supervisor import Notifier, Supervisor
from joulestat.service.status import status_of

LONG_USEC = str(60_000_000)
"""Two tells in so long: none of its own comes in the way of a test."""


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
    """What systemd listens on; its name is what NOTIFY_SOCKET says."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(0)
        yield listening


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.stop()


@pytest.fixture
def beating() -> Iterator[Heartbeat]:
    """A loop that has come round once, and takes its time before the next."""
    came_round = threading.Event()
    loop = Heartbeat("tick", 600.0, came_round.set)
    loop.start()
    assert came_round.wait(10)
    while not loop.beats(600.0):  # its end comes right after
        pass
    yield loop
    loop.ask_to_stop()
    loop.join(10)


def lines(heard: socket.socket) -> list[list[str]]:
    """Every message that has arrived, as its lines."""
    messages = []
    while True:
        try:
            messages.append(heard.recv(4096).decode().split("\n"))
        except BlockingIOError:
            return messages


def supervisor(
    name: str,
    *rhythms: Heartbeat,
    answers: Callable[[float], bool] = lambda _: True,
    snapshot: Callable[[], Snapshot | None] = a_snapshot,
    **environment: str,
) -> Supervisor:
    return Supervisor(
        {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": LONG_USEC, **environment},
        doors={"http": answers},
        rhythms={f"loop-{number}": each for number, each in enumerate(rhythms)},
        status=lambda: status_of(snapshot()),
    )


def test_readiness_is_told_once_and_life_again_and_again(
    heard: socket.socket, beating: Heartbeat
) -> None:
    told = supervisor(heard.getsockname(), beating)

    told.tell()
    told.tell()

    first, second = lines(heard)
    assert ["READY=1", "WATCHDOG=1"] == first[1:]
    assert ["WATCHDOG=1"] == second[1:]


@pytest.mark.promise("watchdog")
def test_a_frozen_loop_is_no_sign_of_life_though_its_thread_lives(
    heard: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    began, let_go = threading.Event(), threading.Event()

    def stand() -> None:
        began.set()
        let_go.wait(30)

    frozen = Heartbeat("tick", 0.001, stand)
    frozen.start()
    assert began.wait(10)
    told = supervisor(heard.getsockname(), frozen)

    told.tell()
    told.tell()
    let_go.set()
    frozen.ask_to_stop()
    assert frozen.join(10)

    assert [["STATUS=stands still: loop-0", "READY=1"], ["STATUS=stands still: loop-0"]] == lines(
        heard
    )
    assert ["event=stands_still loops=loop-0"] == [each.getMessage() for each in caplog.records]


@pytest.mark.promise("watchdog")
def test_a_frozen_event_loop_is_neither_ready_nor_alive_until_it_comes_round(
    heard: socket.socket, beating: Heartbeat, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    comes_round = iter([False, True])
    told = supervisor(heard.getsockname(), beating, answers=lambda _: next(comes_round))

    told.tell()
    told.tell()

    frozen, well = lines(heard)
    assert ["STATUS=stands still: http"] == frozen
    assert ["READY=1", "WATCHDOG=1"] == well[1:]
    assert ["event=stands_still loops=http", "event=goes_on loops=http"] == [
        each.getMessage() for each in caplog.records
    ]


def test_gpus_that_do_not_answer_are_told_to_people_and_are_a_sign_of_life(
    heard: socket.socket, beating: Heartbeat
) -> None:
    silent = a_snapshot([a_device(0, read=False), a_device(1, read=False)])
    told = supervisor(heard.getsockname(), beating, snapshot=lambda: silent)

    told.tell()

    assert [["STATUS=2 GPUs, 0 runs; no answer from GPU 0, 1", "READY=1", "WATCHDOG=1"]] == lines(
        heard
    )


def test_an_actuators_socket_answers_while_it_is_served(host: Host, tmp_path: Path) -> None:
    verbs = Verbs(host.governor, host.audit.read)
    server = ActuatorServer(verbs, PeerRule(frozenset()), spawn)
    listening = bind(ListenAddress(unix_path=tmp_path / "actuator.sock"), unix_mode=0o600)
    thread = threading.Thread(target=server.run, args=(listening,))

    before = server.answers(0.01)
    thread.start()
    meanwhile = server.answers(10.0)
    server.stop()
    thread.join(10.0)

    assert [False, True, False] == [before, meanwhile, server.answers(0.01)]


def test_the_end_is_told(heard: socket.socket) -> None:
    supervisor(heard.getsockname()).stop()

    assert "STOPPING=1" == lines(heard)[0][0]


@pytest.mark.parametrize(
    "environment",
    [
        {"WATCHDOG_USEC": ""},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "-5"},
        {"WATCHDOG_USEC": "٣"},
        {"WATCHDOG_USEC": "9" * 400},
        {"WATCHDOG_PID": str(os.getpid() + 1)},
    ],
)
def test_who_waits_for_no_sign_of_life_gets_none(
    heard: socket.socket, beating: Heartbeat, environment: dict[str, str]
) -> None:
    supervisor(heard.getsockname(), beating, **environment).tell()

    assert ["READY=1"] == lines(heard)[0][1:]


def test_an_abstract_socket_is_one_too() -> None:
    name = f"joulestat-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(10)
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).tell("READY=1", "STATUS=well")

        assert b"READY=1\nSTATUS=well" == listening.recv(4096)


def test_without_a_supervisor_nothing_is_told_and_no_thread_starts() -> None:
    before = threading.active_count()
    told = Supervisor({}, doors={}, rhythms={}, status=lambda: "well")

    told.start()
    told.stop()

    assert before == threading.active_count()


def test_a_supervisor_that_is_gone_harms_nobody_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})

    notifier.tell("WATCHDOG=1")
    notifier.tell("WATCHDOG=1")

    assert 1 == len([each for each in caplog.records if "not_told" in each.getMessage()])
