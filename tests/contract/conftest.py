"""Every contract test runs over every backend."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.rigs import NvmlRig, Rig, SimulatedRig


@pytest.fixture(params=["nvml", "simulated"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """A backend with three GPUs that idle."""
    made: Rig
    if request.param == "nvml":
        made = NvmlRig(request.getfixturevalue("nvml_library"), tmp_path)
    else:
        made = SimulatedRig(tmp_path)
    yield made
    made.end()
