"""Every contract test runs over every backend."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contract.rigs import AmdRig, NvmlRig, Rig, SimulatedRig
from fakes.amd.remote import AMDSMI_SYSFS, PYRSMI_SYSFS, SYSFS

Request = pytest.FixtureRequest

RIGS: dict[str, Callable[[Request, Path], Rig]] = {
    "nvml": lambda request, folder: NvmlRig(request.getfixturevalue("nvml_library"), folder),
    "amd-amdsmi": lambda _, folder: AmdRig(AMDSMI_SYSFS, folder),
    "amd-pyrsmi": lambda _, folder: AmdRig(PYRSMI_SYSFS, folder),
    "amd-sysfs": lambda _, folder: AmdRig(SYSFS, folder),
    "simulated": lambda _, folder: SimulatedRig(folder),
}

COUNTING = [name for name in RIGS if name not in {"amd-pyrsmi", "amd-sysfs"}]
"""Those with an energy counter."""


@pytest.fixture(params=RIGS)
def rig(request: Request, tmp_path: Path) -> Iterator[Rig]:
    """A backend with three GPUs that idle."""
    made = RIGS[request.param](request, tmp_path)
    yield made
    made.end()


@pytest.fixture(params=COUNTING)
def counting_rig(request: Request, tmp_path: Path) -> Iterator[Rig]:
    """The same, of a backend whose GPUs count their energy."""
    made = RIGS[request.param](request, tmp_path)
    yield made
    made.end()
