"""Short trainings whose pushes, logs and checkpoints the tests of the Trainer's callback look at.

Run as ``python -m frameworks.huggingface_scenes FOLDER``: writes scenes.json there. All in one
process, because loading the libraries takes longer than all scenes together.
"""

import contextlib
import inspect
import json
import os
import runpy
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from transformers import Trainer, TrainerCallback
from transformers.modelcard import TrainingSummary

import joulestat
from fakes.scripted_server import Json, ScriptedExporter, ScriptedServer
from frameworks.tiny_trainer import tiny_trainer
from joulestat.huggingface import JoulestatCallback

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "huggingface_trainer.py"

UUIDS = ("GPU-b", "GPU-a")
JOULES_PER_PUSH = 10.0


class SpendingExporter(ScriptedExporter):
    """Answers that every push has cost 10 J on the one GPU and 20 J on the other."""

    def __call__(self, request: Any, connection: Any) -> bytes:
        pushes = len(self.pushes)
        self.energy_joules = {
            uuid: 1_000.0 + pushes * JOULES_PER_PUSH * share for share, uuid in enumerate(UUIDS, 1)
        }
        return super().__call__(request, connection)


class Tracker(TrainerCallback):
    """Stands for W&B and the like: keeps what it is shown."""

    def __init__(self) -> None:
        self.shown: list[Json] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        self.shown.append(dict(logs))


class Patience(TrainerCallback):
    """Waits for the exporter's answer after every step, so that the joules are those of then."""

    def __init__(self, callback: JoulestatCallback) -> None:
        self._callback = callback

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._callback.run.flush()


class Scene:
    """One scene's folder, and what is noted of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.noted: Json = {}
        self._exporter = SpendingExporter()
        self._server = ScriptedServer(self._exporter)

    def play(self, act: "Callable[[Scene], None]") -> Json:
        with self._server as server:
            self.url = server.url
            act(self)
        return self.noted

    def callback(self, **more: Any) -> JoulestatCallback:
        return JoulestatCallback(**{"run": "r", "gpus": list(UUIDS), "url": self.url, **more})

    def note(self, **what: Any) -> None:
        self.noted.update(what)

    def train(self, trainer: Trainer, **how: Any) -> Json:
        """Train, and note results, logs and what was pushed."""
        metrics = trainer.train(**how).metrics
        trainer.save_metrics("train", metrics)
        trainer.save_state()
        self.note_pushes()
        self.note(metrics=metrics, history=trainer.state.log_history)
        return metrics

    def note_pushes(self) -> None:
        by_process: dict[str, list[Json]] = {}
        for push in self._exporter.pushes:
            by_process.setdefault(push["incarnation"], []).append(push)
        self.note(
            processes=[
                {
                    "run": pushes[0]["run"],
                    "labels": pushes[0]["labels"],
                    "planned_steps": pushes[0].get("planned_steps"),
                    "phases": [phase for phase, _ in groupby(push["phase"] for push in pushes)],
                    "totals": pushes[-1]["totals"],
                    "final": pushes[-1]["final"],
                }
                for pushes in by_process.values()
            ]
        )

    def carried(self, checkpoint: str = "") -> Any:
        """Return what a checkpoint, or else save_state(), carries for the callback."""
        state = json.loads((self.folder / checkpoint / "trainer_state.json").read_text())
        return state["stateful_callbacks"].get("JoulestatCallback")


def counts(scene: Scene) -> None:
    tracker = Tracker()
    trainer = tiny_trainer(
        scene.folder,
        tracker,
        scene.callback(team="nlp"),
        train=32,
        gradient_accumulation_steps=3,
        include_num_input_tokens_seen="all",
        eval_strategy="steps",
        eval_steps=2,
        save_strategy="steps",
        save_steps=4,
        logging_strategy="steps",
        logging_steps=2,
    )
    scene.train(trainer)
    summary = TrainingSummary.from_trainer(trainer, model_name="tiny")
    scene.note(
        global_step=trainer.state.global_step,
        card=summary.to_model_card(),
        shown=tracker.shown,
        results=json.loads((scene.folder / "all_results.json").read_text()),
        saved=scene.carried("checkpoint-4"),
        saved_state=scene.carried(),
    )


def attached(scene: Scene) -> None:
    tracker = Tracker()
    trainer = tiny_trainer(scene.folder, tracker, logging_strategy="steps", logging_steps=2)
    scene.callback().attach(trainer)
    scene.train(trainer)
    names = [type(each).__name__ for each in trainer.callback_handler.callbacks]
    scene.note(shown=tracker.shown, order=names)


def epochs(scene: Scene) -> None:
    trainer = tiny_trainer(
        scene.folder,
        scene.callback(),
        num_train_epochs=2,
        eval_strategy="epoch",
        save_strategy="epoch",
        eval_on_start=True,
    )
    scene.train(trainer)


def best(scene: Scene) -> None:
    trainer = tiny_trainer(
        scene.folder,
        scene.callback(),
        eval_strategy="steps",
        eval_steps=4,
        save_strategy="best",
        metric_for_best_model="loss",
    )
    scene.train(trainer)


def outside(scene: Scene) -> None:
    trainer = tiny_trainer(scene.folder, scene.callback(), evaluate={"one": 4, "two": 8})
    trainer.evaluate()
    scene.train(trainer)
    trainer.predict(trainer.train_dataset)
    scene.note_pushes()


class ShortOfMemory(Trainer):
    """Runs out of memory, once, in the third step of the first attempt."""

    fails_at = 3

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step + 1 == self.fails_at:
            type(self).fails_at = 0
            raise RuntimeError("CUDA out of memory.")
        return super().training_step(*args, **kwargs)


def smaller_batches(scene: Scene) -> None:
    trainer = tiny_trainer(
        scene.folder,
        scene.callback(),
        kind=ShortOfMemory,
        train=18,
        per_device_train_batch_size=4,
        auto_find_batch_size=True,
    )
    scene.train(trainer)
    scene.note(batch_size=trainer.state.train_batch_size)


def resumed(scene: Scene, *, restore: bool) -> None:
    how = {"save_strategy": "steps", "save_steps": 4, "train": 24}
    callback = scene.callback()
    scene.train(tiny_trainer(scene.folder, callback, Patience(callback), **how))
    scene.note(saved=scene.carried("checkpoint-8"), first=scene.noted["metrics"])
    again = tiny_trainer(
        scene.folder,
        scene.callback(),
        restore_callback_states_from_checkpoint=restore,
        **how,
    )
    scene.train(again, resume_from_checkpoint=str(scene.folder / "checkpoint-8"))
    scene.note(saved_state=scene.carried(), saved_again=scene.carried("checkpoint-12"))


def added_later(scene: Scene) -> None:
    how = {"save_strategy": "steps", "save_steps": 4}
    tiny_trainer(scene.folder, **how).train()
    later = tiny_trainer(scene.folder, scene.callback(), **how)
    scene.train(later, resume_from_checkpoint=str(scene.folder / "checkpoint-4"))
    scene.note(saved=scene.carried("checkpoint-8"))


def twice(scene: Scene) -> None:
    how = {"save_strategy": "steps", "save_steps": 2}
    trainer = tiny_trainer(scene.folder, scene.callback(), scene.callback(), **how)
    scene.train(trainer)
    scene.note(saved=[scene.carried(f"checkpoint-{step}") for step in (2, 4, 6, 8)])


class Broken(Trainer):
    """Stops in the middle, as Ctrl-C does."""

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == 3:
            raise KeyboardInterrupt
        return super().training_step(*args, **kwargs)


def interrupted(scene: Scene) -> None:
    try:
        tiny_trainer(scene.folder, scene.callback(), kind=Broken).train()
    except KeyboardInterrupt:
        scene.train(tiny_trainer(scene.folder, scene.callback(run="next")))


def alone(scene: Scene) -> None:
    """No exporter at the first training's resume."""
    how = {"save_strategy": "steps", "save_steps": 4}
    callback = scene.callback()
    tiny_trainer(scene.folder, callback, Patience(callback), **how).train()
    scene.note(saved=scene.carried("checkpoint-4"))
    nobody = tiny_trainer(scene.folder, scene.callback(url="http://127.0.0.1:9"), **how)
    scene.train(nobody, resume_from_checkpoint=str(scene.folder / "checkpoint-4"))
    scene.note(
        saved_again=scene.carried("checkpoint-8"),
        global_step=nobody.state.global_step,
        run_is_open=nobody.callback_handler.callbacks[1].run.active,
    )


class FaultyState(dict[str, Any]):
    """Breaks whatever reads it."""

    def get(self, *_: object) -> Any:
        raise RuntimeError("a fault")


def faulty(scene: Scene) -> None:
    callback = scene.callback(gpus=object(), planned_steps="many", energy_budget_kwh=float("nan"))
    callback._arguments = FaultyState()
    trainer = tiny_trainer(scene.folder, callback, save_strategy="steps", save_steps=4)
    trainer.train()
    scene.note(global_step=trainer.state.global_step)


def arguments(scene: Scene) -> None:
    """A callback's arguments beside those of joulestat.init, and its copy by the Trainer."""
    taken = [inspect.signature(callee).parameters for callee in (joulestat.init, JoulestatCallback)]
    scene.note(init=list(taken[0]), callback=list(taken[1]))
    odd = scene.callback(gpus=(0, 1), planned_steps=np.int64(5), job=Path("job"))
    copy = JoulestatCallback(**odd.state()["args"])
    scene.note(state=odd.state(), copied=copy.state())


def example(scene: Scene) -> None:
    """The script of the documentation, as it stands there."""
    os.environ["JOULESTAT_URL"] = scene.url
    scene.folder.mkdir()
    with contextlib.chdir(scene.folder):
        runpy.run_path(str(EXAMPLE), run_name="__main__")
    results = scene.folder / "out" / "train_results.json"
    scene.note(results=json.loads(results.read_text()))
    scene.note_pushes()


SCENES: dict[str, Callable[[Scene], None]] = {
    "arguments": arguments,
    "counts": counts,
    "attached": attached,
    "epochs": epochs,
    "best": best,
    "outside": outside,
    "smaller_batches": smaller_batches,
    "resumed": lambda scene: resumed(scene, restore=False),
    "restored": lambda scene: resumed(scene, restore=True),
    "added_later": added_later,
    "twice": twice,
    "interrupted": interrupted,
    "alone": alone,
    "faulty": faulty,
    "example": example,
}


def main(folder: Path, *names: str) -> None:
    noted = {name: Scene(folder / name).play(SCENES[name]) for name in names or SCENES}
    (folder / "scenes.json").write_text(json.dumps(noted, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
