"""Sets the power limit of one NVIDIA GPU."""

from collections.abc import Callable
from typing import Any

from joulestat.domain.errors import DeviceError, LimitPermissionDenied, LimitRefused

NOT_OFFERED = frozenset({"NOT_SUPPORTED", "FUNCTION_NOT_FOUND", "ARGUMENT_VERSION_MISMATCH"})
"""Errors that mean: this card or this driver does not offer the call."""

_SET = "nvmlDeviceSetPowerManagementLimit"

# The call takes 32 bits of mW. ctypes cuts a larger or a negative number down to them, and what
# is left may be a limit that the driver takes: 4 295 217.296 W arrives as 250 W.
_HIGHEST_WATTS = 0xFFFF_FFFF / 1e3


class NvmlLimiter:
    """Sets one GPU's power limit; see ``Limiter``. To write it needs root or CAP_SYS_ADMIN.

    A limit lasts until the driver is unloaded: keep persistence mode on.
    """

    def __init__(self, ask: Callable[..., Any]) -> None:
        """Take what asks NVML about this GPU: call and arguments in, answer or DeviceError out."""
        self._ask = ask

    def range_watts(self) -> tuple[float, float]:
        """Return the range in W, of ``nvmlDeviceGetPowerManagementLimitConstraints``."""
        lowest_mw, highest_mw = self._ask("nvmlDeviceGetPowerManagementLimitConstraints")
        return lowest_mw / 1e3, highest_mw / 1e3

    def read_watts(self) -> float:
        """Return the limit set in W, of ``nvmlDeviceGetPowerManagementLimit``."""
        return float(self._ask("nvmlDeviceGetPowerManagementLimit") / 1e3)

    def enforced_watts(self) -> float | None:
        """Return the limit in force in W, of ``nvmlDeviceGetEnforcedPowerLimit``."""
        try:
            return float(self._ask("nvmlDeviceGetEnforcedPowerLimit") / 1e3)
        except DeviceError as error:
            if error.error in NOT_OFFERED:
                return None
            raise

    def write_watts(self, limit_watts: float) -> None:
        """Set the limit, to the nearest mW, by ``nvmlDeviceSetPowerManagementLimit``."""
        if not 0 < limit_watts < _HIGHEST_WATTS:
            message = f"{limit_watts:g} W is no power limit: give watts above 0"
            raise LimitRefused(message, call=_SET, error="INVALID_ARGUMENT")
        try:
            self._ask(_SET, round(limit_watts * 1e3))
        except DeviceError as error:
            raise _explained(error, limit_watts) from error


def _explained(error: DeviceError, limit_watts: float) -> DeviceError:
    asked = f"{error} (asked for {limit_watts:g} W)"
    if error.error == "NO_PERMISSION":
        return LimitPermissionDenied(
            f"{asked}: setting a limit needs root or CAP_SYS_ADMIN", call=_SET, error=error.error
        )
    if error.error == "INVALID_ARGUMENT":
        return LimitRefused(
            f"{asked}: stay within the range that the GPU reports", call=_SET, error=error.error
        )
    if error.error in NOT_OFFERED:
        return LimitRefused(
            f"{asked}: this GPU's limit cannot be set from here", call=_SET, error=error.error
        )
    return error
