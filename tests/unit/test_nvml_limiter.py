"""What setting an NVIDIA GPU's limit makes of NVML's answers."""

from typing import Any

import pytest

from joulestat.devices.nvml_limiter import NvmlLimiter
from joulestat.domain.errors import DeviceError, LimitPermissionDenied, LimitRefused

SET = "nvmlDeviceSetPowerManagementLimit"
ENFORCED = "nvmlDeviceGetEnforcedPowerLimit"


class Driver:
    """Takes any limit and keeps a list of them, or answers all calls with one error."""

    def __init__(self, error: str = "") -> None:
        self.set_mw: list[int] = []
        self._error = error

    def __call__(self, call: str, *arguments: Any) -> Any:
        if self._error:
            message = f"GPU 3: {call} answered {self._error}"
            raise DeviceError(message, call=call, error=self._error)
        if call == SET:
            self.set_mw.extend(arguments)
            return None
        return [100_000, 400_000] if call.endswith("Constraints") else 250_500


def test_milliwatts_become_watts() -> None:
    limiter = NvmlLimiter(Driver())

    assert (100.0, 400.0) == limiter.range_watts()
    assert 250.5 == limiter.read_watts()
    assert 250.5 == limiter.enforced_watts()


def test_watts_become_the_nearest_milliwatts() -> None:
    driver = Driver()
    NvmlLimiter(driver).write_watts(249.9996)

    assert [250_000] == driver.set_mw


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("NO_PERMISSION", LimitPermissionDenied),
        ("INVALID_ARGUMENT", LimitRefused),
        ("NOT_SUPPORTED", LimitRefused),
        ("FUNCTION_NOT_FOUND", LimitRefused),
        ("GPU_IS_LOST", DeviceError),
        ("UNKNOWN", DeviceError),
    ],
)
def test_each_answer_to_a_write_has_its_error(answer: str, error: type[DeviceError]) -> None:
    with pytest.raises(DeviceError) as failure:
        NvmlLimiter(Driver(answer)).write_watts(250.0)

    assert error is type(failure.value)
    assert (SET, answer) == (failure.value.call, failure.value.error)


@pytest.mark.parametrize(
    ("answer", "cure"),
    [
        ("NO_PERMISSION", "root or CAP_SYS_ADMIN"),
        ("INVALID_ARGUMENT", "within the range"),
        ("NOT_SUPPORTED", "cannot be set"),
    ],
)
def test_a_refusal_names_gpu_value_and_cure(answer: str, cure: str) -> None:
    with pytest.raises(DeviceError) as failure:
        NvmlLimiter(Driver(answer)).write_watts(250.0)

    for part in ("GPU 3", "250 W", answer, cure):
        assert part in str(failure.value)


@pytest.mark.parametrize("limit_watts", [2**32 / 1e3, 1e300, 0.0, -250.0])
def test_a_number_that_nvml_cannot_take_never_reaches_it(limit_watts: float) -> None:
    driver = Driver()
    with pytest.raises(LimitRefused, match="W is no power limit"):
        NvmlLimiter(driver).write_watts(limit_watts)

    assert [] == driver.set_mw


@pytest.mark.parametrize("answer", ["NOT_SUPPORTED", "FUNCTION_NOT_FOUND"])
def test_an_enforced_limit_that_is_not_told_apart_is_none(answer: str) -> None:
    assert NvmlLimiter(Driver(answer)).enforced_watts() is None


def test_an_enforced_limit_that_failed_to_be_read_is_an_error() -> None:
    with pytest.raises(DeviceError, match="GPU_IS_LOST"):
        NvmlLimiter(Driver("GPU_IS_LOST")).enforced_watts()
