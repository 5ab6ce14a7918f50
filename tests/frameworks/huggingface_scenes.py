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
from pathlib import Path
from typing import Any

import numpy as np
from transformers import Trainer
from transformers.modelcard import TrainingSummary

import joulestat
from frameworks.huggingface_scene import Patience, Scene, Tracker
from frameworks.tiny_trainer import tiny_trainer
from joulestat.huggingface import JoulestatCallback

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "huggingface_trainer.py"


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


def several_sets(scene: Scene) -> None:
    sets = {"one": 4, "two": 8}
    scene.train(
        tiny_trainer(
            scene.folder, scene.callback(), evaluate=sets, eval_strategy="steps", eval_steps=2
        )
    )


class Copying(Trainer):
    """Logs a copy of what it is about to return, as some Trainers derived from it do."""

    def log(self, logs: dict[str, float], *more: Any) -> None:
        super().log({**logs}, *more)


def copied_logs(scene: Scene) -> None:
    callback = scene.callback()
    scene.train(tiny_trainer(scene.folder, callback, kind=Copying))
    scene.note(energy=callback.energy_metrics())


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
        scene.folder, Tracker(), restore_callback_states_from_checkpoint=restore, **how
    )
    attached = scene.callback().attach(again)
    scene.train(again, resume_from_checkpoint=str(scene.folder / "checkpoint-8"))
    callbacks = again.callback_handler.callbacks
    scene.note(saved_state=scene.carried(), order=[type(each).__name__ for each in callbacks])
    scene.note(replaced=attached not in callbacks)


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
    "several_sets": several_sets,
    "copied_logs": copied_logs,
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
