"""One NVIDIA GPU: which NVML calls make a reading, and what each of them means."""

from collections.abc import Callable
from typing import Any

from joulestat.devices.nvml_gate import STUCK
from joulestat.devices.nvml_limiter import NOT_OFFERED, NvmlLimiter
from joulestat.domain.clock import Clock
from joulestat.domain.device import (
    CallError,
    Details,
    Device,
    PowerLimits,
    Reading,
    ThrottleReason,
)
from joulestat.domain.errors import DeviceError
from joulestat.domain.units import UJ_PER_MILLIJOULE

# Constants of nvml.h.
_FI_DEV_POWER_INSTANT = 186
_TEMPERATURE_GPU = 0
_CLOCK_SM = 1
_THROTTLE_BITS = {
    0x04: ThrottleReason.POWER_CAP,
    0x08: ThrottleReason.HW_SLOWDOWN,
    0x20: ThrottleReason.SW_THERMAL,
    0x40: ThrottleReason.HW_THERMAL,
    0x80: ThrottleReason.POWER_BRAKE,
}
# NVML_VALUE_NOT_AVAILABLE is -1 as unsigned. Taken as a number, mW would be 4.3 MW.
_NO_UINT = 0xFFFF_FFFF
_NO_ULONGLONG = 0xFFFF_FFFF_FFFF_FFFF

_BREAKING = frozenset(
    {
        "GPU_IS_LOST",
        "RESET_REQUIRED",
        "GPU_NOT_FOUND",
        "NOT_FOUND",
        "UNINITIALIZED",
        "DRIVER_NOT_LOADED",
        "LIB_RM_VERSION_MISMATCH",
        STUCK,
    }
)
"""Errors that every other call would answer, too; STUCK after a wait of a second each."""

_CONSTRAINTS = "nvmlDeviceGetPowerManagementLimitConstraints"


class NvmlGpu:
    """Reads one GPU and remembers what it does not support, and its slow values.

    Attributes:
        device: Which GPU; its index may move.
        limiter: Sets its power limit; None where NVML has no range for it.
        gone: Why the last round got no answer at all, or broke off; empty where it got one,
            None before the first.
    """

    def __init__(self, device: Device, ask: Callable[..., Any], clock: Clock) -> None:
        """Find out whether the limit can be set: the one driver call made here.

        Args:
            device: Which GPU.
            ask: Asks NVML about it: call and arguments in, answer or DeviceError out.
            clock: Stamps the readings.
        """
        self.device = device
        self._ask_nvml = ask
        self._clock = clock
        self._unsupported: set[str] = set()
        self._errors: list[CallError] = []
        self._slow_errors: list[CallError] = []
        self.gone: str | None = None
        self._answered = False
        self._broken_off = ""
        self._details = Details()
        self._default_watts: float | None = None
        self._range_watts: tuple[float | None, float | None] = (None, None)
        self._ask((_CONSTRAINTS,))
        self._broken_off = ""
        # A range that merely failed to be read may come back: that GPU keeps its limiter.
        self.limiter = None if _CONSTRAINTS in self._unsupported else NvmlLimiter(ask)

    @property
    def persistence_mode(self) -> bool | None:
        """Whether the driver stays loaded without clients, as last read; None for unknown."""
        return self._details.persistence_mode

    def read(self, *, details: bool) -> Reading:
        """Read energy, power and the two limits that change; with ``details`` all the rest.

        Never raises for what the driver answers. One thread at a time.
        """
        self._errors = []
        self._answered, self._broken_off = False, ""
        if details:
            # Support comes and goes (MIG mode, persistence mode): the slow beat asks again.
            self._unsupported.clear()
        before_ns = self._clock.monotonic_ns()
        energy_mj = self._ask(("nvmlDeviceGetTotalEnergyConsumption",))
        counter_failed = bool(self._errors)
        # The middle of the call halves the error where the driver is slow to answer.
        at_ns = (before_ns + self._clock.monotonic_ns()) // 2
        power_mw = self._ask(
            ("nvmlDeviceGetFieldValues", _FI_DEV_POWER_INSTANT),
            ("nvmlDeviceGetPowerUsage",),  # a mean over 1 s on most GPUs since Ampere
        )
        set_mw = self._ask(("nvmlDeviceGetPowerManagementLimit",))
        enforced_mw = self._ask(("nvmlDeviceGetEnforcedPowerLimit",))
        errors, lost = list(self._errors), bool(self._broken_off)
        if details:
            self._read_fixed_limits()
            self._read_details()
            self._slow_errors = self._errors[len(errors) :]
        self.gone = self._why_gone()
        return Reading(
            at_ns=at_ns,
            energy_counter_uj=_microjoules(energy_mj),
            power_watts=_watts(power_mw),
            limits=PowerLimits(
                _watts(set_mw), _watts(enforced_mw), self._default_watts, *self._range_watts
            ),
            details=self._details,
            errors=tuple(errors if lost else errors + self._slow_errors),
            counter_failed=counter_failed,
        )

    def _read_fixed_limits(self) -> None:
        self._default_watts = _watts(self._ask(("nvmlDeviceGetPowerManagementDefaultLimit",)))
        lowest_mw, highest_mw = self._ask((_CONSTRAINTS,)) or (None, None)
        self._range_watts = (_watts(lowest_mw), _watts(highest_mw))

    def _read_details(self) -> None:
        reasons = self._ask(
            ("nvmlDeviceGetCurrentClocksEventReasons",),
            ("nvmlDeviceGetCurrentClocksThrottleReasons",),  # its name before driver 535
        )
        utilization = self._ask(("nvmlDeviceGetUtilizationRates",))
        temperature = self._ask(
            ("nvmlDeviceGetTemperatureV", _TEMPERATURE_GPU),
            ("nvmlDeviceGetTemperature", _TEMPERATURE_GPU),  # its name before driver 570
        )
        clock_mhz = self._ask(("nvmlDeviceGetClockInfo", _CLOCK_SM))
        memory = self._ask(("nvmlDeviceGetMemoryInfo",))
        persistence = self._ask(("nvmlDeviceGetPersistenceMode",))
        self._details = Details(
            throttle_reasons=None if reasons is None else _throttle_reasons(reasons),
            utilization_ratio=None if utilization is None else utilization.gpu / 100,
            temperature_celsius=None if temperature is None else float(temperature),
            sm_clock_hertz=None if clock_mhz is None else clock_mhz * 1e6,
            memory_used_bytes=None if memory is None else memory.used,
            memory_size_bytes=None if memory is None else memory.total,
            persistence_mode=None if persistence is None else bool(persistence),
        )

    def _ask(self, *calls: tuple[Any, ...]) -> Any:
        """Return what the first supported one of ``calls`` (name, arguments) answers.

        None where none is supported, and where one failed, which is then listed. After an
        error for the whole GPU the rest of the round goes unasked: it would fail alike, each
        call after its own timeout in the driver.
        """
        for call, *arguments in calls:
            if self._broken_off or call in self._unsupported:
                continue
            try:
                answer = self._ask_nvml(call, *arguments)
            except DeviceError as error:
                if error.error in NOT_OFFERED:
                    self._unsupported.add(call)
                    continue
                if error.error in _BREAKING:
                    self._broken_off = error.error
                self._errors.append(CallError(call, error.error))
                return None
            self._answered = True
            return answer
        return None

    def _why_gone(self) -> str:
        if self._broken_off or self._answered or not self._errors:
            return self._broken_off
        return self._errors[0].error


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None or milliwatts == _NO_UINT else milliwatts / 1e3


def _microjoules(millijoules: int | None) -> int | None:
    if millijoules is None or millijoules == _NO_ULONGLONG:
        return None
    return millijoules * UJ_PER_MILLIJOULE


def _throttle_reasons(mask: int) -> frozenset[ThrottleReason]:
    return frozenset(reason for bit, reason in _THROTTLE_BITS.items() if mask & bit)
