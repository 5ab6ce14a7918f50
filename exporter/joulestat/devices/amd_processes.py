"""Which processes compute on an AMD GPU: those with a queue there, by the kernel's own files.

Source: amdgpu's ``kfd_process.c`` and ``kfd_topology.c``: below /sys/class/kfd/kfd a process has
a folder ``proc/<pid>/queues/<queue>`` with a file ``gpuid`` as long as the queue is there, and a
node of the topology has ``gpu_id`` and, in ``properties``, its PCI domain and location.
"""

import re
from collections.abc import Iterator
from pathlib import Path

_BDF = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.[0-7]", re.IGNORECASE)


def processes_on(sys_root: Path, pci_bus_id: str) -> frozenset[int] | None:
    """Return the ids of the processes with a queue on a GPU, in the host's namespace.

    Asks no library and no GPU: any thread may call it.

    Args:
        sys_root: /sys.
        pci_bus_id: The GPU's, for example ``0000:03:00.0``.

    Returns:
        None where the kernel does not tell, or does not show this GPU.
    """
    kfd = sys_root / "class/kfd/kfd"
    gpu_ids = set(_gpu_ids(kfd, pci_bus_id))
    if not gpu_ids or not (kfd / "proc").is_dir():
        return None
    return frozenset(
        int(queue.parents[1].name)
        for queue in kfd.glob("proc/[0-9]*/queues/[0-9]*")
        if _text(queue / "gpuid") in gpu_ids
    )


def _gpu_ids(kfd: Path, pci_bus_id: str) -> Iterator[str]:
    """Yield KFD's ids of a card; one that is partitioned has several."""
    match = _BDF.fullmatch(pci_bus_id)
    if match is None:
        return
    domain, bus, slot = (int(part, 16) for part in match.groups())
    for node in kfd.glob("topology/nodes/[0-9]*"):
        lines = (line.split() for line in _text(node / "properties").splitlines())
        properties = {words[0]: words[1] for words in lines if len(words) == 2}
        location = int(properties.get("location_id", "0"))
        # Eight bits of bus, five of device, three of function; a partition's number is above.
        here = int(properties.get("domain", "0")), location >> 8 & 0xFF, location >> 3 & 0x1F
        if location and here == (domain, bus, slot):
            yield _text(node / "gpu_id")


def _text(file: Path) -> str:
    """Return what a file says, nothing where it went away: processes end at any time."""
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
