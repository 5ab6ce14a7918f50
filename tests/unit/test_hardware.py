"""Devices that come while one thread reads them all: none is read before it is adopted."""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fakes.amd import host, kernel
from fakes.host import Host
from joulestat.config import SamplingConfig
from joulestat.devices.amd import open_amd
from joulestat.domain.run import Phase, Push
from joulestat.domain.units import NS_PER_SECOND
from joulestat.loops.system_clock import SystemClock
from joulestat.runs.budgets import Budgets
from joulestat.runs.ledger import LedgerPolicy
from joulestat.runs.memory import restored_ledger
from joulestat.runs.store import DocumentStore
from joulestat.sampler import Sampler
from joulestat.service.hardware import Hardware
from joulestat.service.memory import Memory

CARDS = [host.CARD | {"bdf": f"0000:0{n}:00.0", "unique_id": f"e7f04c2d9a1b000{n}"} for n in (1, 2)]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Any]:
    """The kernel's files of one card, and what reads them every 20 ms."""
    kernel.build(tmp_path, CARDS[1:])
    clock = SystemClock()
    backend = open_amd(clock, sys_root=tmp_path)
    with ExitStack() as ending:
        store = DocumentStore(tmp_path / "ledger.sqlite")
        ending.callback(store.close)
        memory = Memory.load(store, clock.boot_id())
        ledger = restored_ledger(
            memory.documents,
            policy=LedgerPolicy(),
            budgets=Budgets(),
            instance=memory.instance,
            now_ns=clock.monotonic_ns(),
            same_boot=memory.same_boot,
        )
        sampler = Sampler(
            ledger=ledger,
            store=store,
            unsaved=memory.unsaved,
            clock=clock,
            interval_ns=NS_PER_SECOND // 50,
            controls=dict,
        )
        governor = Host(tmp_path).governor
        sampling = SamplingConfig(interval_seconds=0.02)
        hardware = Hardware(
            lambda: backend,
            sampler,
            lambda limiters, models: governor.adopt(limiters, models),  # noqa: PLW0108 - replaced below
            memory.instrument,
            sampling,
            clock,
        )
        hardware.start()
        ending.callback(hardware.stop)
        yield SimpleNamespace(
            root=tmp_path, backend=backend, sampler=sampler, hardware=hardware, governor=governor
        )


def up(node: Any) -> list[str]:
    """Return the UUIDs of the devices that were read in the last 0.2 s."""
    time.sleep(0.2)
    node.sampler.tick()
    return [each.device.uuid for each in node.sampler.snapshot.devices if each.up]


def test_a_device_that_nobody_adopted_yet_holds_up_no_other(
    node: Any, caplog: pytest.LogCaptureFixture
) -> None:
    (old,) = up(node)
    kernel.build(node.root, CARDS)  # the new one comes first
    with caplog.at_level(logging.ERROR, "joulestat.loops.heartbeat"):
        assert node.backend.refresh()
        assert [old] == up(node)
    assert [] == caplog.messages

    node.hardware.look_again()
    assert 2 == len(up(node))


@pytest.mark.parametrize("name", ["all", "e7ff740f", "GPU-e7f04c2d9a1b0002"])
def test_a_rank_may_shorten_or_respell_the_name_of_a_device(node: Any, name: str) -> None:
    (uuid,) = up(node)
    push = Push("r", 0, "i", 1, 1, gpus=(name, uuid), phase=Phase.OTHER)

    assert (uuid,) == node.hardware.whole(push).gpus
    strange = replace(push, gpus=("GPU-0",))
    assert strange == node.hardware.whole(strange)


def test_devices_whose_adoption_failed_are_adopted_at_the_next_look(node: Any) -> None:
    kernel.build(node.root, CARDS)
    adopt, node.governor.adopt = node.governor.adopt, lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        node.hardware.look_again()
    node.governor.adopt = adopt
    node.hardware.look_again()

    assert 2 == len(up(node))
