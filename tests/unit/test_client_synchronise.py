import os
import sys
from collections.abc import Callable, Mapping
from types import SimpleNamespace

import pytest

import joulestat
from fakes.clock import FakeClock
from fakes.devices_at_work import Devices, jax_with, torch_with
from joulestat.client.notices import Notices
from joulestat.client.outbox import monotonic_ns
from joulestat.client.synchronise import (
    LIMIT_NS,
    NEW_LIMIT_NS,
    STANDS_NS,
    NewLimit,
    Synchronisation,
    SynchronisedTally,
)
from joulestat.domain.run import Counts, Phase
from joulestat.domain.units import NS_PER_MILLISECOND, ns_to_seconds


def synchronisation(
    clock: FakeClock,
    modules: Mapping[str, object],
    *,
    every_steps: int = 1,
    wanted: Callable[[], bool] | None = None,
) -> Synchronisation:
    return Synchronisation(
        every_steps,
        modules,
        Notices(),
        now_ns=clock.monotonic_ns,
        sleep=clock.advance,
        wanted=wanted,
    )


def tally_of(clock: FakeClock, devices: Devices, every_steps: int = 1) -> SynchronisedTally:
    modules = {"torch": torch_with(devices)}
    tally = SynchronisedTally(
        clock.monotonic_ns, ("GPU-1",), synchronisation(clock, modules, every_steps=every_steps)
    )
    tally.change_phase(Phase.TRAIN)
    while (boundary := tally.waiting()) is not None:
        tally.settle(boundary.seq)
    return tally


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_a_step_ends_when_the_devices_are_done_with_it(framework: str) -> None:
    clock = FakeClock()
    devices = Devices(clock, busy_seconds=0.5)
    modules = {"torch": torch_with(devices)} if framework == "torch" else jax_with(devices)
    began_ns = clock.monotonic_ns()

    assert synchronisation(clock, modules).step()
    assert 0.5 <= ns_to_seconds(clock.monotonic_ns() - began_ns) <= 0.501


def test_devices_are_asked_at_most_every_so_many_steps() -> None:
    clock = FakeClock()
    devices = Devices(clock, busy_seconds=0.0)
    waits = synchronisation(clock, {"torch": torch_with(devices)}, every_steps=10)

    assert 3 == sum(waits.step() for _ in range(39))
    assert 3 == devices.asked


def test_a_wait_that_lasts_too_long_is_the_last_one(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    devices = Devices(clock, busy_seconds=1e9)
    waits = synchronisation(clock, {"torch": torch_with(devices)})
    began_ns = clock.monotonic_ns()

    assert [False] * 5 == [waits.step() for _ in range(5)]
    assert 1 == devices.asked
    assert LIMIT_NS <= clock.monotonic_ns() - began_ns <= LIMIT_NS * 1.01
    assert 1 == caplog.text.count("sync_every is off")


@pytest.mark.parametrize(
    "modules",
    [
        {},
        {"torch": torch_with(Devices(FakeClock(), 1.0), initialised=False)},
        {"torch": torch_with(Devices(FakeClock(), 1.0), recording=True)},
        jax_with(Devices(FakeClock(), 1.0), initialised=False),
        {"jax": SimpleNamespace()},
    ],
    ids=["nothing", "torch without CUDA", "a graph is recorded", "jax untouched", "another jax"],
)
def test_nothing_is_touched_that_the_training_code_did_not_use(modules: dict[str, object]) -> None:
    clock = FakeClock()
    began_ns = clock.monotonic_ns()

    assert not synchronisation(clock, modules).step()
    assert began_ns == clock.monotonic_ns()


def test_a_framework_that_cannot_be_asked_is_asked_once(caplog: pytest.LogCaptureFixture) -> None:
    waits = synchronisation(FakeClock(), {"torch": SimpleNamespace()})

    assert [False, False] == [waits.step() for _ in range(2)]
    assert 1 == caplog.text.count("Synchronisation failed")


def test_a_forked_child_leaves_the_devices_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    devices = Devices(clock, busy_seconds=0.0)
    waits = synchronisation(clock, {"torch": torch_with(devices)})
    monkeypatch.setattr(os, "getpid", lambda: 1)

    assert not waits.step()
    assert 0 == devices.asked


def test_pushes_stand_at_the_step_that_was_waited_for() -> None:
    clock = FakeClock()
    tally = tally_of(clock, Devices(clock, busy_seconds=0.2), every_steps=3)
    for _ in range(3):
        tally.step(4, 0)
    waited_ns = clock.monotonic_ns()
    clock.advance(0.1)
    tally.step(4, 0)

    boundary = tally.latest()
    assert (waited_ns, {Phase.TRAIN: Counts(3, 12, 0)}) == (boundary.at_ns, boundary.totals)


def test_pushes_of_one_that_waits_rarely_go_on() -> None:
    clock = FakeClock()
    tally = tally_of(clock, Devices(clock, busy_seconds=0.0), every_steps=3)
    for _ in range(5):
        tally.step(4, 0)
    clock.advance(ns_to_seconds(STANDS_NS) + 0.1)

    assert {Phase.TRAIN: Counts(5, 20, 0)} == tally.latest().totals


def test_a_new_phase_begins_with_everything_counted_and_later_than_any_step() -> None:
    clock = FakeClock()
    tally = tally_of(clock, Devices(clock, busy_seconds=0.0), every_steps=2)
    boundaries = []
    for phase in (Phase.EVAL, Phase.TRAIN, Phase.EVAL):
        for _ in range(3):
            clock.advance(0.1)
            tally.step(1, 0)
            boundaries.append(tally.latest())
        tally.change_phase(phase)
        boundary = tally.waiting()
        assert boundary is not None
        boundaries.append(boundary)
        tally.settle(boundary.seq)

    assert {Phase.TRAIN: Counts(6, 6, 0), Phase.EVAL: Counts(3, 3, 0)} == boundaries[-1].totals
    for values in ([b.seq for b in boundaries], [b.at_ns for b in boundaries]):
        assert sorted(values) == values


def test_a_finished_run_waits_for_nothing() -> None:
    clock = FakeClock()
    devices = Devices(clock, busy_seconds=0.0)
    tally = tally_of(clock, devices)
    tally.finish()
    tally.step(1, 0)

    assert 0 == devices.asked


def test_a_limit_is_new_for_a_while_after_each_change() -> None:
    clock = FakeClock()
    limits_watts: dict[str, float] = {}
    new = NewLimit(lambda: dict(limits_watts), clock.monotonic_ns)
    passed = ns_to_seconds(NEW_LIMIT_NS)

    assert not new()
    limits_watts["GPU-1"] = 300.0
    assert new()
    clock.advance(passed)
    assert not new()
    limits_watts["GPU-1"] = 299.6  # as drivers round
    assert not new()
    limits_watts["GPU-1"] = 225.0
    assert new()
    clock.advance(passed)
    assert not new()


def test_while_no_limit_is_new_nothing_is_waited_for() -> None:
    clock = FakeClock()
    devices = Devices(clock, busy_seconds=0.0)
    new: list[bool] = []
    waits = synchronisation(
        clock, {"torch": torch_with(devices)}, every_steps=5, wanted=lambda: bool(new)
    )

    assert 0 == sum(waits.step() for _ in range(20))
    new.append(True)
    assert [True, False, False, False, False, True] == [waits.step() for _ in range(6)]


def test_init_waits_where_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = Devices(FakeClock(), busy_seconds=0.0)
    monkeypatch.setitem(sys.modules, "torch", torch_with(devices))
    monkeypatch.setenv("JOULESTAT_URL", "http://127.0.0.1:1")
    asked = []
    for options in ({}, {"sync_every": 2}, {"sync_every": 2, "sync_probes_only": True}):
        with joulestat.init(run="r", gpus=[0], **options) as run:  # type: ignore[arg-type]
            for _ in range(10):
                run.step()
        asked.append(devices.asked)

    # Nobody answers, so that no limit is heard of.
    assert [0, 5, 5] == asked


def test_a_step_sleeps_between_its_questions() -> None:
    began_ns = monotonic_ns()
    asked = []

    def query() -> bool:
        asked.append(True)
        return monotonic_ns() - began_ns > 20 * NS_PER_MILLISECOND

    event = SimpleNamespace(record=lambda: None, query=query)
    cuda = SimpleNamespace(
        is_initialized=lambda: True, is_current_stream_capturing=lambda: False, Event=lambda: event
    )
    waits = Synchronisation(
        1, {"torch": SimpleNamespace(cuda=cuda)}, Notices(), now_ns=monotonic_ns
    )

    assert waits.step()
    assert len(asked) < 50  # without sleep it would be tens of thousands
