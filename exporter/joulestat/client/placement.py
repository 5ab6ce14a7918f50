"""Which GPUs this process holds, as far as can be told without touching one.

The client never imports a GPU library and never initialises CUDA: a context made by us would
take memory, and would break a later ``fork``. In order of trust:

1. what the caller said;
2. the framework, once the training code has initialised the devices: PyTorch by UUID, JAX by
   index;
3. JOULESTAT_GPUS, which ``joulestat run --gpus`` sets for its command;
4. CUDA_VISIBLE_DEVICES (HIP_VISIBLE_DEVICES, ROCR_VISIBLE_DEVICES), as UUIDs or as indices;
   indices of a container or of a Slurm job that is fenced in are translated where the
   environment tells how;
5. the local rank, as an index;
6. None: the exporter is to find out. It asks the driver where this process comes over a Unix
   socket, and else takes the host's only GPU; where there are several, none is claimed.

A rank that has neighbours on its host holds one device, its own; a process that is alone holds
all that it was given, or, once PyTorch can tell, those on which it has memory.
"""

import re
from collections.abc import Iterable
from itertools import islice
from numbers import Integral
from typing import Any

from joulestat.client.naming import Host
from joulestat.client.tally import Gpu

MAX_GPUS = 16
"""What the exporter takes of one rank."""

ALL = "all"
"""Every GPU of the host, which the exporter knows."""

_VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
_ROCR_VISIBLE = "ROCR_VISIBLE_DEVICES"
_CONTAINER_DEVICES = "NVIDIA_VISIBLE_DEVICES"
_NO_LIST = (ALL, "void")
_JAX_GPUS = ("gpu", "cuda", "rocm")
_SERIAL = re.compile(r"[0-9a-fA-F]{16}")
_UUID = re.compile(r"[A-Za-z0-9._-]{8,96}")

# (local rank, ranks on this host). SLURM_STEP_NUM_TASKS exists in srun's steps only: a batch
# script has a SLURM_LOCALID as well, and no neighbours.
_LOCAL_RANKS = (
    ("LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    ("SLURM_LOCALID", "SLURM_STEP_NUM_TASKS"),
    ("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
)


def named_gpus(gpus: object) -> tuple[Gpu, ...] | None:
    """Return what a caller named: "all", or one or several UUIDs or NVML indices.

    None for anything else.
    """
    if isinstance(gpus, str):
        gpus = gpus.split(",")
    elif isinstance(gpus, Integral):
        gpus = (gpus,)
    if not isinstance(gpus, Iterable) or isinstance(gpus, bytes):
        return None
    named = [_named(gpu) for gpu in islice(gpus, MAX_GPUS + 1)]  # a generator may never end
    found = tuple(dict.fromkeys(gpu for gpu in named if gpu is not None))
    return found if len(found) == len(set(named)) and len(named) <= MAX_GPUS else None


def framework_gpus(host: Host) -> tuple[Gpu, ...] | None:
    """Return this process's devices as its framework tells them; None until one can say.

    Cheap until the training code has initialised its devices; some 100 us afterwards.
    """
    for ask in (_torch_gpus, _jax_gpus):
        try:
            found = ask(host)
        except Exception:  # noqa: BLE001, S112 - foreign code of any version answers here
            continue
        if found is not None:
            return found
    return None


def environment_gpus(host: Host) -> tuple[Gpu, ...] | None:
    """Return this process's devices as far as its environment tells.

    Empty where the environment takes all devices away; None where it says nothing, or counts
    devices in a way that only the container understands.
    """
    own = _own_index(host)
    said = named_gpus(host.first("JOULESTAT_GPUS") or ())
    if said:
        return said if own is None or len(said) == 1 else (said[own % len(said)],)
    visible = _visible(host)
    if visible is None:
        return None if own is None or _counts_its_own(host) else (own,)
    if own is not None and len(visible) > 1:
        visible = (visible[own % len(visible)],)
    if _counts_its_own(host) and any(isinstance(gpu, int) for gpu in visible):
        return None
    return visible[:MAX_GPUS]


def _torch_gpus(host: Host) -> tuple[Gpu, ...] | None:
    torch: Any = host.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    count = torch.cuda.device_count()
    own = _own_index(host)
    if count > 1 and own is not None:
        indices = [own if own < count else torch.cuda.current_device()]
    elif count > 1:
        used = [index for index in range(count) if torch.cuda.memory_reserved(index) > 0]
        indices = used or [torch.cuda.current_device()]
    else:
        indices = list(range(count))
    uuids = [str(torch.cuda.get_device_properties(index).uuid) for index in indices]
    if torch.version.hip:
        serials = [_serial(uuid) for uuid in uuids]
        uuids = [serial for serial in serials if serial is not None]
        if len(uuids) < len(serials):  # a card without a serial number has no UUID to know it by
            return None
    return tuple(_prefixed(uuid) for uuid in uuids[:MAX_GPUS])


def _jax_gpus(host: Host) -> tuple[Gpu, ...] | None:
    """Return the devices of JAX, which knows no UUIDs: it counts those that are visible."""
    bridge: Any = host.modules.get("jax._src.xla_bridge")
    jax: Any = host.modules.get("jax")
    # To ask for devices is to initialise them.
    if bridge is None or jax is None or not bridge.backends_are_initialized():
        return None
    devices = [device for device in jax.local_devices() if device.platform in _JAX_GPUS]
    if not devices:
        return None
    indices = [int(device.local_hardware_id) for device in devices[:MAX_GPUS]]
    visible = _visible(host)
    found: tuple[Gpu, ...] = tuple(
        indices if visible is None else [visible[index] for index in indices]
    )
    return None if _counts_its_own(host) and any(isinstance(gpu, int) for gpu in found) else found


def _serial(uuid: str) -> str | None:
    """Return the serial number in PyTorch's UUID of an AMD card: the ASCII codes of its digits."""
    digits = bytes.fromhex(uuid.replace("-", "")).decode("ascii")
    return digits if _SERIAL.fullmatch(digits) and int(digits, 16) else None


def _prefixed(uuid: str) -> str:
    """Return a UUID as NVML writes it; PyTorch leaves the prefix out."""
    return uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"


def _own_index(host: Host) -> int | None:
    """Return which of this host's ranks this is, None where it is alone."""
    for rank_variable, size_variable in _LOCAL_RANKS:
        rank = host.number(rank_variable)
        if rank is not None:
            size = host.number(size_variable) or host.number("WORLD_SIZE") or 1
            return rank if size > 1 else None
    return None


def _visible(host: Host) -> tuple[Gpu, ...] | None:
    """Return the devices that the environment lets this process see, None for no word on it.

    HIP counts what ROCR_VISIBLE_DEVICES leaves, and that what the container or job was given:
    each list is told in the terms of the one around it.
    """
    devices, fenced = _given(host), _is_container(host)
    for names, hides in (((_ROCR_VISIBLE,), True), (_VISIBLE, False)):
        texts = [host.environ[name] for name in names if name in host.environ]
        if not texts or texts[0].strip().lower() in _NO_LIST:
            continue
        inner = _device_list(texts[0])
        devices = inner if devices is None else _translated(inner, devices, fenced=fenced)
        fenced = fenced or hides
    return devices


def _given(host: Host) -> tuple[Gpu, ...] | None:
    """Return the host's identities of the devices given to this container or Slurm job."""
    for name in (_CONTAINER_DEVICES, "SLURM_STEP_GPUS", "SLURM_JOB_GPUS"):
        # The first may also be "all", or a path where volume mounts are used.
        devices = _device_list(host.environ.get(name, ""))
        if devices:
            return devices
    return None


def _is_container(host: Host) -> bool:
    """Tell whether this is a container that was given a list of devices."""
    return bool(_device_list(host.environ.get(_CONTAINER_DEVICES, "")))


def _counts_its_own(host: Host) -> bool:
    """Tell whether an index here is a container's own, and nothing says which GPU it stands for.

    So it is in a pod or container that got its devices by a device plugin or CDI: then
    NVIDIA_VISIBLE_DEVICES is missing, "void", or a path.
    """
    given = host.environ.get(_CONTAINER_DEVICES, "").strip()
    if given.lower() == ALL or _given(host):
        return False
    return host.in_kubernetes or given.lower() == "void" or given.startswith("/")


def _translated(
    visible: tuple[Gpu, ...], outer: tuple[Gpu, ...], *, fenced: bool
) -> tuple[Gpu, ...]:
    """Return inner indices as the host's identities.

    A container counts its own devices from 0, and so does HIP those that ROCR_VISIBLE_DEVICES
    leaves (``fenced``). Slurm does so where it fences devices in, and else uses the host's
    numbers: what can only be the host's numbers is left alone.
    """
    indices = [gpu for gpu in visible if isinstance(gpu, int)]
    if len(indices) < len(visible) or any(index >= len(outer) for index in indices):
        return visible
    if fenced or len(visible) == len(outer) or not set(visible) <= set(outer):
        return tuple(outer[index] for index in indices)
    return visible


def _device_list(text: str) -> tuple[Gpu, ...]:
    """Parse a list of devices as CUDA does: what follows an invalid entry is not visible."""
    devices: list[Gpu] = []
    for entry in text.split(","):
        gpu = _gpu(entry)
        if gpu is None or gpu in devices:
            break
        devices.append(gpu)
    return tuple(devices)


def _gpu(entry: object) -> Gpu | None:
    """Return one device, None for what names none."""
    if isinstance(entry, bool):
        return None
    if isinstance(entry, Integral):
        index = int(entry)
        return index if index >= 0 else None
    if not isinstance(entry, str):
        return None
    text = entry.strip()
    if text.isascii() and text.isdecimal():
        return int(text)
    return text if text.startswith(("GPU-", "MIG-")) else None


def _named(entry: object) -> Gpu | None:
    """Return one device that a caller named: its UUID may have any vendor's form."""
    gpu = _gpu(entry)
    if isinstance(entry, str) and entry.strip().lower() == ALL:
        return ALL
    if gpu is None and isinstance(entry, str) and _UUID.fullmatch(entry.strip()):
        return entry.strip()
    return gpu
