"""Waiting for JAX, the real one; of PyTorch only what can be known without a GPU."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("jax", "torch")),
    reason="needs the extra test-frameworks",
)

UNUSED = """
import sys
import jax, torch
from jax._src import xla_bridge
from joulestat.client.synchronise import jax_work, torch_work
assert jax_work(sys.modules) is None and torch_work(sys.modules) is None
assert not xla_bridge.backends_are_initialized() and not torch.cuda.is_initialized()
"""

USED = """
import sys
import jax, jax.numpy as jnp
from joulestat.client.notices import Notices
from joulestat.client.outbox import monotonic_ns
from joulestat.client.synchronise import Synchronisation

@jax.jit
def slow(x):
    for _ in range(20):
        x = jnp.tanh(x @ x)
    return x

@jax.jit
def donating(x):
    return x + 1

donating = jax.jit(donating, donate_argnums=0)
kept = jnp.ones((8,))
gone = jnp.ones((8,))
donating(gone)
result = slow(jnp.ones((400, 400)))
assert Synchronisation(1, sys.modules, Notices(), now_ns=monotonic_ns).step()
assert result.is_ready() and kept.is_ready()
"""


@pytest.mark.parametrize("script", [UNUSED, USED], ids=["before it is used", "while it works"])
def test_jax_is_waited_for_once_it_is_used_and_not_touched_before(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert 0 == done.returncode, done.stderr
