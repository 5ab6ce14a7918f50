"""AMD GPUs: through amdsmi, else pyrsmi, and the kernel's files beside either; see the files amd_*.

Physical GPUs only: energy and power caps belong to partition 0 of a card. Of a card with two dies
(MI250) the even die carries the power of both; the odd one is there, without power and energy.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from joulestat.devices.amd_gpu import AmdGpu
from joulestat.devices.amd_inventory import Found, Inventory
from joulestat.devices.amd_limiter import AmdLimiter
from joulestat.devices.amd_names import serial_of
from joulestat.devices.amd_processes import processes_on
from joulestat.devices.amd_source import Gate
from joulestat.devices.amd_sysfs import Sysfs
from joulestat.devices.backend import Limiter
from joulestat.domain.clock import Clock
from joulestat.domain.device import CallError, Device, Reading
from joulestat.domain.errors import BackendUnavailable, DeviceError
from joulestat.domain.units import NS_PER_SECOND

_log = logging.getLogger(__name__)

_CURE = (
    "load the driver (modprobe amdgpu), install ROCm with its amdsmi package, and start a "
    "container with --device=/dev/kfd --device=/dev/dri"
)
_LOOK_WAIT_SECONDS = 1.0
_FIRST_RETRY_NS = 5 * NS_PER_SECOND
_LAST_RETRY_NS = 60 * NS_PER_SECOND


class AmdBackend:
    """Reads AMD GPUs. Make one with ``open_amd``."""

    name = "amd"
    serial = True

    def __init__(self, clock: Clock, sysfs: Sysfs) -> None:
        self._clock = clock
        self._sysfs = sysfs
        self._gate = Gate()
        self._inventory = Inventory(self._gate, sysfs)
        self._gpus: dict[str, AmdGpu] = {}
        self._by_serial: dict[str, str] = {}
        self._limiters: dict[str, AmdLimiter] = {}
        self._open = True
        self._retry_ns = _FIRST_RETRY_NS
        self._told: dict[str, str] = {}
        self._look()

    @property
    def reasons(self) -> dict[str, str]:
        """Source (amdsmi, pyrsmi, sysfs) -> why it shows no GPU, of those that show none."""
        return dict(self._inventory.reasons)

    def devices(self) -> Sequence[Device]:
        """Return all GPUs that were ever seen, in the order of ``amd-smi list``.

        One that went away keeps its last index, behind the one that has it now; reading it
        lists an error.
        """
        return tuple(gpu.device for gpu in self._gpus.values())

    def refresh(self) -> bool:
        """Look again where cards came or went, one does not answer, or no library could be opened.

        To look again is to open the library anew. It is tried 5 s after the last time, then
        ever more rarely, down to once a minute, while it does not help.
        """
        if not self._open or not self._is_due():
            return False
        before = self.devices()
        try:
            with self._gate.entered("refresh", wait_seconds=_LOOK_WAIT_SECONDS):
                self._look()
        except DeviceError as error:  # a read hangs: nothing can be opened beside it
            _log.debug("event=amd_refresh_put_off error=%s", error.error)
        return before != self.devices()

    def read(self, device_uuid: str, *, details: bool) -> Reading:
        """Read one GPU; see ``Backend.read``.

        Raises:
            DeviceError: No such GPU.
        """
        gpu = self._gpu(device_uuid)
        if not self._open:
            closed = CallError("amdsmi_init", "NOT_INIT")
            return Reading(self._clock.monotonic_ns(), None, None, errors=(closed,))
        return gpu.read(details=details)

    def limiter(self, device_uuid: str) -> Limiter | None:
        """Return what sets this GPU's cap; None where its driver names no range that can be true.

        Found out at opening: this calls no driver.
        """
        self._gpu(device_uuid)
        return self._limiters.get(device_uuid)

    def processes(self, device_uuid: str) -> frozenset[int] | None:
        """Return the ids of the processes with a queue on a GPU; see ``Backend``."""
        gpu = self._gpus.get(device_uuid)
        return None if gpu is None else processes_on(self._sysfs.root, gpu.device.pci_bus_id)

    def parent_of(self, part_uuid: str) -> str | None:
        """Return the UUID of the GPU that another name of it, or of a part of it, stands for.

        Asks no driver. Training code knows a GPU by HIP's or PyTorch's spelling of its serial
        number; a partition has the serial number of its card.
        """
        serial = serial_of(part_uuid)
        uuid = None if serial is None else self._by_serial.get(serial)
        return None if uuid == part_uuid else uuid

    def close(self) -> None:
        """Shut the library down, unless a call hangs in it. Idempotent."""
        if not self._open:
            return
        self._open = False
        try:
            with self._gate.entered("close", wait_seconds=_LOOK_WAIT_SECONDS):
                self._inventory.close()
        except DeviceError as error:
            _log.warning("event=amd_shutdown_failed error=%s", error.error)

    def _gpu(self, device_uuid: str) -> AmdGpu:
        gpu = self._gpus.get(device_uuid)
        if gpu is None:
            message = f"AMD's libraries showed no GPU {device_uuid!r} when they were opened"
            raise DeviceError(message, call="amdsmi_get_processor_handles", error="NOT_FOUND")
        return gpu

    def _is_due(self) -> bool:
        """Tell whether looking again may help, and was not tried just now."""
        changed = self._sysfs.addresses() != self._addresses
        lacking = not self._inventory.has_library or not self._inventory.is_whole
        if not changed and not lacking and not any(gpu.is_gone for gpu in self._gpus.values()):
            self._retry_ns = _FIRST_RETRY_NS
            return False
        return changed or self._clock.monotonic_ns() - self._looked_ns >= self._retry_ns

    def _look(self) -> None:
        self._looked_ns = self._clock.monotonic_ns()
        self._retry_ns = min(2 * self._retry_ns, _LAST_RETRY_NS)
        self._addresses = self._sysfs.addresses()
        self._take_all(self._inventory.look())
        if self._gpus:
            self._tell()

    def _tell(self) -> None:
        """Log which source is done without, and why: once, and when the reason changes."""
        for source, reason in self.reasons.items():
            if self._told.get(source) != reason:
                _log.info("event=amd_source_skipped source=%s reason=%r", source, reason)
        self._told = self.reasons

    def _take_all(self, found: Sequence[Found]) -> None:
        there = {each.device.uuid: self._taken(each) for each in found}
        for uuid in self._gpus.keys() - there.keys():
            self._gpus[uuid].take_away()
        gpus = {**there, **{uuid: gpu for uuid, gpu in self._gpus.items() if uuid not in there}}
        self._gpus = dict(sorted(gpus.items(), key=lambda item: item[1].device.index))
        self._by_serial = {
            serial: uuid for uuid in self._gpus if (serial := serial_of(uuid)) is not None
        }

    def _taken(self, found: Found) -> AmdGpu:
        """Return the GPU with its new sources: the one that is known, so that it remembers."""
        uuid = found.device.uuid
        gpu = self._gpus.get(uuid)
        if gpu is None:
            gpu = AmdGpu(found.device, found.offers, found.writers, self._clock)
        elif gpu.device == found.device:
            gpu.take(found.device, found.offers, found.writers)
            return gpu
        gpu.take(found.device, found.offers, found.writers)
        if uuid not in self._limiters and _is_limitable(gpu):
            self._limiters[uuid] = AmdLimiter(gpu)
        _log.info(
            "event=amd_sources gpu=%d gpu_uuid=%s energy=%s power=%s limits=%s limiter=%s",
            gpu.device.index,
            uuid,
            *gpu.sources(),
            "yes" if uuid in self._limiters else "no",
        )
        return gpu


def open_amd(clock: Clock, *, sys_root: Path = Path("/sys")) -> AmdBackend:
    """Open what there is of amdsmi, pyrsmi and the kernel's files.

    Args:
        clock: Stamps the readings.
        sys_root: Where the kernel's files are.

    Raises:
        BackendUnavailable: None of them shows a GPU; the message says why each does not.
    """
    backend = AmdBackend(clock, Sysfs(sys_root))
    if backend.devices():
        return backend
    backend.close()
    why = ", ".join(f"{source}: {reason}" for source, reason in backend.reasons.items())
    message = f"no AMD GPU can be read ({why}); {_CURE}"
    raise BackendUnavailable(message, call="amdsmi_init", error="LIBRARY_NOT_FOUND")


def _is_limitable(gpu: AmdGpu) -> bool:
    if not gpu.writers:
        return False
    try:
        return gpu.caps().range_watts is not None
    except DeviceError as error:
        # A cap that merely failed to be read may come back: that GPU keeps its limiter.
        return error.error != "NOT_SUPPORTED"
