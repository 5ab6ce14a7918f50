"""NVML in processes of their own, for more than one file of tests."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from fakes.nvml.remote import RemoteNvml, Start, read_all
from fakes.nvml.standin import StandIn


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts processes that have not opened NVML yet, and ends them."""
    with ExitStack() as ending:

        def started(standin: StandIn) -> RemoteNvml:
            remote = RemoteNvml(standin, keep_log=True)
            ending.callback(remote.kill)
            return remote

        yield started


@pytest.fixture
def nvml(start: Start, nvml_standin: StandIn) -> RemoteNvml:
    """A process with two GPUs open, each read once."""
    remote = start(nvml_standin)
    remote.open()
    read_all(remote)
    return remote
