"""NVIDIA GPUs through NVML: which there are, and getting them back after a driver let go of them.

Physical GPUs only: energy and power limits belong to the board, and a MIG instance repeats the
board's, so counting instances would count the same joules several times.
"""

import threading
from collections.abc import Sequence
from functools import partial

from joulestat.devices.backend import Limiter
from joulestat.devices.nvml import ANY_CURE, NvmlLibrary, unavailable
from joulestat.devices.nvml_gpu import NvmlGpu
from joulestat.devices.nvml_look import Look, look_at_gpus
from joulestat.devices.nvml_news import News
from joulestat.domain.clock import Clock
from joulestat.domain.device import Device, Reading
from joulestat.domain.errors import BackendUnavailable, DeviceError
from joulestat.domain.units import NS_PER_SECOND

_MISMATCH = "LIB_RM_VERSION_MISMATCH"

_FIRST_RETRY_NS = 10 * NS_PER_SECOND
_LAST_RETRY_NS = 300 * NS_PER_SECOND
"""Reopening stops every reader for as long as the driver takes: rarely, where it does not help."""

_TURN_SECONDS = 1.0


class NvmlBackend:
    """Reads NVIDIA GPUs. Make one with ``open_nvml``."""

    name = "nvml"
    serial = False

    def __init__(self, library: NvmlLibrary, clock: Clock) -> None:
        """Take an open library; nothing is known until the first look."""
        self._library = library
        self._clock = clock
        self._gpus: dict[str, NvmlGpu] = {}
        self._devices: tuple[Device, ...] = ()
        self._known: dict[int, str] = {}
        self._mig_parents: dict[str, str] = {}
        self._news = News()
        self._retry_ns = _FIRST_RETRY_NS
        self._reopen_after_ns = 0
        self._turn = threading.Lock()
        self._is_open = True

    def devices(self) -> Sequence[Device]:
        """Return all GPUs that were ever seen, in order of NVML index (PCI order).

        One that went away keeps its last index, behind the one that has it now.
        """
        return self._devices

    def parent_of(self, part_uuid: str) -> str | None:
        """Return the UUID of the physical GPU that a MIG instance is cut from; asks no driver.

        Args:
            part_uuid: ``MIG-<uuid>``, or ``MIG-GPU-<uuid>/<gi>/<ci>`` as before driver 470.

        Returns:
            None where no such instance was there at the last ``refresh``.
        """
        if part_uuid.startswith("MIG-GPU-"):
            parent = part_uuid.removeprefix("MIG-").split("/")[0]
            return parent if parent in self._gpus else None
        return self._mig_parents.get(part_uuid)

    def refresh(self) -> bool:
        """Look which GPUs there are, and open NVML anew where nobody answers; see ``Backend``.

        A GPU that another call is about is not asked: that call may hang. With some GPUs
        answering and others not, NVML is opened anew only where that cannot cost the others
        anything: closing it may unload a driver without persistence mode, and with it their
        limits and counters; and a library that does not fit the driver could not be opened again.
        """
        if not self._turn.acquire(blocking=False):
            return False
        try:
            before = self._devices
            if self._is_open:
                reason = self._reason_to_reopen(self._look_again())
                if reason:
                    self._reopen(reason)
            return before != self._devices
        finally:
            self._turn.release()

    def read(self, device_uuid: str, *, details: bool) -> Reading:
        """Read one GPU; see ``Backend.read``. One thread per device.

        Raises:
            DeviceError: No such GPU.
        """
        return self._gpu(device_uuid).read(details=details)

    def processes(self, device_uuid: str) -> frozenset[int] | None:
        """Return the ids of the processes that have a compute context on a GPU; see ``Backend``.

        Those on its MIG instances are among them. Ids are of the host's namespace, or of ours,
        by driver version: to understand them takes a process that is in the host's.

        Source:
            ``nvmlDeviceGetComputeRunningProcesses``.
        """
        try:
            found = self._library.ask(device_uuid, "nvmlDeviceGetComputeRunningProcesses")
        except DeviceError:
            return None
        return frozenset(int(process.pid) for process in found)

    def limiter(self, device_uuid: str) -> Limiter | None:
        """Return what sets this GPU's limit; None where NVML has no range for it.

        Found out when the GPU was first seen: this calls no driver. It finds its GPU by UUID
        at every call, and so outlives a reopening.
        """
        return self._gpu(device_uuid).limiter

    def close(self) -> None:
        """Shut NVML down. Idempotent; a read after it lists its calls as UNINITIALIZED.

        Where a call hangs, NVML is left open: shutting it down would hang as well, and under a
        look that hangs as it opens NVML the library would be taken away.
        """
        if not self._turn.acquire(timeout=_TURN_SECONDS):
            self._is_open = False
            self._news.left_open(["NVML"])
            return
        try:
            if self._is_open:
                self._is_open = False
                self._news.left_open(self._library.close())
        finally:
            self._turn.release()

    def look(self) -> Look:
        """Look which GPUs there are and take note of them. Of ``refresh``'s thread.

        Raises:
            DeviceError: NVML as a whole does not answer.
        """
        seen = look_at_gpus(self._library, self._known)
        for uuid, (device, handle) in seen.gpus.items():
            self._library.handles[uuid] = handle
            gpu = self._gpus.get(uuid)
            if gpu is None:
                ask = partial(self._library.ask, uuid)
                self._gpus[uuid] = NvmlGpu(device, ask, self._clock)
            else:
                gpu.device = device
        self._devices = self._placed(seen)
        kept = {
            instance: parent
            for instance, parent in self._mig_parents.items()
            if parent in seen.spared
        }
        self._mig_parents = {**kept, **seen.mig_parents}
        self._tell()
        self._news.left_out(
            {index: error for index, error in seen.unanswered.items() if index not in self._known}
        )
        return seen

    def _placed(self, seen: Look) -> tuple[Device, ...]:
        """Note who has which index, and return all devices in their order."""
        shown = seen.shown
        devices = [gpu.device for gpu in self._gpus.values()]
        devices.sort(key=lambda device: (device.index, device.uuid not in shown))
        # Who does not say its name is still the GPU that was there, unless that moved.
        silent = {
            index: self._known[index]
            for index in seen.unanswered
            if index in self._known and self._known[index] not in shown
        }
        self._known = {device.index: device.uuid for device in devices if device.uuid in shown}
        self._known |= silent
        self._library.absent = {uuid: seen.unanswered[index] for index, uuid in silent.items()}
        return tuple(devices)

    def _look_again(self) -> str:
        """Look, and return the error where that failed."""
        try:
            self.look()
        except DeviceError as error:
            self._tell()
            return error.error
        return ""

    def _tell(self) -> None:
        self._news.gpus(self._devices, {uuid: gpu.gone for uuid, gpu in self._gpus.items()})

    def _reason_to_reopen(self, look_error: str) -> str:
        """Return the error for which NVML is to be opened anew now; empty for leave it."""
        gone = [gpu for gpu in self._gpus.values() if gpu.gone]
        answering = [gpu for gpu in self._gpus.values() if gpu.gone == ""]
        if not gone and answering:
            self._retry_ns, self._reopen_after_ns = _FIRST_RETRY_NS, 0
            self._news.settled()
            return ""
        if look_error and not answering:
            return look_error
        if self._clock.monotonic_ns() < self._reopen_after_ns:
            return ""
        if not self._gpus:
            return "NO_GPU"
        if not gone or (answering and not self._may_disturb(answering, gone)):
            return ""
        return gone[0].gone or ""

    def _may_disturb(self, answering: Sequence[NvmlGpu], gone: Sequence[NvmlGpu]) -> bool:
        if any(gpu.gone == _MISMATCH for gpu in gone):
            return False
        unsafe = [gpu for gpu in answering if gpu.persistence_mode is False]
        if unsafe:
            self._news.postponed("persistence mode is off", [gpu.device.uuid for gpu in unsafe])
        return not unsafe

    def _reopen(self, reason: str) -> None:
        try:
            hanging = self._library.reopen()
        except BackendUnavailable as error:
            self._news.reopen_failed(str(error))
            hanging = frozenset()
        else:
            if hanging:
                self._news.postponed("calls hang", sorted(hanging))
                return
            self._reopen_after_ns = self._clock.monotonic_ns() + self._retry_ns
            self._retry_ns = min(2 * self._retry_ns, _LAST_RETRY_NS)
            self._news.reopened(reason)
        for gpu in self._gpus.values():
            gpu.gone = None  # what it answered before says nothing about now
        self._look_again()

    def _gpu(self, device_uuid: str) -> NvmlGpu:
        gpu = self._gpus.get(device_uuid)
        if gpu is None:
            message = f"NVML has shown no GPU {device_uuid!r}"
            raise DeviceError(message, call="nvmlDeviceGetUUID", error="NOT_FOUND")
        return gpu


def open_nvml(clock: Clock) -> NvmlBackend:
    """Load libnvidia-ml.so.1 and find the GPUs.

    A GPU that does not answer is left out with a warning, until ``refresh`` finds it: without
    its UUID nothing can be said about it.

    Raises:
        BackendUnavailable: No library, no driver, two versions of it, or GPUs of which none
            answers; the message says what to do.
    """
    library = NvmlLibrary(clock)
    library.open()
    backend = NvmlBackend(library, clock)
    try:
        seen = backend.look()
    except DeviceError as error:
        backend.close()
        raise unavailable(error.call, error.error) from error
    if seen.unanswered and not seen.gpus:
        backend.close()
        count, last = len(seen.unanswered), list(seen.unanswered.values())[-1]
        message = f"NVML counts {count} GPU(s), none answers (last: {last}); {ANY_CURE}"
        raise BackendUnavailable(message, call="nvmlDeviceGetHandleByIndex", error=last)
    return backend
