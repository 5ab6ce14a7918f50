"""Trainings with Keras on one backend, each beside a scripted exporter; prints JSON.

Run as ``KERAS_BACKEND=jax python -m frameworks.keras_scenes``: a process has one backend only.
"""

import json
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import joulestat
from fakes.priced_exporter import PricedExporter
from fakes.scripted_server import ScriptedServer
from joulestat.keras import JoulestatCallback

BATCH = 4
INPUTS = np.ones((48, 3), dtype="float32")
TARGETS = np.ones((48, 1), dtype="float32")


def model(accumulate: int | None = None, **options: Any) -> Any:
    made = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
    optimizer = keras.optimizers.SGD(1e-3, gradient_accumulation_steps=accumulate)
    made.compile(optimizer, loss="mse", **options)
    return made


def fitted(made: Any, callback: JoulestatCallback, **options: Any) -> dict[str, Any]:
    history = made.fit(
        INPUTS, TARGETS, **{"batch_size": BATCH, "verbose": 0, "callbacks": [callback], **options}
    )
    return {
        "history": {name: [float(value) for value in row] for name, row in history.history.items()},
        "iterations": int(made.optimizer.iterations) if made.optimizer else None,
        "metrics": callback.energy_metrics(),
    }


class Flush(keras.callbacks.Callback):
    """Lets the exporter know of everything before an epoch's end."""

    def __init__(self, callback: JoulestatCallback) -> None:
        super().__init__()
        self.callback = callback

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.callback.run.flush()


def plain(callback: JoulestatCallback) -> dict[str, Any]:
    validation = (INPUTS[:8], TARGETS[:8])
    callbacks = [Flush(callback), callback]
    return fitted(model(), callback, epochs=2, validation_data=validation, callbacks=callbacks)


def accumulated(callback: JoulestatCallback) -> dict[str, Any]:
    # Twelve batches an epoch, five a step: the third epoch's steps begin in the second.
    return fitted(model(accumulate=5), callback, epochs=3)


def in_one_execution(callback: JoulestatCallback) -> dict[str, Any]:
    # Five batches an execution: the third execution of an epoch has but two.
    return fitted(model(steps_per_execution=5), callback, epochs=2)


def resumed(callback: JoulestatCallback) -> dict[str, Any]:
    made = model()
    fitted(made, callback)
    return fitted(made, callback, initial_epoch=1, epochs=2)


def evaluated(callback: JoulestatCallback) -> dict[str, Any]:
    made = model()
    made.evaluate(INPUTS, TARGETS, batch_size=BATCH, verbose=0, callbacks=[callback])
    return {}


def predicted(callback: JoulestatCallback) -> dict[str, Any]:
    model().predict(INPUTS, batch_size=BATCH, verbose=0, callbacks=[callback])
    return {}


def broken(callback: JoulestatCallback) -> dict[str, Any]:
    callback._count = lambda *_: 1 // 0  # type: ignore[method-assign, assignment]
    return fitted(model(), callback)


def dispatched(callback: JoulestatCallback) -> dict[str, Any]:
    with_us = keras.callbacks.CallbackList([callback], model=model())
    without = keras.callbacks.CallbackList([], model=model())
    return {"with_us": with_us._async_train, "without": without._async_train}


SCENES: list[Callable[[JoulestatCallback], dict[str, Any]]] = [
    plain,
    accumulated,
    resumed,
    evaluated,
    predicted,
    broken,
    dispatched,
]
if keras.backend.backend() == "jax":  # PyTorch's refuses it
    SCENES.append(in_one_execution)


def main() -> None:
    logging.getLogger("joulestat").setLevel(logging.ERROR)
    found: dict[str, Any] = {}
    for scene in SCENES:
        exporter = PricedExporter()
        with ScriptedServer(exporter) as server:
            os.environ["JOULESTAT_URL"] = server.url
            callback = JoulestatCallback(run="r", gpus=[0], batch_size=BATCH)
            found[scene.__name__] = scene(callback)
            callback.run.finish()
        if exporter.pushes:
            found[scene.__name__] |= {
                "totals": exporter.totals(),
                "phases": exporter.phases(),
                "planned_steps": exporter.pushes[-1].get("planned_steps"),
                "framework": exporter.pushes[-1]["labels"]["framework"],
            }
    os.environ["JOULESTAT_URL"] = "http://127.0.0.1:1"
    found["alone"] = fitted(model(), JoulestatCallback(run="r", gpus=[0]))
    with joulestat.init(run="mine", gpus=[0]) as run:
        fitted(model(), JoulestatCallback(run))
        found["alone"]["left_open"] = run.active
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
