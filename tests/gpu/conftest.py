"""A real NVIDIA card, or a visible skip."""

from collections.abc import Iterator

import pytest

from gpu.card import Watched, watch
from joulestat.devices.nvml_backend import NvmlBackend, open_nvml
from joulestat.domain.errors import BackendUnavailable
from joulestat.loops.system_clock import SystemClock


@pytest.fixture(scope="session")
def backend() -> Iterator[NvmlBackend]:
    """NVML as it is on this machine."""
    try:
        opened = open_nvml(SystemClock())
    except BackendUnavailable as missing:
        pytest.skip(f"no NVIDIA GPU here: {missing}")
    if not opened.devices():
        opened.close()
        pytest.skip("no NVIDIA GPU here: NVML shows none")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def watched(backend: NvmlBackend) -> Watched:
    """The first card, watched once for all tests."""
    return watch(backend, backend.devices()[0])
