"""AMD GPUs through amdsmi, ROCm's own library: the only source with an energy counter.

Source: https://rocm.docs.amd.com/projects/amdsmi/en/latest/reference/amdsmi-py-api.html, and the
package itself, ROCm 5.7 to 7.2.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from joulestat.devices.amd_source import (
    GONE,
    NO_UINT64,
    Caps,
    CapWriter,
    Card,
    Gate,
    Offer,
    Quantity,
    Register,
    caps,
    number,
    watts,
)
from joulestat.domain.device import ThrottleReason
from joulestat.domain.errors import DeviceError

_log = logging.getLogger(__name__)

_NO_SERIAL = "-0000-1000-8000-000000000000"
"""How the UUID ends of a card that has no serial number: all such cards of a model share it."""

_PASSING = GONE | {
    *("BUSY", "RETRY", "TIMEOUT", "INTERRUPT", "IO", "API_FAILED", "UNKNOWN_ERROR"),
}
"""Errors that may be over the next time."""

_ACTIVE = {
    "active_ppt_pwr": ThrottleReason.POWER_CAP,
    "active_prochot_thrm": ThrottleReason.HW_SLOWDOWN,
    "active_socket_thrm": ThrottleReason.HW_THERMAL,
    "active_vr_thrm": ThrottleReason.HW_THERMAL,
    "active_hbm_thrm": ThrottleReason.HW_THERMAL,
}


class AmdSmi:
    """The library, opened and asked by one thread at a time."""

    name = "amdsmi"

    def __init__(self, library: Any, gate: Gate) -> None:
        """Take the package ``amdsmi`` and the gate that it shares with pyrsmi."""
        self._library = library
        self._gate = gate
        self._open = False
        self.left_out: Mapping[int, str] = {}

    def open(self) -> str:
        """Initialise for GPUs alone; the processors found are those of this moment."""
        self.close()
        self._ask("amdsmi_init")
        self._open = True
        return _version(self._asked("amdsmi_get_lib_version"))

    def cards(self) -> Sequence[Card]:
        """Return a card per physical GPU, indices as ``amd-smi list`` shows them."""
        cards = []
        left_out: dict[int, str] = {}
        for index, handle in enumerate(self._ask("amdsmi_get_processor_handles")):
            try:
                if not self._partition(handle):
                    cards.append(self._card(index, handle))
            except DeviceError as error:
                left_out[index] = f"{error.call} {error.error}"
        for index, why in left_out.items():
            if self.left_out.get(index) != why:
                _log.warning("event=gpu_left_out backend=amd gpu=%d error=%r", index, why)
        self.left_out = left_out
        return cards

    def close(self) -> None:
        """Shut it down. A driver that is gone cannot be, and nothing is left to do about it."""
        if not self._open:
            return
        self._open = False
        try:
            self._ask("amdsmi_shut_down")
        except DeviceError as error:
            _log.warning("event=amd_shutdown_failed library=amdsmi error=%s", error.error)

    def _card(self, index: int, handle: Any) -> Card:
        offers = {
            Quantity.ENERGY: self._energy,
            Quantity.POWER: self._power,
            Quantity.CAPS: self._caps,
            Quantity.THROTTLE: self._throttle,
            Quantity.UTILIZATION: self._utilization,
            Quantity.TEMPERATURE: self._temperature,
            Quantity.CLOCK: self._clock,
            Quantity.MEMORY: self._memory,
        }
        return Card(
            bdf=str(self._ask("amdsmi_get_gpu_device_bdf", handle)).lower(),
            index=index,
            uuid=self._uuid(handle),
            model=_named(self._asked("amdsmi_get_gpu_asic_info", handle), "market_name")
            or _named(self._asked("amdsmi_get_gpu_board_info", handle), "product_name"),
            driver_version=_named(
                self._asked("amdsmi_get_gpu_driver_info", handle), "driver_version"
            ),
            offers={
                quantity: Offer(self.name, partial(ask, handle)) for quantity, ask in offers.items()
            },
            writer=CapWriter(partial(self._write, handle), "amdsmi_set_power_cap", "INVAL"),
        )

    def _partition(self, handle: Any) -> int:
        """Return which partition of its card this is: only number 0 has energy and limits."""
        answer = self._lasting("amdsmi_get_gpu_kfd_info", handle) or {}
        return int(number(answer.get("current_partition_id")) or 0)

    def _uuid(self, handle: Any) -> str | None:
        uuid = self._lasting("amdsmi_get_gpu_device_uuid", handle)
        if not isinstance(uuid, str) or uuid in {"", "N/A"} or uuid.endswith(_NO_SERIAL):
            return None
        return uuid

    def _energy(self, handle: Any) -> Register | None:
        answer = self._ask("amdsmi_get_energy_count", handle)
        # The key was "power" before ROCm 6.2.1. An odd die of an MI250 stands at 0 for ever.
        ticks = number(answer.get("energy_accumulator", answer.get("power")))
        resolution_uj = number(answer.get("counter_resolution"))
        if not ticks or ticks == NO_UINT64 or not resolution_uj:
            return None
        return Register(int(ticks), resolution_uj)

    def _power(self, handle: Any) -> float | None:
        answer = self._ask("amdsmi_get_power_info", handle)
        # MI300 and newer have the current power alone, MI200, Navi and older the average alone.
        for key in ("current_socket_power", "average_socket_power", "socket_power"):
            power_watts = watts(answer.get(key))
            if power_watts is not None:
                return power_watts
        return None

    def _caps(self, handle: Any) -> Caps:
        answer = self._ask("amdsmi_get_power_cap_info", handle)
        return caps(
            answer.get("power_cap"),
            answer.get("default_power_cap", answer.get("power_cap_default")),  # before ROCm 6.0
            answer.get("min_power_cap"),
            answer.get("max_power_cap"),
        )

    def _throttle(self, handle: Any) -> frozenset[ThrottleReason] | None:
        """Return what holds the clocks back; the library looks twice, 100 ms apart."""
        answer = self._ask("amdsmi_get_violation_status", handle)
        flags = {key: answer.get(key) for key in _ACTIVE}
        if all(flag in {None, "N/A"} for flag in flags.values()):
            return None
        return frozenset(_ACTIVE[key] for key, flag in flags.items() if flag == 1)

    def _utilization(self, handle: Any) -> float | None:
        percent = number(self._ask("amdsmi_get_gpu_activity", handle).get("gfx_activity"))
        return None if percent is None or percent > 100 else percent / 100

    def _temperature(self, handle: Any) -> float | None:
        sensors, metric = self._library.AmdSmiTemperatureType, self._library.AmdSmiTemperatureMetric
        # The junction is what the firmware throttles on, and MI300 has nothing else.
        answer = self._ask("amdsmi_get_temp_metric", handle, sensors.HOTSPOT, metric.CURRENT)
        celsius = number(answer)
        return None if celsius is None or celsius > 200 else float(celsius)

    def _clock(self, handle: Any) -> float | None:
        answer = self._ask("amdsmi_get_clock_info", handle, self._library.AmdSmiClkType.GFX)
        megahertz = number(answer.get("clk", answer.get("cur_clk")))  # its key before ROCm 6.1
        return None if not megahertz or megahertz > 10_000 else megahertz * 1e6

    def _memory(self, handle: Any) -> tuple[int, int] | None:
        answer = self._ask("amdsmi_get_gpu_vram_usage", handle)
        used, total = number(answer.get("vram_used")), number(answer.get("vram_total"))
        # In what the library calls MB: 2^20 bytes.
        return None if used is None or not total else (int(used) << 20, int(total) << 20)

    def _write(self, handle: Any, cap_uw: int) -> None:
        self._ask("amdsmi_set_power_cap", handle, 0, cap_uw)

    def _lasting(self, call: str, *arguments: Any) -> Any:
        """Return an answer that makes up who a GPU is; None where it has none.

        Raises:
            DeviceError: It has none just now: the GPU must not get another name for that.
        """
        try:
            return self._ask(call, *arguments)
        except DeviceError as error:
            if error.error in _PASSING:
                raise
            return None

    def _asked(self, call: str, *arguments: Any) -> Any:
        """Return the answer, None where there is none that is needed to go on."""
        try:
            return self._ask(call, *arguments)
        except DeviceError:
            return None

    def _ask(self, call: str, *arguments: Any) -> Any:
        function = getattr(self._library, call, None)
        if function is None:
            message = f"this amdsmi has no {call}"
            raise DeviceError(message, call=call, error="FUNCTION_NOT_FOUND")
        with self._gate.entered(call):
            try:
                return function(*arguments)
            except Exception as error:  # foreign code of any version answers here
                name = error_name(error)
                raise DeviceError(f"{call} answered {name}", call=call, error=name) from error


def error_name(error: Exception) -> str:
    """Return the vendor's name of an error: ``NO_PERM`` of ``AMDSMI_STATUS_NO_PERM - ...``."""
    code, info = getattr(error, "err_code", None), getattr(error, "err_info", None)
    if not isinstance(info, str):
        return type(error).__name__
    name = info.partition(" - ")[0].removeprefix("AMDSMI_STATUS_").removeprefix("AMD_SMI_")
    if name == "UNKNOWN_ERROR" and isinstance(code, int) and code != 0xFFFF_FFFF:
        return f"ERROR_{code}"
    return name


def _named(answer: Mapping[str, Any] | None, key: str) -> str | None:
    text = (answer or {}).get(key)
    return text.strip() if isinstance(text, str) and text.strip() not in {"", "N/A"} else None


def _version(answer: Mapping[str, Any] | None) -> str:
    parts = [(answer or {}).get(key) for key in ("major", "minor", "release")]
    return ".".join(str(part) for part in parts if part is not None)
