"""A host with NVIDIA GPUs at work, for the exporter of a row."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from fakes.nvml.standin import LIBRARY, StandIn
from faults.nvidia import BUSY_MW, GPUS
from faults.scene import Scene
from servers.exporter import Exporter

UUIDS = tuple(f"GPU-5a4d1000-0000-4000-8000-{slot:012d}" for slot in range(GPUS + 1))
SOME_ENERGY_UJ = 22_000_000_000_000


class NvidiaHost(StandIn):
    """Its library is its own, and may be replaced."""

    def __init__(self, library: Path, folder: Path) -> None:
        self.library_folder = folder / "lib"
        self.library_folder.mkdir()
        shutil.copy(library / LIBRARY, self.library_folder)
        super().__init__(self.library_folder, folder, gpus=GPUS)
        # Whoever calls first loads the driver.
        load = [sys.executable, "-c", "import pynvml; pynvml.nvmlInit()"]
        subprocess.run(load, env={**os.environ, **self.environment()}, check=True)
        for slot in range(GPUS):
            self.change(slot, demand_mw=BUSY_MW, energy_uj=SOME_ENERGY_UJ)


def nvidia_scene(library: Path, folder: Path) -> Scene:
    """Return an exporter, not started yet, that has to find out by itself whose GPUs these are."""
    host = NvidiaHost(library, folder)
    exporter = Exporter(folder / "exporter", backend="auto")
    exporter.environment = host.environment()
    return Scene(exporter, host, UUIDS)
