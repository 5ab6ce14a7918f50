"""One world, several handles and processes, and what a kill leaves behind."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fakes.clock import FakeClock
from joulestat.devices import world_file
from joulestat.devices.models import TYPICAL_TRAINING, Workload
from joulestat.devices.world import Fault, SimulatedWorld
from joulestat.domain.errors import ConfigError, StateError

CHILD = """
import sys
from pathlib import Path
from fakes.clock import FakeClock
from joulestat.devices.models import Workload
from joulestat.devices.world import SimulatedWorld

world = SimulatedWorld.join(Path(sys.argv[1]), clock=FakeClock())
gpu = world.uuids[0]
"""


def open_world(path: Path, clock: FakeClock, **changed: object) -> SimulatedWorld:
    wanted: dict[str, object] = {"model": "V100", "gpus": 2, "seed": 7, **changed}
    return SimulatedWorld.open(path, clock=clock, **wanted)  # type: ignore[arg-type]


def start_child(path: Path, code: str) -> subprocess.Popen[str]:
    tests = Path(__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD + code, str(path)],
        cwd=tests,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_handles_on_one_file_agree(tmp_path: Path) -> None:
    clock = FakeClock()
    exporter = open_world(tmp_path / "world", clock)
    trainer = SimulatedWorld.join(tmp_path / "world", clock=clock)
    gpu = exporter.uuids[1]
    trainer.occupy(gpu, TYPICAL_TRAINING)
    exporter.set_limit(gpu, 200.0)
    trainer.set_fault(gpu, Fault.STICKY)
    clock.advance(100)

    assert exporter.uuids == trainer.uuids
    assert exporter.model is trainer.model
    now_ns = clock.monotonic_ns()
    assert exporter.energy_uj(gpu, now_ns) == trainer.energy_uj(gpu, now_ns) > 20_000_000_000
    assert exporter.counter_uj(gpu, now_ns) == trainer.counter_uj(gpu, now_ns)
    assert exporter.step_seconds(gpu, now_ns) == trainer.step_seconds(gpu, now_ns)
    assert 200.0 == trainer.limit_watts(gpu)
    assert Fault.STICKY is exporter.fault(gpu)
    exporter.close()
    trainer.close()


def test_the_hardware_runs_on_while_nobody_has_it_open(tmp_path: Path) -> None:
    clock = FakeClock()
    world = open_world(tmp_path / "world", clock, noise_ratio=0.0)
    gpu = world.uuids[0]
    world.occupy(gpu, TYPICAL_TRAINING)
    del world
    clock.advance(1_000)
    world = open_world(tmp_path / "world", clock)

    assert 270_000_000_000 == world.energy_uj(gpu, clock.monotonic_ns())
    world.close()


def test_a_killed_process_leaves_a_world_that_can_be_read_and_written(tmp_path: Path) -> None:
    world = open_world(tmp_path / "world", FakeClock())
    gpu = world.uuids[0]
    child = start_child(
        tmp_path / "world",
        """
world.set_limit(gpu, 150.0)
print("set", flush=True)
for number in range(10**9):
    world.occupy(gpu, Workload(0.5, 0.1, 1.0 + number % 2))
""",
    )
    assert child.stdout is not None
    assert "set\n" == child.stdout.readline()
    child.kill()
    assert -signal.SIGKILL == child.wait()
    child.stdout.close()

    assert 150.0 == world.limit_watts(gpu)
    world.set_limit(gpu, 160.0)
    assert 160.0 == world.limit_watts(gpu)
    world.close()


def test_a_writer_killed_halfway_leaves_the_record_as_it_was(tmp_path: Path) -> None:
    clock = FakeClock()
    world = open_world(tmp_path / "world", clock)
    gpu = world.uuids[0]
    world.set_limit(gpu, 150.0)
    world.close()
    # The generation is 1, so slot 1 counts and a writer fills slot 0 first.
    with (tmp_path / "world").open("r+b") as file:
        file.seek(world_file._slot_at(0, 2))
        file.write(b"half a record")
    world = open_world(tmp_path / "world", clock)

    assert 150.0 == world.limit_watts(gpu)
    world.set_limit(gpu, 170.0)
    assert 170.0 == world.limit_watts(gpu)
    world.close()


def test_concurrent_writers_lose_nothing_and_readers_never_see_half_a_record(
    tmp_path: Path,
) -> None:
    world = open_world(tmp_path / "world", FakeClock())
    gpu = world.uuids[0]
    child = start_child(
        tmp_path / "world",
        """
print("go", flush=True)
for number in range(1, 3_000):
    share = number / 3_000
    world.occupy(gpu, Workload(share, share, share))
    assert world.workload(gpu).compute_share == share
""",
    )
    assert child.stdout is not None
    assert "go\n" == child.stdout.readline()
    number = 0
    while child.poll() is None:
        number += 1
        limit_watts = 100.0 + number % 200
        world.set_limit(gpu, limit_watts)
        assert limit_watts == world.limit_watts(gpu)
        workload = world.workload(gpu)
        if workload is not None:
            share = workload.compute_share
            assert Workload(share, share, share) == workload
    child.stdout.close()

    assert 0 == child.returncode
    assert 2_999 / 3_000 == world.workload(gpu).compute_share  # type: ignore[union-attr]
    world.close()


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [("model", "A40", "V100"), ("gpus", 3, "2"), ("seed", 8, "7"), ("noise_ratio", 0.1, "0.02")],
)
def test_joining_another_world_than_asked_for_is_refused(
    tmp_path: Path, field: str, value: object, found: str
) -> None:
    clock = FakeClock()
    world = open_world(tmp_path / "world", clock)
    with pytest.raises(ConfigError, match=f"has {field}={found}, not {value}") as caught:
        open_world(tmp_path / "world", clock, **{field: value})

    assert (field, found) == (caught.value.field, caught.value.allowed)
    world.close()


@pytest.mark.parametrize(
    ("field", "value"),
    [("gpus", 0), ("gpus", 1_025), ("seed", 2**63), ("noise_ratio", 0.5), ("model", "B300")],
)
def test_an_impossible_world_is_refused_and_no_file_is_made(
    tmp_path: Path, field: str, value: object
) -> None:
    with pytest.raises(ConfigError) as caught:
        open_world(tmp_path / "world", FakeClock(), **{field: value})

    assert field == caught.value.field
    assert [] == list(tmp_path.iterdir())


def test_after_a_reboot_the_world_starts_afresh(tmp_path: Path) -> None:
    clock = FakeClock()
    world = open_world(tmp_path / "world", clock)
    world.set_limit(world.uuids[0], 150.0)
    world.close()
    clock.reboot("boot-2")
    with pytest.raises(StateError, match="no simulated GPUs of this boot"):
        SimulatedWorld.join(tmp_path / "world", clock=clock)
    world = open_world(tmp_path / "world", clock, model="A40", gpus=1)

    assert "A40" == world.model.name
    assert 300.0 == world.limit_watts(world.uuids[0])
    assert 0 == world.energy_uj(world.uuids[0], clock.monotonic_ns())
    world.close()


def test_there_is_nothing_to_join_before_the_exporter_started(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="start the exporter"):
        SimulatedWorld.join(tmp_path / "world", clock=FakeClock())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello", "is no simulated world; choose another path"),
        (b"\0" * (1 << 20), "is no simulated world"),
        (world_file.MAGIC + b"\x01\0\0\0" + bytes(244), "has format 1, this joulestat writes 2"),
        (world_file.MAGIC + b"\x02\0\0\0\x01" + bytes(243), "damaged: 1 GPUs in 256 bytes"),
    ],
)
def test_a_file_that_is_something_else_is_left_alone(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "world"
    path.write_bytes(content)
    for attempt in (open_world, lambda path, clock: SimulatedWorld.join(path, clock=clock)):
        with pytest.raises(StateError, match=message):
            attempt(path, FakeClock())

    assert content == path.read_bytes()


def test_a_world_whose_making_was_cut_short_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "world").write_bytes(bytes(512))
    world = open_world(tmp_path / "world", FakeClock())

    assert 2 == len(world.uuids)
    world.close()


def test_a_damaged_record_is_said_to_be_damaged(tmp_path: Path) -> None:
    clock = FakeClock()
    open_world(tmp_path / "world", clock).close()
    with (tmp_path / "world").open("r+b") as file:
        file.seek(world_file._slot_at(0, 0) + 20)
        file.write(b"\xff")
    world = open_world(tmp_path / "world", clock)

    with pytest.raises(StateError, match="damaged at GPU 0; delete the file"):
        world.limit_watts(world.uuids[0])
    assert 300.0 == world.limit_watts(world.uuids[1])
    world.close()


def test_a_file_of_an_unknown_card_is_said_to_be_so(tmp_path: Path) -> None:
    clock = FakeClock()
    open_world(tmp_path / "world", clock).close()
    content = (tmp_path / "world").read_bytes()
    (tmp_path / "world").write_bytes(content.replace(b"V100", b"V999", 1))

    with pytest.raises(StateError, match="unknown card 'V999'"):
        SimulatedWorld.join(tmp_path / "world", clock=clock)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="missing/world"):
        open_world(tmp_path / "missing" / "world", FakeClock())


def test_a_path_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot open simulated world"):
        open_world(tmp_path, FakeClock())


def test_a_closed_world_says_so(tmp_path: Path) -> None:
    clock = FakeClock()
    world = open_world(tmp_path / "world", clock)
    gpu = world.uuids[0]
    world.limit_watts(gpu)
    world.close()
    world.close()

    with pytest.raises(StateError, match="was closed"):
        world.limit_watts(gpu)
    with pytest.raises(StateError, match="was closed"):
        world.set_limit(gpu, 150.0)
