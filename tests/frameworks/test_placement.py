"""Frameworks as they are: asked for devices only once the training has started them."""

import subprocess
import sys

import pytest

JAX = """
import sys
import jax
from joulestat.client.naming import Host
from joulestat.client.placement import framework_gpus

bridge = sys.modules["jax._src.xla_bridge"]
assert framework_gpus(Host.here()) is None
assert not bridge.backends_are_initialized(), "the client has started the devices"
jax.numpy.ones(1).block_until_ready()
assert bridge.backends_are_initialized()
# Processors are no GPUs; what a GPU would be told apart by is there.
assert framework_gpus(Host.here()) is None
assert {"cpu"} == {device.platform for device in jax.local_devices()}
assert [0] == [device.local_hardware_id for device in jax.local_devices()]
"""

TORCH = """
import torch
from joulestat.client.naming import Host
from joulestat.client.placement import framework_gpus

assert framework_gpus(Host.here()) is None
assert not torch.cuda.is_initialized()
torch.ones(1).sum().item()
assert framework_gpus(Host.here()) is None
assert torch.version.hip is None
assert callable(torch.cuda.memory_reserved), "asked for the devices in use"
"""


def run(script: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.frameworks("jax")
def test_jax_is_asked_only_after_it_was_started() -> None:
    done = run(JAX)

    assert 0 == done.returncode, done.stderr


@pytest.mark.frameworks("torch")
def test_pytorch_is_asked_only_after_it_was_started() -> None:
    done = run(TORCH)

    assert 0 == done.returncode, done.stderr
