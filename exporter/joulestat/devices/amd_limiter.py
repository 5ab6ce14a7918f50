"""Sets the power cap of one AMD GPU."""

import math

from joulestat.devices.amd_gpu import AmdGpu
from joulestat.devices.amd_source import NOT_OFFERED, CapWriter
from joulestat.domain.errors import DeviceError, LimitPermissionDenied, LimitRefused

_DENIED = frozenset({"NO_PERM", "EACCES", "EPERM", "EROFS"})
_REFUSED = NOT_OFFERED | {"INVAL", "INPUT_OUT_OF_BOUNDS", "SETTING_UNAVAILABLE", "EINVAL"}


class AmdLimiter:
    """Sets one GPU's power cap; see ``Limiter``. To write it needs root, and no virtual machine.

    A cap lasts until the driver is unloaded or the card is reset.
    """

    def __init__(self, gpu: AmdGpu) -> None:
        self._gpu = gpu

    def range_watts(self) -> tuple[float, float]:
        """Return the range in W; the lowest is 0 on cards without a floor (Instinct)."""
        found = self._gpu.caps().range_watts
        if found is None:
            raise self._untold("range")
        return found

    def read_watts(self) -> float:
        """Return the cap in W, as the driver holds it."""
        set_watts = self._gpu.caps().set_watts
        if set_watts is None:
            raise self._untold("cap")
        return set_watts

    def enforced_watts(self) -> float | None:
        """Return None: AMD's libraries do not tell a cap set out of band apart."""
        return None

    def write_watts(self, limit_watts: float) -> None:
        """Set the cap, to the nearest whole watt: amdgpu cuts off what is less.

        The range is checked here as well: older drivers take what lies below it.
        """
        writers = self._gpu.writers
        if not writers:
            raise self._untold("way to set a cap")
        if not math.isfinite(limit_watts):
            raise _refused(writers[0], f"{limit_watts} W is no power limit")
        low_watts, high_watts = self.range_watts()
        if not max(low_watts, 1.0) <= limit_watts <= high_watts:
            raise _refused(
                writers[0],
                f"GPU {self._gpu.device.index} takes {low_watts:g} to {high_watts:g} W, "
                f"not {limit_watts:g} W",
            )
        self._write(round(limit_watts) * 1_000_000)

    def _write(self, cap_uw: int) -> None:
        unoffered: DeviceError | None = None
        for writer in self._gpu.writers:
            try:
                return writer.write(cap_uw)
            except DeviceError as error:
                if error.error not in NOT_OFFERED:
                    raise _explained(error, cap_uw) from error
                unoffered = error
        if unoffered is not None:
            raise _explained(unoffered, cap_uw) from unoffered
        return None

    def _untold(self, what: str) -> DeviceError:
        message = f"GPU {self._gpu.device.index} tells no power {what}"
        return DeviceError(message, call="amdsmi_get_power_cap_info", error="NOT_SUPPORTED")


def _refused(writer: CapWriter, message: str) -> LimitRefused:
    return LimitRefused(message, call=writer.call, error=writer.invalid)


def _explained(error: DeviceError, cap_uw: int) -> DeviceError:
    asked = f"{error} (asked for {cap_uw / 1e6:g} W)"
    if error.error in _DENIED:
        return LimitPermissionDenied(
            f"{asked}: setting a cap needs root, a writable /sys and no virtual machine",
            call=error.call,
            error=error.error,
        )
    if error.error in _REFUSED:
        return LimitRefused(
            f"{asked}: this GPU's driver does not take that cap", call=error.call, error=error.error
        )
    return error
