"""NVML as this process has it loaded; the only file that touches nvidia-ml-py (``pynvml``)."""

import ctypes
from typing import Any

import pynvml

from joulestat.devices.nvml_gate import Gate, TurnedAway
from joulestat.domain.clock import Clock
from joulestat.domain.errors import BackendUnavailable, DeviceError

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
    "kernel: reload it or reboot; a container keeps its library, so start it anew after that",
    "NO_PERMISSION": "this user may not open /dev/nvidiactl: run as one for whom nvidia-smi works",
    "FUNCTION_NOT_FOUND": "the NVIDIA driver is too old: install a current one",
}
ANY_CURE = "check that nvidia-smi works here, as this user"

CLOSED = "UNINITIALIZED"
_FIELD_VALUES = "nvmlDeviceGetFieldValues"
_PATIENCE_SECONDS = 1.0
"""How long closing waits for calls in flight."""


class NvmlLibrary:
    """NVML, opened, closed and opened anew. One per process: pynvml keeps it in its module.

    Attributes:
        handles: NVML's handles by GPU UUID, filled by whoever looks. They die with the library;
            a call finds its own as it starts, so that a UUID outlives a reopening.
        absent: Error by UUID, of GPUs without a handle whose place is known.
    """

    def __init__(self, clock: Clock) -> None:
        self.handles: dict[str, Any] = {}
        self.absent: dict[str, str] = {}
        self._gate = Gate(clock)
        self._closed_by = CLOSED

    def open(self) -> None:
        """Load libnvidia-ml.so.1 and start it.

        Raises:
            BackendUnavailable: No library, no driver or two versions of it; the message says
                what to do. Nothing stays loaded, so that a later try finds what is new.
        """
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            self._closed_by = _error_name(error)
            _unload()
            raise unavailable("nvmlInit", self._closed_by) from error
        self._closed_by = ""

    def call(self, name: str, *arguments: Any, who: str = "NVML") -> Any:
        """Call one of nvidia-ml-py's functions; text comes as str.

        Blocks as long as the driver does. Any thread.

        Args:
            name: Of the function.
            arguments: Its arguments. A handle among them must be of this opening.
            who: On whose behalf, for messages and ``busy``.

        Raises:
            DeviceError: What NVML answered; UNINITIALIZED while it is closed, or why it could
                not be opened; STUCK while an earlier call does not come back.
        """
        self._enter(who, name)
        try:
            return self._answer(name, arguments)
        except pynvml.NVMLError as error:
            raise _failure(who, name, self._closed_by or _error_name(error)) from error
        finally:
            self._gate.leave(who)

    def ask(self, device_uuid: str, name: str, *arguments: Any) -> Any:
        """Call a function about one GPU, found by its UUID; see ``call``.

        Raises:
            DeviceError: What NVML answered; NOT_FOUND for a GPU that it does not show.
        """
        self._enter(device_uuid, name)
        try:
            handle = self.handles.get(device_uuid)
            if handle is None:
                why = self._closed_by or self.absent.get(device_uuid, "NOT_FOUND")
                raise _failure(device_uuid, name, why)
            return self._answer(name, (handle, *arguments))
        except pynvml.NVMLError as error:
            raise _failure(device_uuid, name, self._closed_by or _error_name(error)) from error
        finally:
            self._gate.leave(device_uuid)

    def _enter(self, who: str, call: str) -> None:
        try:
            self._gate.enter(who)
        except TurnedAway as turned_away:
            raise _failure(who, call, turned_away.error) from turned_away

    def busy(self) -> frozenset[str]:
        """Return on whose behalf calls are in flight."""
        return self._gate.inside()

    def reopen(self) -> frozenset[str]:
        """Close NVML, let go of the library and open what is there now.

        Calls that arrive meanwhile wait for a second, then fail.

        Returns:
            Empty when it is open again; otherwise those whose calls hang, and nothing was done.

        Raises:
            BackendUnavailable: It could not be opened; now it is closed.
        """
        hanging = self._gate.hanging() or self._gate.shut(_PATIENCE_SECONDS)
        if hanging:
            return hanging
        try:
            self._shut_down()
            _unload()
            self.open()
        finally:
            self._gate.open()
        return frozenset()

    def close(self) -> frozenset[str]:
        """Shut NVML down and let go of the library.

        Returns:
            Those whose calls hang: then it is left as it is, to end with the process, because
            shutting down would hang as well.
        """
        hanging = self._gate.shut(_PATIENCE_SECONDS)
        if not hanging:
            self._shut_down()
            _unload()
            self._gate.open()
        self._closed_by = CLOSED
        return hanging

    def _answer(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if self._closed_by:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)
        if name == _FIELD_VALUES:
            return _field(*arguments)
        answer = getattr(pynvml, name, _missing)(*arguments)
        # nvidia-ml-py has returned both, by version and by call.
        return answer.decode(errors="replace") if isinstance(answer, bytes) else answer

    def _shut_down(self) -> None:
        self.handles = {}
        if self._closed_by:
            return
        self._closed_by = CLOSED
        try:
            pynvml.nvmlShutdown()
        except pynvml.NVMLError:
            # A driver that is gone cannot be shut down, and nothing is left to do about it.
            return


def unavailable(call: str, error: str) -> BackendUnavailable:
    """Return the error of an opening that failed, with its cure."""
    message = f"NVML cannot be used: {call} answered {error}; {_CURES.get(error, ANY_CURE)}"
    return BackendUnavailable(message, call=call, error=error)


def _failure(who: str, call: str, error: str) -> DeviceError:
    return DeviceError(f"{who}: {call} answered {error}", call=call, error=error)


def _missing(*_: Any) -> None:
    """Answer for a call that nvidia-ml-py is too old to know as a driver too old for it does."""
    raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)


def _field(handle: Any, field_id: int) -> int:
    """Return one field: each has its own return code beside the call's.

    One field a call on purpose. A batch of power, energy and both limits would take 6 us instead
    of 11 (measured over the stand-in), and cost three things: energy would be stamped with the
    time of all four, one failing call would take all four values with it, and what the limits'
    fields mean by card and driver is not as well known as what their functions do.
    """
    field = pynvml.nvmlDeviceGetFieldValues(handle, [field_id])[0]
    if field.nvmlReturn == pynvml.NVML_ERROR_INVALID_ARGUMENT:  # the driver predates the field
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    if field.nvmlReturn != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(field.nvmlReturn)
    return int(field.value.uiVal)


def _unload() -> None:
    """Let go of the loaded library: one that was replaced on disk is not loaded otherwise.

    pynvml never does it: it keeps the library, and pointers into it, as long as the process
    lives. A pynvml that keeps them elsewhere is left alone, for a pointer into a library that is
    gone is a crash.
    """
    library = pynvml.nvmlLib
    pointers = getattr(pynvml, "_nvmlGetFunctionPointer_cache", None)
    if library is None or pointers is None:
        return
    pointers.clear()
    pynvml.nvmlLib = None
    dlclose = ctypes.CDLL(None).dlclose
    dlclose.argtypes = [ctypes.c_void_p]
    dlclose(library._handle)  # noqa: SLF001 - documented by ctypes, underscore and all


def _error_name(error: pynvml.NVMLError) -> str:
    return _ERROR_NAMES.get(error.value, f"ERROR_{error.value}")
