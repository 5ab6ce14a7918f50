"""A host with AMD GPUs at work, for the exporter of a row."""

from pathlib import Path

from fakes.amd.remote import AmdHost
from faults.scene import Scene
from servers.exporter import Exporter

GPUS = 3
BUSY_MW = 180_000
SOME_ENERGY_UJ = 22_000_000_000_000
UUIDS = tuple(f"e7ff740f-0000-1000-80f0-4c2d9a1b{number:04x}" for number in range(1, GPUS + 1))


def amd_scene(folder: Path) -> Scene:
    """Return an exporter, not started yet, that reads through amdsmi."""
    host = AmdHost(folder, sources=("amdsmi",), cards=GPUS)
    for slot in range(GPUS):
        host.change(slot, demand_mw=BUSY_MW, energy_uj=SOME_ENERGY_UJ)
    # By name: where the tests run on a host with an NVIDIA GPU, auto would take that.
    exporter = Exporter(folder / "exporter", backend="amd")
    exporter.environment = host.environment()
    return Scene(exporter, host, UUIDS)
