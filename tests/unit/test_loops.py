"""Threads, sockets and clocks: the edge of the house."""

import threading

import pytest

from joulestat.config import ListenAddress
from joulestat.domain.errors import ConfigError
from joulestat.loops.heartbeat import Heartbeat
from joulestat.loops.listening import bind
from joulestat.loops.system_clock import SystemClock

UNIX_MODE = 0o660


def test_a_beat_that_fails_does_not_end_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    beats = iter(range(100))
    enough = threading.Event()

    def beat() -> None:
        if next(beats) < 5:
            raise RuntimeError("the disk is full")
        enough.set()

    loop = Heartbeat("test", 0.001, beat)
    loop.start()
    assert enough.wait(10)
    loop.ask_to_stop()
    assert loop.join(10)

    # Logged when it begins, not every time.
    assert sum("event=beat_failed" in record.getMessage() for record in caplog.records) == 1


def test_a_hanging_beat_is_not_waited_for_for_ever() -> None:
    let_go, began = threading.Event(), threading.Event()

    def beat() -> None:
        began.set()
        let_go.wait(30)

    loop = Heartbeat("test", 0.001, beat)
    loop.start()
    assert began.wait(10)
    loop.ask_to_stop()
    ended = loop.join(0.01)
    let_go.set()

    assert not ended
    assert loop.join(10)


def test_a_loop_that_never_started_is_joined_at_once() -> None:
    assert Heartbeat("test", 1.0, lambda: None).join(0.0)


def test_nobody_is_to_be_stopped_where_the_address_is_another_hosts() -> None:
    with pytest.raises(ConfigError, match="; choose another address"):
        bind(ListenAddress("192.0.2.1", 0), unix_mode=UNIX_MODE)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_tcp_addresses_are_bound_where_they_say(host: str) -> None:
    with bind(ListenAddress(host, 0), unix_mode=UNIX_MODE) as listening:
        assert listening.getsockname()[0] in ("127.0.0.1", "::1")


def test_the_host_has_one_boot_and_clocks_that_run() -> None:
    clock = SystemClock()

    assert clock.boot_id() == SystemClock().boot_id()
    assert clock.monotonic_ns() <= clock.monotonic_ns()
    assert clock.boottime_ns() > 0
    assert clock.wall_seconds() > 1_700_000_000
