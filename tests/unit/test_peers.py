"""Who asks and who computes: matched by what the kernel and the driver say of processes."""

import os

import pytest

from fakes.clock import FakeClock
from joulestat.service.peers import Peers, parent_pid

TRAINER, WORKER, OTHER, LAUNCHER, INIT = 40, 41, 50, 30, 1
PARENTS = {TRAINER: LAUNCHER, WORKER: TRAINER, LAUNCHER: INIT, OTHER: INIT, INIT: 0}

Users = dict[str, frozenset[int] | None]


class Host:
    """Devices with those who compute on them, and how often the driver was asked."""

    def __init__(self, **users: set[int] | None) -> None:
        self.users: Users = {
            uuid: None if pids is None else frozenset(pids) for uuid, pids in users.items()
        }
        self.calls = 0
        self.clock = FakeClock()
        self.peers = Peers(
            lambda: list(self.users),
            self._processes,
            monotonic_ns=self.clock.monotonic_ns,
            parent_of=PARENTS.get,
        )

    def _processes(self, uuid: str) -> frozenset[int] | None:
        self.calls += 1
        return self.users[uuid]

    def found_for(self, pid: int | None) -> tuple[str, ...]:
        self.peers.gpus_of(pid)
        self.peers.look()
        return self.peers.gpus_of(pid)


def test_a_device_belongs_to_the_process_that_computes_there() -> None:
    assert ("b", "c") == Host(a={OTHER}, b={TRAINER}, c={TRAINER, OTHER}).found_for(TRAINER)


def test_a_launcher_stands_for_what_it_launched() -> None:
    host = Host(a={TRAINER}, b={WORKER}, c={OTHER})

    assert ("a", "b") == host.found_for(LAUNCHER)
    assert ("b",) == Host(a={LAUNCHER}, b={WORKER}).found_for(TRAINER)


def test_of_several_devices_none_is_taken_for_a_process_that_computes_on_none() -> None:
    assert () == Host(a={OTHER}, b=set()).found_for(TRAINER)
    assert () == Host(a=None, b=None).found_for(TRAINER)
    assert () == Host(a=set(), b=set()).found_for(None)


def test_the_only_device_is_taken_where_nothing_speaks_against_it() -> None:
    for users in (set[int](), None, {999}):  # nobody, no answer, a process we cannot see
        assert ("a",) == Host(a=users).found_for(TRAINER)
    assert ("a",) == Host(a={OTHER}).found_for(None)
    assert () == Host(a={OTHER}).found_for(TRAINER)
    assert () == Host().found_for(TRAINER)


def test_a_driver_that_does_not_answer_takes_no_device_away() -> None:
    host = Host(a={TRAINER}, b={OTHER})
    assert ("a",) == host.found_for(TRAINER)
    host.users["a"] = None
    assert ("a",) == host.found_for(TRAINER)
    host.users["a"] = frozenset()
    assert () == host.found_for(TRAINER)


def test_no_driver_is_asked_while_nobody_needs_it() -> None:
    host = Host(a={TRAINER}, b=set())
    host.peers.look()
    host.peers.gpus_of(None)
    host.peers.look()
    assert 0 == host.calls

    host.found_for(TRAINER)
    host.clock.advance(11)
    calls = host.calls
    host.peers.look()
    assert calls == host.calls


def test_processes_that_descend_from_each_other_end_the_search() -> None:
    host = Host(a={7}, b=set())
    host.peers = Peers(
        lambda: list(host.users),
        host._processes,
        monotonic_ns=host.clock.monotonic_ns,
        parent_of={7: 8, 8: 7}.get,
    )
    assert ("a",) == host.found_for(8)


def test_parents_are_read_from_the_kernel() -> None:
    assert os.getppid() == parent_pid(os.getpid())
    assert parent_pid(2**22 + 1) is None


@pytest.mark.parametrize("pid", [0, -1])
def test_what_is_no_process_has_no_parent(pid: int) -> None:
    assert parent_pid(pid) is None
