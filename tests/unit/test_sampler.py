"""What was shown is on disk, whenever the exporter is killed and whatever the disk does."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.clock import FakeClock
from joulestat.domain.device import CallError, Device, PowerLimits, Reading
from joulestat.domain.limit import PowerControl
from joulestat.domain.run import TRANSITION, Counts, Phase, Push
from joulestat.domain.snapshot import Snapshot
from joulestat.domain.tariff import Tariff
from joulestat.domain.units import NS_PER_SECOND, UJ_PER_JOULE
from joulestat.runs.budgets import Budgets
from joulestat.runs.history.file import NodeIdentity
from joulestat.runs.history.keeper import HistoryKeeper
from joulestat.runs.ledger import LedgerPolicy
from joulestat.runs.memory import restored_ledger
from joulestat.runs.store import DocumentStore
from joulestat.sampler import Sampler
from joulestat.service.memory import Memory

GPU = Device("GPU-a", 0, "NVIDIA", "V100", "0000:01:00.0", "560")
LIMITS = PowerLimits(set_watts=250.0, enforced_watts=250.0, max_watts=300.0)
WATTS = 200


class Host:
    """A host with one GPU that draws a constant power, and its exporter's heartbeat."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger.sqlite"
        self.clock = FakeClock()
        self.joules = 22_000_000.0
        self.register = True
        self.start()

    def start(self) -> None:
        """Start the exporter, from what an earlier one left on disk."""
        self.store = DocumentStore(self.path)
        self.memory = Memory.load(self.store, self.clock.boot_id())
        self.sampler = Sampler(
            ledger=restored_ledger(
                self.memory.documents,
                policy=LedgerPolicy(),
                budgets=Budgets(),
                instance=self.memory.instance,
                now_ns=self.clock.monotonic_ns(),
                same_boot=self.memory.same_boot,
            ),
            store=self.store,
            unsaved=self.memory.unsaved,
            clock=self.clock,
            interval_ns=NS_PER_SECOND // 10,
            controls=dict[str, PowerControl],
        )
        self.sampler.adopt("nvml", [GPU], self.memory.instrument)

    def die(self) -> None:
        """End the exporter; what is not on disk is lost."""
        self.store.close()

    def run(self, seconds: float, *, ticks: int = 1) -> Snapshot:
        """Let time pass, and tick that often meanwhile."""
        for _ in range(ticks):
            self.clock.advance(seconds / ticks)
            self.joules += WATTS * seconds / ticks
            self.sampler.deliver(GPU.uuid, self.reading())
            self.sampler.tick()
        return self.sampler.snapshot

    def reading(self) -> Reading:
        counter_uj = round(self.joules * UJ_PER_JOULE) if self.register else None
        return Reading(self.clock.monotonic_ns(), counter_uj, float(WATTS), LIMITS)

    def push(self, seq: int, steps: int, *, final: bool = False, incarnation: str = "one") -> None:
        now_ns = self.clock.monotonic_ns()
        totals = {Phase.TRAIN: Counts(steps)}
        gpus = (GPU.uuid,)
        self.sampler.push(
            Push("r", 0, incarnation, seq, now_ns, gpus, Phase.TRAIN, totals, final=final)
        )

    @contextmanager
    def refusing_disk(self) -> Iterator[None]:
        """Let no document be written, as on a full disk."""
        with sqlite3.connect(self.path) as other:
            other.execute(
                "CREATE TRIGGER full BEFORE INSERT ON document"
                " BEGIN SELECT RAISE(ABORT, 'disk full'); END"
            )
        yield
        with sqlite3.connect(self.path) as other:
            other.execute("DROP TRIGGER full")
        other.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.die()


def run_joules(snapshot: Snapshot) -> float:
    return sum(uj for run in snapshot.runs for uj in run.device_energy_uj.values()) / UJ_PER_JOULE


def gpu_joules(snapshot: Snapshot) -> float:
    meter = snapshot.devices[0].meter
    assert meter is not None
    return meter.total_uj / UJ_PER_JOULE


@pytest.mark.parametrize("register", [True, False])
def test_no_counter_falls_when_the_exporter_is_killed_after_any_tick(
    host: Host, register: bool
) -> None:
    host.register = register
    host.run(1.0, ticks=10)
    shown = (0.0, 0.0)
    for tick in range(1, 60):
        if tick % 7 == 1:
            host.push(tick, tick)
        snapshot = host.run(0.1)
        now = (gpu_joules(snapshot), run_joules(snapshot))
        assert now[0] >= shown[0]
        assert now[1] >= shown[1]
        shown = now
        host.die()
        host.start()

    assert shown[1] > 0


def test_a_run_whose_writing_failed_is_written_when_the_disk_is_back(host: Host) -> None:
    host.run(1.0, ticks=10)
    host.push(1, 0)
    host.run(1.0, ticks=10)
    with host.refusing_disk():
        host.push(2, 10, final=True)
        host.run(1.0, ticks=10)
    host.run(2.0, ticks=20)
    host.die()
    host.start()
    snapshot = host.run(1.0, ticks=10)

    (run,) = snapshot.runs
    assert run.claims == ()
    assert run_joules(snapshot) == pytest.approx(WATTS * 1.0)
    assert snapshot.ticks.errors == {}


def test_a_disk_that_refuses_is_counted_and_hides_nothing(host: Host) -> None:
    host.run(1.0, ticks=10)
    with host.refusing_disk():
        snapshot = host.run(2.0, ticks=20)

    assert gpu_joules(snapshot) == pytest.approx(host.joules)
    assert snapshot.ticks.errors[("", "save_state", "StateError")] >= 2


def test_a_driver_reload_while_the_exporter_is_stopped_lets_no_total_fall(host: Host) -> None:
    host.run(1.0, ticks=10)
    shown = host.run(0.5, ticks=5)
    host.sampler.tick(last=True)
    host.die()
    host.joules = 0.0
    host.start()
    after = host.run(0.3, ticks=3)

    assert gpu_joules(after) >= gpu_joules(shown)


def test_a_start_that_failed_after_a_reboot_makes_nobody_believe_the_times_of_before(
    host: Host,
) -> None:
    host.clock.advance(500_000)
    host.run(1.0, ticks=10)
    host.push(1, 0)
    before = host.run(1.0, ticks=10)
    host.die()
    host.clock.reboot("boot-2")
    host.joules = 0.0
    host.start()
    instance = host.memory.instance
    host.die()  # an address that is not there yet, say: it never ticked
    host.start()
    host.run(1.0, ticks=10)
    host.push(1, 0, incarnation="two")
    host.run(1.0, ticks=10)
    host.push(2, 10, incarnation="two")
    after = host.run(0.2, ticks=2)

    assert host.memory.instance == instance
    # The register began anew, and the total with it; the run goes on.
    assert gpu_joules(after) == pytest.approx(2.2 * WATTS)
    assert run_joules(after) > run_joules(before)


def test_an_interval_of_which_energy_is_missing_is_no_evidence(host: Host) -> None:
    host.register = False
    host.run(1.0, ticks=10)
    host.push(1, 0)
    host.run(5.0, ticks=50)
    host.push(2, 50)
    host.run(0.2, ticks=2)
    host.die()
    host.clock.advance(3.0)  # nobody integrates the power of this time
    host.start()
    host.run(3.0, ticks=30)
    host.push(3, 110)
    host.run(4.0, ticks=40)
    host.push(4, 150)
    cells = host.run(0.2, ticks=2).runs[0].cells

    assert cells[Phase.TRAIN, TRANSITION].counts == Counts(50 + 60)
    assert cells[Phase.TRAIN, "250"].counts == Counts(40)
    assert cells[Phase.TRAIN, "250"].energy_uj == pytest.approx(4 * WATTS * UJ_PER_JOULE)


def test_an_index_is_that_of_the_gpu_that_is_there_now(host: Host) -> None:
    moved = replace(GPU, uuid="GPU-b", index=0)
    host.sampler.adopt("nvml", [GPU, replace(moved, index=1)], host.memory.instrument)
    assert host.sampler.uuid_of_index(1) == "GPU-b"
    host.sampler.adopt("nvml", [moved], host.memory.instrument)

    assert host.sampler.uuid_of_index(0) == "GPU-b"
    assert host.sampler.uuid_of_index(1) is None


def test_a_gpu_that_fails_is_not_up_and_keeps_its_energy(host: Host) -> None:
    host.run(1.0, ticks=10)
    host.clock.advance(0.1)
    failed = CallError("nvmlDeviceGetTotalEnergyConsumption", "GPU_IS_LOST")
    reading = Reading(host.clock.monotonic_ns(), None, None, errors=(failed,))
    host.sampler.deliver(GPU.uuid, reading)
    host.sampler.tick()
    snapshot = host.sampler.snapshot

    assert not snapshot.devices[0].up
    assert gpu_joules(snapshot) == pytest.approx(host.joules)
    assert snapshot.ticks.errors == {(GPU.uuid, failed.call, failed.error): 1}


def test_a_history_that_cannot_be_written_is_counted_and_hurts_no_tick(
    host: Host, tmp_path: Path
) -> None:
    nowhere = tmp_path / "no-such-folder" / "history.sqlite"
    keeper = HistoryKeeper(nowhere, NodeIdentity("node", "memory", Tariff()), 3600.0)
    host.sampler._history = keeper
    host.run(1.0)

    keeper.flush()

    assert 1 == host.run(1.0).ticks.errors["", "save_history", "StateError"]
