"""Keras 3: joules per step in Prometheus and in the history with one callback.

KERAS_BACKEND=jax python keras_fit.py
"""

import keras
import numpy as np

from joulestat.keras import JoulestatCallback

BATCH_SIZE = 32


def main() -> None:
    """Fit a line."""
    inputs = np.random.default_rng(0).normal(size=(640, 8)).astype("float32")
    wanted = inputs.sum(axis=1, keepdims=True)
    model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(1)])
    # Two batches make a step: the callback counts nine steps an epoch, not eighteen.
    model.compile(keras.optimizers.SGD(0.05, gradient_accumulation_steps=2), loss="mse")
    # Keras tells no callback how large a batch is.
    reporting = JoulestatCallback(run="keras-example", batch_size=BATCH_SIZE)
    history = model.fit(
        inputs,
        wanted,
        batch_size=BATCH_SIZE,
        epochs=2,
        validation_split=0.1,
        callbacks=[reporting],
        verbose=0,
    )
    print(f"loss: {history.history['loss']}")
    print(f"joules by epoch: {history.history.get('energy_joules', 'no exporter on this host')}")
    print(f"in all: {reporting.energy_metrics()}")


if __name__ == "__main__":
    main()
