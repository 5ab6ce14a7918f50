"""What NVML shows: one look at all GPUs, and at the MIG instances that they are cut into."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from joulestat.devices.nvml import NvmlLibrary
from joulestat.domain.device import Device
from joulestat.domain.errors import DeviceError

_MIG_ENABLED = 1


@dataclass(slots=True)
class Look:
    """What was seen.

    Attributes:
        gpus: Physical GPUs with NVML's handles, by UUID.
        spared: UUIDs that were not asked, as a call about them was in flight: it may hang.
        unanswered: Error by index, of those that did not say who they are.
        mig_parents: UUID of the physical GPU by UUID of the MIG instance.
    """

    gpus: dict[str, tuple[Device, Any]] = field(default_factory=dict)
    spared: set[str] = field(default_factory=set)
    unanswered: dict[int, str] = field(default_factory=dict)
    mig_parents: dict[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> frozenset[str]:
        """UUIDs of the GPUs that are there."""
        return frozenset(self.gpus) | self.spared


def look_at_gpus(library: NvmlLibrary, known: Mapping[int, str]) -> Look:
    """Ask NVML which GPUs there are.

    Args:
        library: Open.
        known: UUID by index, as of the last look. Where a call is in flight nothing is asked,
            for it may hang, and this thread with it.

    Raises:
        DeviceError: NVML as a whole does not answer.
    """
    seen = Look()
    busy = library.busy()
    count = library.call("nvmlDeviceGetCount")
    driver_version = library.call("nvmlSystemGetDriverVersion")
    for index in range(count):
        if known.get(index) in busy:
            seen.spared.add(known[index])
            continue
        try:
            device, handle = _identify(library, index, driver_version, known.get(index))
        except DeviceError as error:
            seen.unanswered[index] = error.error
            continue
        seen.gpus[device.uuid] = (device, handle)
        for instance in _mig_instances(library, device.uuid, handle):
            seen.mig_parents[instance] = device.uuid
    return seen


def _identify(
    library: NvmlLibrary, index: int, driver_version: str, known: str | None
) -> tuple[Device, Any]:
    who = known or f"GPU {index}"
    handle = library.call("nvmlDeviceGetHandleByIndex", index, who=who)
    device = Device(
        uuid=library.call("nvmlDeviceGetUUID", handle, who=who),
        index=index,
        vendor="NVIDIA",
        model=library.call("nvmlDeviceGetName", handle, who=who),
        pci_bus_id=_pci_bus_id(library.call("nvmlDeviceGetPciInfo", handle, who=who)),
        driver_version=driver_version,
    )
    return device, handle


def _pci_bus_id(pci: Any) -> str:
    bus_id: str | bytes = pci.busId
    return bus_id.decode(errors="replace") if isinstance(bus_id, bytes) else bus_id


def _mig_instances(library: NvmlLibrary, device_uuid: str, handle: Any) -> list[str]:
    """Return the UUIDs of a GPU's MIG instances; none where that cannot be told."""
    instances: list[str] = []
    try:
        current_mode, _ = library.call("nvmlDeviceGetMigMode", handle, who=device_uuid)
        if current_mode != _MIG_ENABLED:
            return instances
        most = library.call("nvmlDeviceGetMaxMigDeviceCount", handle, who=device_uuid)
    except DeviceError:
        return instances
    for number in range(most):
        try:
            instance = library.call(
                "nvmlDeviceGetMigDeviceHandleByIndex", handle, number, who=device_uuid
            )
            instances.append(library.call("nvmlDeviceGetUUID", instance, who=device_uuid))
        except DeviceError:  # NOT_FOUND: numbers are not handed out without gaps
            continue
    return instances
