"""The real nvidia-ml-py over the stand-in library: who computes on a GPU."""

from fakes.nvml.remote import RemoteNvml
from fakes.nvml.standin import StandIn


def test_the_driver_names_the_process_on_each_gpu(nvml: RemoteNvml, nvml_standin: StandIn) -> None:
    idle, busy = (device.uuid for device in nvml.devices())
    nvml_standin.change(1, pid=4711)

    assert frozenset() == nvml.processes(idle)
    assert frozenset({4711}) == nvml.processes(busy)


def test_a_driver_that_does_not_tell_leaves_it_unknown(
    nvml: RemoteNvml, nvml_standin: StandIn
) -> None:
    gpu = nvml.devices()[0].uuid
    for code in (3, 4, 15, 999):  # not supported, no permission, lost, unknown
        nvml_standin.plan(f"nvmlDeviceGetComputeRunningProcesses_v3 * ret {code}")
        assert nvml.processes(gpu) is None
    assert nvml.processes("GPU-of-another-host") is None
