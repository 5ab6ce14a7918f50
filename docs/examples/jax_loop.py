"""JAX: joules per step in Prometheus with four lines of joulestat.

    python jax_loop.py

JAX dispatches steps and returns at once, so a step "ends" up to a queue's length before the GPU
is done with it. Means over many steps are right all the same. Where short intervals should be as
well, ``sync_every=10`` waits for the GPU at every tenth step.
"""

import jax
import jax.numpy as jnp

import joulestat

EPOCHS = 2
STEPS = 20
BATCH_SIZE = 32


def error(weights: jax.Array, inputs: jax.Array, wanted: jax.Array) -> jax.Array:
    """Return the mean squared error of a linear model."""
    return jnp.mean((inputs @ weights - wanted) ** 2)


@jax.jit
def step(weights: jax.Array, inputs: jax.Array, wanted: jax.Array) -> jax.Array:
    """Return the weights after one step of gradient descent."""
    return weights - 0.05 * jax.grad(error)(weights, inputs, wanted)


def main() -> None:
    """Fit a line."""
    key = jax.random.key(0)
    inputs = jax.random.normal(key, (STEPS * BATCH_SIZE, 8))
    wanted = inputs.sum(axis=1)
    weights = jnp.zeros(8)

    with joulestat.init(run="jax-example", planned_steps=EPOCHS * STEPS, sync_every=10) as run:
        for epoch in range(EPOCHS):
            with run.phase("train"):
                for index in range(STEPS):
                    batch = slice(index * BATCH_SIZE, (index + 1) * BATCH_SIZE)
                    weights = step(weights, inputs[batch], wanted[batch])
                    run.step(n_samples=BATCH_SIZE)
            with run.phase("eval"):
                left = float(error(weights, inputs, wanted))
            print(
                f"epoch {epoch}: error {left:.4f}, joules {sum(run.energy_joules().values()):.0f}"
            )


if __name__ == "__main__":
    main()
