"""What the slow beat found stands until the next one: values, and errors in their place."""

from typing import Any

from fakes.clock import FakeClock
from joulestat.devices.nvml_gpu import NvmlGpu
from joulestat.domain.device import CallError, Device
from joulestat.domain.errors import DeviceError

DEVICE = Device("GPU-1", 0, "NVIDIA", "a card", "00000000:01:00.0", "590")
ENERGY = "nvmlDeviceGetTotalEnergyConsumption"
PERSISTENCE = "nvmlDeviceGetPersistenceMode"


class Driver:
    """Knows energy and persistence mode, but for what fails."""

    def __init__(self) -> None:
        self.failing: dict[str, str] = {}

    def __call__(self, call: str, *_: Any) -> Any:
        error = self.failing.get(call) or self.failing.get("*")
        if error is None and call in {ENERGY, PERSISTENCE}:
            return 1
        raise DeviceError(call, call=call, error=error or "NOT_SUPPORTED")


def test_a_slow_value_that_could_not_be_read_is_an_error_until_it_is_read() -> None:
    driver = Driver()
    gpu = NvmlGpu(DEVICE, driver, FakeClock())
    driver.failing = {PERSISTENCE: "UNKNOWN"}
    failed = (CallError(PERSISTENCE, "UNKNOWN"),)

    assert failed == gpu.read(details=True).errors == gpu.read(details=False).errors
    driver.failing = {}
    assert failed == gpu.read(details=False).errors
    assert () == gpu.read(details=True).errors == gpu.read(details=False).errors


def test_a_gpu_that_is_lost_has_that_one_error_whatever_failed_before() -> None:
    driver = Driver()
    gpu = NvmlGpu(DEVICE, driver, FakeClock())
    driver.failing = {PERSISTENCE: "UNKNOWN"}
    gpu.read(details=True)
    driver.failing = {"*": "GPU_IS_LOST"}
    lost = (CallError(ENERGY, "GPU_IS_LOST"),)

    assert lost == gpu.read(details=False).errors == gpu.read(details=True).errors
    assert lost == gpu.read(details=False).errors


def test_only_a_failing_counter_is_told_as_one() -> None:
    driver = Driver()
    gpu = NvmlGpu(DEVICE, driver, FakeClock())
    driver.failing = {PERSISTENCE: "UNKNOWN"}
    assert not gpu.read(details=True).counter_failed
    driver.failing = {ENERGY: "NOT_SUPPORTED"}
    assert not gpu.read(details=True).counter_failed
    driver.failing = {ENERGY: "UNKNOWN"}

    assert gpu.read(details=True).counter_failed
