"""NVIDIA GPUs through NVML; the only file that touches nvidia-ml-py (imported as ``pynvml``).

Physical GPUs only: energy and power limits belong to the board, and a MIG instance repeats the
board's, so counting instances would count the same joules several times.
"""

import logging
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import pynvml

from joulestat.devices.backend import Limiter
from joulestat.devices.nvml_gpu import NvmlGpu
from joulestat.domain.clock import Clock
from joulestat.domain.device import Device, Reading
from joulestat.domain.errors import BackendUnavailable, DeviceError

_log = logging.getLogger(__name__)

_ERROR_NAMES: dict[int, str] = {
    code: name.removeprefix("NVML_ERROR_")
    for name, code in vars(pynvml).items()
    if name.startswith("NVML_ERROR_")
}

_CURES = {
    "LIBRARY_NOT_FOUND": "libnvidia-ml.so.1 was not found: install the NVIDIA driver, or start "
    "the container with the NVIDIA runtime (docker run --gpus all)",
    "DRIVER_NOT_LOADED": "the kernel driver is not loaded: load it (modprobe nvidia) and check "
    "that nvidia-smi works",
    "LIB_RM_VERSION_MISMATCH": "the driver was updated while the old one still runs in the "
    "kernel: reload it or reboot, then restart this process and its container",
    "NO_PERMISSION": "this user may not open /dev/nvidiactl: run as one for whom nvidia-smi works",
    "FUNCTION_NOT_FOUND": "the NVIDIA driver is too old: install a current one",
}
_ANY_CURE = "check that nvidia-smi works here, as this user"


class NvmlBackend:
    """Reads NVIDIA GPUs. Make one with ``open_nvml``."""

    name = "nvml"
    serial = False

    def __init__(self, gpus: Sequence[NvmlGpu]) -> None:
        self._gpus = {gpu.device.uuid: gpu for gpu in gpus}
        self._closing = threading.Lock()
        self._open = True

    def devices(self) -> Sequence[Device]:
        """Return the GPUs that answered at opening, in order of NVML index (PCI order)."""
        return tuple(gpu.device for gpu in self._gpus.values())

    def refresh(self) -> bool:
        """Return False: the GPUs are those of the opening."""
        return False

    def read(self, device_uuid: str, *, details: bool) -> Reading:
        """Read one GPU; see ``Backend.read``. One thread per device.

        Raises:
            DeviceError: No such GPU.
        """
        return self._gpu(device_uuid).read(details=details)

    def limiter(self, device_uuid: str) -> Limiter | None:
        """Return what sets this GPU's limit; None where NVML has no range for it.

        Found out at opening: this calls no driver.
        """
        return self._gpu(device_uuid).limiter

    def close(self) -> None:
        """Shut NVML down. Idempotent; a read after it lists its calls as UNINITIALIZED."""
        with self._closing:
            if not self._open:
                return
            self._open = False
        _shut_down()

    def _gpu(self, device_uuid: str) -> NvmlGpu:
        gpu = self._gpus.get(device_uuid)
        if gpu is None:
            message = f"NVML showed no GPU {device_uuid!r} when it was opened"
            raise DeviceError(message, call="nvmlDeviceGetUUID", error="NOT_FOUND")
        return gpu


def open_nvml(clock: Clock) -> NvmlBackend:
    """Load libnvidia-ml.so.1 and find the GPUs.

    A GPU that does not answer is left out with a warning: without its UUID nothing can be
    said about it.

    Raises:
        BackendUnavailable: No library, no driver, two versions of it, or GPUs of which none
            answers; the message says what to do.
    """
    _open_call("nvmlInit")
    try:
        count = _open_call("nvmlDeviceGetCount")
        driver_version = _text(_open_call("nvmlSystemGetDriverVersion"))
        return NvmlBackend(_find_gpus(count, driver_version, clock))
    except BackendUnavailable:
        _shut_down()
        raise


def _open_call(call: str) -> Any:
    try:
        return getattr(pynvml, call)()
    except pynvml.NVMLError as error:
        name = _error_name(error)
        message = f"NVML cannot be used: {call} answered {name}; {_CURES.get(name, _ANY_CURE)}"
        raise BackendUnavailable(message, call=call, error=name) from error


def _shut_down() -> None:
    try:
        pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        # A driver that is gone cannot be shut down, and nothing is left to do about it.
        _log.warning("event=nvml_shutdown_failed error=%s", _error_name(error))


def _find_gpus(count: int, driver_version: str, clock: Clock) -> list[NvmlGpu]:
    gpus: list[NvmlGpu] = []
    unanswered = ""
    for index in range(count):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            device = Device(
                uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
                index=index,
                vendor="NVIDIA",
                model=_text(pynvml.nvmlDeviceGetName(handle)),
                pci_bus_id=_text(pynvml.nvmlDeviceGetPciInfo(handle).busId),
                driver_version=driver_version,
            )
        except pynvml.NVMLError as error:
            unanswered = _error_name(error)
            _log.warning("event=gpu_left_out backend=nvml gpu=%d error=%s", index, unanswered)
            continue
        gpus.append(NvmlGpu(device, partial(_ask, index, handle), clock))
    if unanswered and not gpus:
        message = f"NVML counts {count} GPU(s), none answers (last: {unanswered}); {_ANY_CURE}"
        raise BackendUnavailable(message, call="nvmlDeviceGetHandleByIndex", error=unanswered)
    return gpus


def _ask(index: int, handle: Any, call: str, *arguments: Any) -> Any:
    try:
        if call == "nvmlDeviceGetFieldValues":
            return _field(handle, *arguments)
        return getattr(pynvml, call, _missing)(handle, *arguments)
    except pynvml.NVMLError as error:
        name = _error_name(error)
        message = f"GPU {index}: {call} answered {name}"
        raise DeviceError(message, call=call, error=name) from error


def _missing(*_: Any) -> None:
    """Answer for a call that nvidia-ml-py is too old to know as a driver too old for it does."""
    raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)


def _field(handle: Any, field_id: int) -> int:
    """Return one field: each has its own return code beside the call's."""
    field = pynvml.nvmlDeviceGetFieldValues(handle, [field_id])[0]
    if field.nvmlReturn == pynvml.NVML_ERROR_INVALID_ARGUMENT:  # the driver predates the field
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    if field.nvmlReturn != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(field.nvmlReturn)
    return int(field.value.uiVal)


def _error_name(error: pynvml.NVMLError) -> str:
    return _ERROR_NAMES.get(error.value, f"ERROR_{error.value}")


def _text(answer: str | bytes) -> str:
    """Return text as str: nvidia-ml-py has returned both, by version and by call."""
    return answer.decode(errors="replace") if isinstance(answer, bytes) else answer
