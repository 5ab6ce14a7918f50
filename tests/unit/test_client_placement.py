from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

from joulestat.client.naming import Host
from joulestat.client.placement import environment_gpus, framework_gpus, named_gpus


def host(environ: dict[str, str], torch: object = None) -> Host:
    return Host(environ, "node7", 1, 1, {} if torch is None else {"torch": torch})


class FakeCuda:
    """What of ``torch.cuda`` is asked; raises where real CUDA would begin to initialise."""

    def __init__(
        self, *, count: int, initialized: bool = True, current: int = 0, used: tuple[int, ...] = ()
    ) -> None:
        self._count = count
        self._initialized = initialized
        self._current = current
        self._used = used

    def is_initialized(self) -> bool:
        return self._initialized

    def _insist(self) -> None:
        if not self._initialized:
            raise AssertionError("this would initialise CUDA")

    def device_count(self) -> int:
        self._insist()
        return self._count

    def current_device(self) -> int:
        self._insist()
        return self._current

    def memory_reserved(self, index: int) -> int:
        self._insist()
        return 1024 if index in self._used else 0

    def get_device_properties(self, index: int) -> SimpleNamespace:
        self._insist()
        return SimpleNamespace(uuid=f"uuid-{index}")


def fake_torch(hip: str | None = None, **cuda: object) -> SimpleNamespace:
    return SimpleNamespace(
        version=SimpleNamespace(hip=hip),
        cuda=FakeCuda(**cuda),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        ("GPU-1", ("GPU-1",)),
        ("0,1", (0, 1)),
        (2, (2,)),
        ([0, "GPU-1"], (0, "GPU-1")),
        (("0", 0), (0,)),
        ([], ()),
        (np.int64(2), (2,)),
        (np.arange(2), (0, 1)),
        ((index for index in (0, 1)), (0, 1)),
        ("MIG-1", ("MIG-1",)),
        ("all", ("all",)),
        ("cff874b4-0000-1000-80d6-bf4c0e6a1d2a", ("cff874b4-0000-1000-80d6-bf4c0e6a1d2a",)),
    ],
)
def test_a_caller_names_uuids_or_indices(gpus: object, expected: tuple[object, ...]) -> None:
    assert expected == named_gpus(gpus)


@pytest.mark.parametrize(
    "gpus",
    [None, 1.5, -1, [0, -1], "cuda:0", b"GPU-1", [None], [[0]], range(17), count(), True],
)
def test_what_names_no_gpu_is_not_taken(gpus: object) -> None:
    assert named_gpus(gpus) is None


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"LOCAL_RANK": "3", "LOCAL_WORLD_SIZE": "4"}, (3,)),
        ({"LOCAL_RANK": "3", "WORLD_SIZE": "4"}, (3,)),
        ({"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}, None),
        ({"CUDA_VISIBLE_DEVICES": ""}, ()),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, ()),
        ({"CUDA_VISIBLE_DEVICES": "2,3"}, (2, 3)),
        ({"CUDA_VISIBLE_DEVICES": " 2, 3 "}, (2, 3)),
        ({"CUDA_VISIBLE_DEVICES": "1,-1,2"}, (1,)),
        ({"CUDA_VISIBLE_DEVICES": "all"}, None),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8932f937,GPU-1"}, ("GPU-8932f937", "GPU-1")),
        ({"CUDA_VISIBLE_DEVICES": "MIG-1"}, ("MIG-1",)),
        ({"HIP_VISIBLE_DEVICES": "1"}, (1,)),
        ({"ROCR_VISIBLE_DEVICES": "GPU-e7f04c2d9a1b0001"}, ("GPU-e7f04c2d9a1b0001",)),
        # HIP counts what ROCr leaves.
        ({"ROCR_VISIBLE_DEVICES": "2,3", "HIP_VISIBLE_DEVICES": "0"}, (2,)),
        ({"ROCR_VISIBLE_DEVICES": "2,3", "HIP_VISIBLE_DEVICES": "1,0"}, (3, 2)),
        ({"ROCR_VISIBLE_DEVICES": "2,3", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, (3,)),
        ({"CUDA_VISIBLE_DEVICES": "4,5,6,7", "LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "4"}, (6,)),
        ({"CUDA_VISIBLE_DEVICES": "5", "LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "4"}, (5,)),
        # A task of srun has neighbours; a batch script has none.
        ({"SLURM_LOCALID": "1", "SLURM_STEP_NUM_TASKS": "2"}, (1,)),
        ({"SLURM_LOCALID": "0", "CUDA_VISIBLE_DEVICES": "0,1"}, (0, 1)),
        ({"OMPI_COMM_WORLD_LOCAL_RANK": "1", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, (1,)),
    ],
)
def test_the_environment_tells_which_gpus_are_meant(
    environ: dict[str, str], expected: tuple[object, ...]
) -> None:
    assert expected == environment_gpus(host(environ))


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        # A container counts its own devices from 0.
        ({"NVIDIA_VISIBLE_DEVICES": "GPU-a,GPU-b", "CUDA_VISIBLE_DEVICES": "1"}, ("GPU-b",)),
        ({"NVIDIA_VISIBLE_DEVICES": "GPU-a,GPU-b"}, ("GPU-a", "GPU-b")),
        ({"NVIDIA_VISIBLE_DEVICES": "2,3", "CUDA_VISIBLE_DEVICES": "0,1"}, (2, 3)),
        ({"NVIDIA_VISIBLE_DEVICES": "all", "CUDA_VISIBLE_DEVICES": "1"}, (1,)),
        ({"NVIDIA_VISIBLE_DEVICES": "GPU-a", "CUDA_VISIBLE_DEVICES": "GPU-a"}, ("GPU-a",)),
        # Slurm with fenced devices, and without.
        ({"SLURM_JOB_GPUS": "1", "CUDA_VISIBLE_DEVICES": "0"}, (1,)),
        ({"SLURM_JOB_GPUS": "1", "CUDA_VISIBLE_DEVICES": "1"}, (1,)),
        ({"SLURM_JOB_GPUS": "2,3", "CUDA_VISIBLE_DEVICES": "0,1"}, (2, 3)),
        ({"SLURM_JOB_GPUS": "2,3", "CUDA_VISIBLE_DEVICES": "2,3"}, (2, 3)),
        ({"SLURM_JOB_GPUS": "2,3", "CUDA_VISIBLE_DEVICES": "1"}, (3,)),
        ({"SLURM_JOB_GPUS": "2,3", "SLURM_STEP_GPUS": "3", "CUDA_VISIBLE_DEVICES": "0"}, (3,)),
        ({"SLURM_JOB_GPUS": "2,3"}, (2, 3)),
        ({"SLURM_JOB_GPUS": "2,3", "ROCR_VISIBLE_DEVICES": "0,1"}, (2, 3)),
        ({"SLURM_JOB_GPUS": "2,3", "ROCR_VISIBLE_DEVICES": "2,3"}, (2, 3)),
        (
            {
                "SLURM_JOB_GPUS": "4,5,6,7",
                "ROCR_VISIBLE_DEVICES": "2,3",
                "HIP_VISIBLE_DEVICES": "1",
            },
            (7,),
        ),
    ],
)
def test_indices_of_a_container_or_a_fenced_job_become_the_hosts(
    environ: dict[str, str], expected: tuple[object, ...]
) -> None:
    assert expected == environment_gpus(host(environ))


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"JOULESTAT_GPUS": "3", "CUDA_VISIBLE_DEVICES": "0"}, (3,)),
        ({"JOULESTAT_GPUS": "all"}, ("all",)),
        ({"JOULESTAT_GPUS": "2,GPU-a", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, ("GPU-a",)),
        ({"JOULESTAT_GPUS": "", "CUDA_VISIBLE_DEVICES": "0"}, (0,)),
        ({"JOULESTAT_GPUS": "cuda:0", "CUDA_VISIBLE_DEVICES": "0"}, (0,)),
    ],
)
def test_what_was_set_for_joulestat_comes_before_what_was_set_for_others(
    environ: dict[str, str], expected: tuple[object, ...]
) -> None:
    assert expected == environment_gpus(host(environ))


@pytest.mark.parametrize(
    "environ",
    [
        {"CUDA_VISIBLE_DEVICES": "0", "KUBERNETES_SERVICE_HOST": "10.0.0.1"},
        {"CUDA_VISIBLE_DEVICES": "0", "NVIDIA_VISIBLE_DEVICES": "void"},
        {"CUDA_VISIBLE_DEVICES": "0", "NVIDIA_VISIBLE_DEVICES": "/var/run/nvidia"},
        {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "NVIDIA_VISIBLE_DEVICES": "void"},
        {"ROCR_VISIBLE_DEVICES": "0", "KUBERNETES_SERVICE_HOST": "10.0.0.1"},
    ],
)
def test_an_index_that_only_its_container_understands_is_not_sent(environ: dict[str, str]) -> None:
    assert environment_gpus(host(environ)) is None


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"NVIDIA_VISIBLE_DEVICES": "all", "CUDA_VISIBLE_DEVICES": "1"}, (1,)),
        ({"NVIDIA_VISIBLE_DEVICES": "GPU-a"}, ("GPU-a",)),
        ({"CUDA_VISIBLE_DEVICES": "GPU-a"}, ("GPU-a",)),
        ({"CUDA_VISIBLE_DEVICES": ""}, ()),
    ],
)
def test_in_a_pod_what_names_a_gpu_of_the_host_is_sent(
    environ: dict[str, str], expected: tuple[object, ...]
) -> None:
    assert expected == environment_gpus(host({"KUBERNETES_SERVICE_HOST": "10.0.0.1", **environ}))


def test_pytorch_is_not_asked_before_the_training_code_has_initialised_cuda() -> None:
    assert framework_gpus(host({}, fake_torch(count=8, initialized=False))) is None


def test_without_pytorch_nothing_is_imported_to_find_out() -> None:
    assert framework_gpus(host({})) is None


def test_pytorch_names_the_one_device_by_uuid() -> None:
    assert ("GPU-uuid-0",) == framework_gpus(host({}, fake_torch(count=1)))


def test_a_rank_with_neighbours_holds_its_own_device() -> None:
    environ = {"LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "4"}

    assert ("GPU-uuid-2",) == framework_gpus(host(environ, fake_torch(count=4)))
    # Each rank may also see one device only.
    assert ("GPU-uuid-0",) == framework_gpus(host(environ, fake_torch(count=1)))


def test_a_process_alone_holds_the_devices_that_it_has_memory_on() -> None:
    assert ("GPU-uuid-1", "GPU-uuid-3") == framework_gpus(
        host({}, fake_torch(count=4, used=(1, 3)))
    )


def test_a_process_without_memory_yet_holds_its_current_device() -> None:
    assert ("GPU-uuid-2",) == framework_gpus(host({}, fake_torch(count=4, current=2)))


def test_pytorch_on_rocm_names_a_card_by_the_serial_number_in_its_uuid() -> None:
    torch = fake_torch(count=1, hip="7.0")
    uuids = iter(["65376630-3463-3264-3961-316230303031", "00000000-0000-0000-0000-000000000000"])
    torch.cuda.get_device_properties = lambda _: SimpleNamespace(uuid=next(uuids))

    assert ("GPU-e7f04c2d9a1b0001",) == framework_gpus(host({}, torch))
    assert framework_gpus(host({}, torch)) is None  # cards for games have no serial number


def test_a_pytorch_without_uuids_leaves_it_to_the_environment() -> None:
    assert framework_gpus(host({}, SimpleNamespace(version=SimpleNamespace(hip=None)))) is None


def fake_jax(*platforms: str, ready: bool = True) -> dict[str, object]:
    def local_devices() -> list[SimpleNamespace]:
        assert ready, "this would initialise the devices"
        return [SimpleNamespace(platform=p, local_hardware_id=i) for i, p in enumerate(platforms)]

    return {
        "jax": SimpleNamespace(local_devices=local_devices),
        "jax._src.xla_bridge": SimpleNamespace(backends_are_initialized=lambda: ready),
    }


@pytest.mark.parametrize(
    ("environ", "platforms", "expected"),
    [
        ({}, ("gpu", "gpu"), (0, 1)),
        ({"CUDA_VISIBLE_DEVICES": "2,GPU-a"}, ("gpu", "gpu"), (2, "GPU-a")),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, ("gpu",), None),
        ({}, ("cpu",), None),
        ({}, ("gpu",) * 20, tuple(range(16))),
    ],
)
def test_jax_counts_the_devices_that_it_sees(
    environ: dict[str, str], platforms: tuple[str, ...], expected: tuple[object, ...] | None
) -> None:
    assert expected == framework_gpus(Host(environ, "node7", 1, 1, fake_jax(*platforms)))


def test_jax_is_not_asked_before_the_training_code_has_initialised_its_devices() -> None:
    assert framework_gpus(Host({}, "node7", 1, 1, fake_jax("gpu", ready=False))) is None
