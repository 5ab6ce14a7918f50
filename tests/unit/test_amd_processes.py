"""The kernel's files on who computes on an AMD GPU, as they lie below /sys."""

from pathlib import Path

import pytest

from fakes.amd import host, kernel
from joulestat.devices.amd import open_amd
from joulestat.devices.amd_processes import processes_on
from joulestat.loops.system_clock import SystemClock

FIRST, SECOND = "0000:03:00.0", "0000:c3:00.0"


@pytest.fixture
def sys_root(tmp_path: Path) -> Path:
    """A card, and two GPUs and a processor as KFD shows them."""
    kernel.build(tmp_path, [host.CARD | {"bdf": FIRST}])
    node(tmp_path, 0, gpu_id=0, domain=0, location_id=0)
    node(tmp_path, 1, gpu_id=30381, domain=0, location_id=0x300)
    node(tmp_path, 2, gpu_id=51234, domain=0, location_id=0xC300)
    (tmp_path / "class/kfd/kfd/proc").mkdir()
    return tmp_path


def node(root: Path, number: int, *, gpu_id: int, domain: int, location_id: int) -> None:
    folder = root / f"class/kfd/kfd/topology/nodes/{number}"
    folder.mkdir(parents=True)
    (folder / "gpu_id").write_text(f"{gpu_id}\n")
    properties = f"cpu_cores_count 0\nlocation_id {location_id}\ndomain {domain}\n"
    (folder / "properties").write_text(properties)


def queue(root: Path, pid: int, number: int, gpu_id: int) -> None:
    folder = root / f"class/kfd/kfd/proc/{pid}/queues/{number}"
    folder.mkdir(parents=True)
    (folder / "gpuid").write_text(str(gpu_id))


def test_a_process_is_on_the_gpus_that_it_has_queues_on(sys_root: Path) -> None:
    queue(sys_root, 4711, 0, 30381)
    queue(sys_root, 4711, 1, 30381)
    queue(sys_root, 4712, 0, 30381)
    queue(sys_root, 4712, 1, 51234)
    (sys_root / "class/kfd/kfd/proc/4713/queues").mkdir(parents=True)

    assert frozenset({4711, 4712}) == processes_on(sys_root, FIRST)
    assert frozenset({4712}) == processes_on(sys_root, SECOND)


def test_nobody_on_a_gpu_is_not_the_same_as_not_knowing(sys_root: Path, tmp_path: Path) -> None:
    assert frozenset() == processes_on(sys_root, FIRST)
    assert processes_on(sys_root, "0001:03:00.0") is None
    assert processes_on(sys_root, "not an address") is None
    assert processes_on(tmp_path / "without KFD", FIRST) is None


def test_partitions_of_a_card_are_one_card(sys_root: Path) -> None:
    node(sys_root, 3, gpu_id=777, domain=0, location_id=0x1000_0300)
    queue(sys_root, 1, 0, 777)

    assert frozenset({1}) == processes_on(sys_root, FIRST)


def test_the_backend_knows_them_by_uuid(sys_root: Path) -> None:
    queue(sys_root, 4711, 0, 30381)
    backend = open_amd(SystemClock(), sys_root=sys_root)

    assert frozenset({4711}) == backend.processes(backend.devices()[0].uuid)
    assert backend.processes("another") is None
    backend.close()
