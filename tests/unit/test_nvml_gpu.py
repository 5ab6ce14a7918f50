"""What a reading asks NVML for, and what it makes of the answers."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from fakes.clock import FakeClock
from joulestat.devices.nvml_gpu import NvmlGpu
from joulestat.domain.device import CallError, Details, Device, ThrottleReason
from joulestat.domain.errors import DeviceError

DEVICE = Device("GPU-1", 0, "NVIDIA", "a card", "00000000:01:00.0", "590")
ENERGY = "nvmlDeviceGetTotalEnergyConsumption"
POWER_FIELD = "nvmlDeviceGetFieldValues"
POWER = "nvmlDeviceGetPowerUsage"
SET_LIMIT = "nvmlDeviceGetPowerManagementLimit"
ENFORCED_LIMIT = "nvmlDeviceGetEnforcedPowerLimit"
CONSTRAINTS = "nvmlDeviceGetPowerManagementLimitConstraints"
FAST_CALLS = [ENERGY, POWER_FIELD, SET_LIMIT, ENFORCED_LIMIT]

ANSWERS: dict[str, Any] = {
    ENERGY: 81_234_567,
    POWER_FIELD: 251_250,
    POWER: 248_000,
    SET_LIMIT: 300_000,
    ENFORCED_LIMIT: 280_000,
    "nvmlDeviceGetPowerManagementDefaultLimit": 350_000,
    CONSTRAINTS: [100_000, 400_000],
    "nvmlDeviceGetCurrentClocksEventReasons": 0x4 | 0x80 | 0x1,
    "nvmlDeviceGetCurrentClocksThrottleReasons": 0x8,
    "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=87, memory=40),
    "nvmlDeviceGetTemperatureV": 61,
    "nvmlDeviceGetTemperature": 62,
    "nvmlDeviceGetClockInfo": 1_410,
    "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=6 * 2**30, total=40 * 2**30),
    "nvmlDeviceGetPersistenceMode": 1,
}


class Driver:
    """Answers as NVML would, and keeps a list of what was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {**ANSWERS, **answers}
        self.asked: list[str] = []
        self.before_answer: Callable[[str], None] = lambda _: None

    def __call__(self, call: str, *_: Any) -> Any:
        self.asked.append(call)
        self.before_answer(call)
        answer = self.answers[call]
        if isinstance(answer, str):
            raise DeviceError(f"{call} answered {answer}", call=call, error=answer)
        return answer


def gpu_with(driver: Driver, clock: FakeClock | None = None) -> NvmlGpu:
    gpu = NvmlGpu(DEVICE, driver, clock or FakeClock())
    driver.asked.clear()
    return gpu


def test_a_reading_is_in_the_units_of_the_house() -> None:
    reading = gpu_with(Driver()).read(details=True)

    assert 81_234_567_000 == reading.energy_counter_uj
    assert 251.25 == reading.power_watts
    assert 300.0 == reading.limits.set_watts
    assert 280.0 == reading.limits.enforced_watts
    assert 350.0 == reading.limits.default_watts
    assert (100.0, 400.0) == (reading.limits.min_watts, reading.limits.max_watts)
    assert () == reading.errors


def test_details_are_in_the_units_of_the_house() -> None:
    details = gpu_with(Driver()).read(details=True).details

    assert (
        Details(
            throttle_reasons=frozenset({ThrottleReason.POWER_CAP, ThrottleReason.POWER_BRAKE}),
            utilization_ratio=0.87,
            temperature_celsius=61.0,
            sm_clock_hertz=1.41e9,
            memory_used_bytes=6 * 2**30,
            memory_size_bytes=40 * 2**30,
            persistence_mode=True,
        )
        == details
    )


@pytest.mark.parametrize(
    ("mask", "reasons"),
    [
        (0x0, set()),
        (0x1 | 0x2 | 0x10 | 0x100, set()),  # idle, clocks set by the user, sync, display
        (0x8, {ThrottleReason.HW_SLOWDOWN}),
        (0x20 | 0x40, {ThrottleReason.SW_THERMAL, ThrottleReason.HW_THERMAL}),
    ],
)
def test_only_what_holds_clocks_back_is_a_throttle_reason(
    mask: int, reasons: set[ThrottleReason]
) -> None:
    driver = Driver(nvmlDeviceGetCurrentClocksEventReasons=mask)

    assert reasons == gpu_with(driver).read(details=True).details.throttle_reasons


def test_the_fast_beat_asks_four_calls() -> None:
    driver = Driver()
    gpu_with(driver).read(details=False)

    assert FAST_CALLS == driver.asked


def test_the_fast_beat_before_any_slow_one_knows_no_slow_values() -> None:
    reading = gpu_with(Driver()).read(details=False)

    assert Details() == reading.details
    assert reading.limits.max_watts is None


def test_the_fast_beat_repeats_the_slow_values() -> None:
    gpu = gpu_with(Driver())
    slow = gpu.read(details=True)
    fast = gpu.read(details=False)

    assert (slow.details, slow.limits) == (fast.details, fast.limits)


@pytest.mark.parametrize("answer", ["NOT_SUPPORTED", "FUNCTION_NOT_FOUND"])
@pytest.mark.parametrize("call", [ENERGY, SET_LIMIT, ENFORCED_LIMIT])
def test_what_is_not_supported_is_none_and_no_error(call: str, answer: str) -> None:
    reading = gpu_with(Driver(**{call: answer})).read(details=True)

    values = {
        ENERGY: reading.energy_counter_uj,
        SET_LIMIT: reading.limits.set_watts,
        ENFORCED_LIMIT: reading.limits.enforced_watts,
    }
    assert [call] == [name for name, value in values.items() if value is None]
    assert () == reading.errors


def test_what_is_not_supported_is_not_asked_again_on_the_fast_beat() -> None:
    driver = Driver(**{ENERGY: "NOT_SUPPORTED"})
    gpu = gpu_with(driver)
    gpu.read(details=False)
    gpu.read(details=False)

    assert 1 == driver.asked.count(ENERGY)


def test_the_slow_beat_finds_out_that_a_call_is_supported_now() -> None:
    driver = Driver(**{ENERGY: "NOT_SUPPORTED"})
    gpu = gpu_with(driver)
    gpu.read(details=True)
    driver.answers[ENERGY] = 5

    assert gpu.read(details=False).energy_counter_uj is None
    assert 5_000 == gpu.read(details=True).energy_counter_uj


def test_averaged_power_stands_in_for_instant_power() -> None:
    driver = Driver(**{POWER_FIELD: "NOT_SUPPORTED"})
    gpu = gpu_with(driver)

    assert 248.0 == gpu.read(details=False).power_watts
    assert 248.0 == gpu.read(details=False).power_watts
    assert 1 == driver.asked.count(POWER_FIELD)


def test_a_failing_instant_power_is_an_error_and_not_replaced() -> None:
    driver = Driver(**{POWER_FIELD: "UNKNOWN"})
    reading = gpu_with(driver).read(details=False)

    assert reading.power_watts is None
    assert (CallError(POWER_FIELD, "UNKNOWN"),) == reading.errors
    assert POWER not in driver.asked


def test_calls_that_newer_drivers_renamed_are_asked_by_their_old_name() -> None:
    driver = Driver(
        nvmlDeviceGetCurrentClocksEventReasons="FUNCTION_NOT_FOUND",
        nvmlDeviceGetTemperatureV="FUNCTION_NOT_FOUND",
    )
    details = gpu_with(driver).read(details=True).details

    assert {ThrottleReason.HW_SLOWDOWN} == details.throttle_reasons
    assert 62.0 == details.temperature_celsius


def test_a_failed_call_is_listed_and_the_others_are_read() -> None:
    reading = gpu_with(Driver(**{SET_LIMIT: "UNKNOWN", ENERGY: "TIMEOUT"})).read(details=False)

    assert (CallError(ENERGY, "TIMEOUT"), CallError(SET_LIMIT, "UNKNOWN")) == reading.errors
    assert reading.energy_counter_uj is None
    assert 251.25 == reading.power_watts
    assert 280.0 == reading.limits.enforced_watts


def test_a_failed_detail_is_none_instead_of_old() -> None:
    driver = Driver()
    gpu = gpu_with(driver)
    gpu.read(details=True)
    driver.answers["nvmlDeviceGetUtilizationRates"] = "UNKNOWN"
    reading = gpu.read(details=True)

    assert reading.details.utilization_ratio is None
    assert 61.0 == reading.details.temperature_celsius
    assert (CallError("nvmlDeviceGetUtilizationRates", "UNKNOWN"),) == reading.errors


@pytest.mark.parametrize(
    "error", ["GPU_IS_LOST", "UNINITIALIZED", "LIB_RM_VERSION_MISMATCH", "STUCK"]
)
def test_a_gpu_that_is_gone_is_asked_once_a_round(error: str) -> None:
    driver = Driver(**dict.fromkeys(ANSWERS, error))
    gpu = gpu_with(driver)
    reading = gpu.read(details=True)

    assert [ENERGY] == driver.asked
    assert (CallError(ENERGY, error),) == reading.errors
    assert reading.power_watts is None
    assert error == gpu.gone


def test_a_gpu_is_gone_when_no_call_is_answered() -> None:
    gpu = gpu_with(Driver(**dict.fromkeys(ANSWERS, "UNKNOWN")))
    assert gpu.gone is None
    gpu.read(details=False)

    assert "UNKNOWN" == gpu.gone


def test_a_gpu_is_there_while_any_call_is_answered() -> None:
    driver = Driver(**dict.fromkeys(ANSWERS, "UNKNOWN"))
    driver.answers[SET_LIMIT] = 300_000
    gpu = gpu_with(driver)
    gpu.read(details=False)

    assert "" == gpu.gone


@pytest.mark.parametrize(
    ("answer", "mode"), [(1, True), (0, False), ("NOT_SUPPORTED", None), ("UNKNOWN", None)]
)
def test_persistence_mode_is_on_off_or_unknown(answer: int | str, mode: bool | None) -> None:
    gpu = gpu_with(Driver(nvmlDeviceGetPersistenceMode=answer))

    assert mode is gpu.read(details=True).details.persistence_mode is gpu.persistence_mode


def test_all_bits_set_means_not_available() -> None:
    driver = Driver(
        **{ENERGY: 2**64 - 1, POWER_FIELD: 2**32 - 1, CONSTRAINTS: [100_000, 2**32 - 1]}
    )
    reading = gpu_with(driver).read(details=True)

    assert reading.energy_counter_uj is None
    assert reading.power_watts is None
    assert (100.0, None) == (reading.limits.min_watts, reading.limits.max_watts)
    assert () == reading.errors


def test_a_counter_at_zero_is_a_number() -> None:
    assert 0 == gpu_with(Driver(**{ENERGY: 0})).read(details=False).energy_counter_uj


def test_the_stamp_is_in_the_middle_of_a_slow_energy_call() -> None:
    clock = FakeClock()
    driver = Driver()
    gpu = gpu_with(driver, clock)
    driver.before_answer = lambda _: clock.advance(0.5)
    start_ns = clock.monotonic_ns()

    assert start_ns + 250_000_000 == gpu.read(details=False).at_ns


@pytest.mark.parametrize("answer", ["NOT_SUPPORTED", "FUNCTION_NOT_FOUND"])
def test_a_gpu_without_a_range_of_limits_has_no_limiter(answer: str) -> None:
    assert gpu_with(Driver(**{CONSTRAINTS: answer})).limiter is None


def test_a_gpu_whose_range_failed_once_keeps_its_limiter() -> None:
    driver = Driver(**{CONSTRAINTS: "GPU_IS_LOST"})
    gpu = gpu_with(driver)
    driver.answers[CONSTRAINTS] = [100_000, 400_000]

    assert gpu.limiter is not None
    assert (100.0, 400.0) == gpu.limiter.range_watts()
