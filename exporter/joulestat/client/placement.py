"""Which GPUs this process holds, as far as can be told without touching one.

The client never imports a GPU library and never initialises CUDA: a context made by us would
take memory, and would break a later ``fork``. In order of trust:

1. what the caller said;
2. PyTorch, once the training code has initialised CUDA: UUIDs;
3. CUDA_VISIBLE_DEVICES (HIP_VISIBLE_DEVICES, ROCR_VISIBLE_DEVICES), as UUIDs or as indices;
   indices of a container or of a Slurm job that is fenced in are translated where the
   environment tells how;
4. the local rank, else 0, as an index.

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

_VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
_NO_LIST = ("all", "void")
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
    """Return what a caller named: one or several UUIDs or NVML indices; None for anything else."""
    if isinstance(gpus, str):
        gpus = gpus.split(",")
    elif isinstance(gpus, Integral):
        gpus = (gpus,)
    if not isinstance(gpus, Iterable) or isinstance(gpus, bytes):
        return None
    named = [_named(gpu) for gpu in islice(gpus, MAX_GPUS + 1)]  # a generator may never end
    found = tuple(dict.fromkeys(gpu for gpu in named if gpu is not None))
    return found if len(found) == len(set(named)) and len(named) <= MAX_GPUS else None


def torch_gpus(host: Host) -> tuple[Gpu, ...] | None:
    """Return the UUIDs of this process's devices; None until PyTorch can say.

    Cheap until CUDA is initialised by the training code; some 100 us afterwards.
    """
    try:
        return _torch_gpus(host)
    except Exception:  # noqa: BLE001 - foreign code of any version answers here
        return None


def environment_gpus(host: Host) -> tuple[Gpu, ...]:
    """Return this process's devices as far as its environment tells.

    Empty where the environment takes all devices away.
    """
    visible = _visible(host)
    own = _own_index(host)
    if visible is None:
        return (own or 0,)
    if own is not None and len(visible) > 1:
        return (visible[own % len(visible)],)
    return visible[:MAX_GPUS]


def _torch_gpus(host: Host) -> tuple[Gpu, ...] | None:
    torch: Any = host.modules.get("torch")
    # On ROCm the UUID has another form than the exporter's.
    if torch is None or torch.version.hip or not torch.cuda.is_initialized():
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
    return tuple(_prefixed(uuid) for uuid in uuids[:MAX_GPUS])


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
    """Return the devices that the environment lets this process see, None for no word on it."""
    texts = [host.environ[name] for name in _VISIBLE if name in host.environ]
    if not texts or texts[0].strip().lower() in _NO_LIST:
        return _outer(host)
    visible, outer = _device_list(texts[0]), _outer(host)
    return visible if outer is None else _translated(visible, outer, host)


def _outer(host: Host) -> tuple[Gpu, ...] | None:
    """Return the host's identities of the devices given to this container or Slurm job."""
    for name in ("NVIDIA_VISIBLE_DEVICES", "SLURM_STEP_GPUS", "SLURM_JOB_GPUS"):
        # The first may also be "all", or a path where volume mounts are used.
        devices = _device_list(host.environ.get(name, ""))
        if devices:
            return devices
    return None


def _translated(visible: tuple[Gpu, ...], outer: tuple[Gpu, ...], host: Host) -> tuple[Gpu, ...]:
    """Return inner indices as the host's identities.

    A container counts its own devices from 0. Slurm does so where it fences devices in, and
    else uses the host's numbers: what can only be the host's numbers is left alone.
    """
    indices = [gpu for gpu in visible if isinstance(gpu, int)]
    if len(indices) < len(visible) or any(index >= len(outer) for index in indices):
        return visible
    container = bool(_device_list(host.environ.get("NVIDIA_VISIBLE_DEVICES", "")))
    if container or len(visible) == len(outer) or not set(visible) <= set(outer):
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
    if gpu is None and isinstance(entry, str) and _UUID.fullmatch(entry.strip()):
        return entry.strip()
    return gpu
