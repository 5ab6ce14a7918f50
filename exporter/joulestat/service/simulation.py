"""Where simulated GPUs live: in the configured file, else in one that goes with the process."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

from joulestat.config import Config
from joulestat.devices.probe import SimulatedOptions


def simulated_options(config: Config, closing: ExitStack) -> SimulatedOptions:
    """Return what to simulate; a folder of its own is closed with the stack."""
    simulated = config.simulated
    path = simulated.state_file
    if path is None and config.backend == "simulated":
        folder = tempfile.TemporaryDirectory(prefix="joulestat-")
        closing.callback(folder.cleanup)
        path = Path(folder.name) / "gpus"
    return SimulatedOptions(path, simulated.model, simulated.gpus, simulated.seed)
