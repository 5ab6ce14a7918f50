"""A training as anybody would write it, slowed down, that notes when it did what.

Run as ``python -m frameworks.huggingface_training``, or with torchrun. The notes are made around
the Trainer's own methods, not in the callback, and are the truth that the joules must agree with.
"""

import argparse
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback

from frameworks.tiny_trainer import tiny_trainer
from joulestat.huggingface import JoulestatCallback

BATCH_SECONDS = 0.08
EVALUATED_BATCH_SECONDS = 0.2
UPLOAD_SECONDS = 0.5
"""After a checkpoint is written: what uploading it, or deleting an old one, takes."""

SAVE_STEPS = 30


class Notes:
    """Lines of JSON, each on disk before the next thing happens: the process may be killed."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a")

    def write(self, what: str, at_ns: int, **more: Any) -> None:
        self._file.write(json.dumps({"what": what, "at_ns": at_ns, **more}) + "\n")
        self._file.flush()


class NotingTrainer(Trainer):
    """Takes its time, and notes when its evaluations and checkpoints begin and end."""

    notes: Notes

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        time.sleep(BATCH_SECONDS)
        return super().training_step(*args, **kwargs)

    def prediction_step(self, *args: Any, **kwargs: Any) -> Any:
        time.sleep(EVALUATED_BATCH_SECONDS)
        return super().prediction_step(*args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        self.notes.write("eval begins", time.monotonic_ns())
        metrics = super().evaluate(*args, **kwargs)
        self.notes.write("eval ends", time.monotonic_ns())
        return metrics

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        self.notes.write("checkpoint begins", time.monotonic_ns(), step=self.state.global_step)
        super()._save_checkpoint(*args, **kwargs)
        time.sleep(UPLOAD_SECONDS)
        self.notes.write("checkpoint ends", time.monotonic_ns())


class Ends(TrainerCallback):
    """Notes beginning and end, and kills the process in a step if asked to."""

    def __init__(self, notes: Notes, reporting: JoulestatCallback, kill_at_step: int) -> None:
        self._notes = notes
        self._reporting = reporting
        self._kill_at_step = kill_at_step

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._notes.write("begins", time.monotonic_ns())

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self._kill_at_step:
            # What follows the last push of a killed process is nobody's.
            self._notes.write("killed", time.monotonic_ns(), step=state.global_step)
            assert self._reporting.run.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if control.should_evaluate:
            self._notes.write("eval due", time.monotonic_ns())

    def on_evaluate(self, *_: Any, **__: Any) -> None:
        self._notes.write("eval over", time.monotonic_ns())

    def on_save(self, *_: Any, **__: Any) -> None:
        self._notes.write("saved", time.monotonic_ns())

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "train_loss" in logs:
            self._notes.write("ends", time.monotonic_ns(), step=state.global_step)


def main() -> None:
    """Train, and leave train_results.json and notes-RANK.jsonl in the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--gpus", default="auto")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--resume-from", default=None)
    parser.add_argument("--kill-at-step", type=int, default=-1)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    notes = Notes(asked.folder / f"notes-{os.environ.get('RANK', '0')}.jsonl")
    reporting = JoulestatCallback(run=asked.name, gpus=asked.gpus)
    trainer = tiny_trainer(
        asked.folder,
        Ends(notes, reporting, asked.kill_at_step),
        reporting,
        kind=NotingTrainer,
        train=400,
        evaluate=6,
        max_steps=asked.steps,
        gradient_accumulation_steps=2,
        eval_strategy="steps",
        eval_steps=SAVE_STEPS,
        save_strategy="steps",
        save_steps=SAVE_STEPS,
    )
    trainer.notes = notes
    metrics = trainer.train(resume_from_checkpoint=asked.resume_from).metrics
    trainer.save_metrics("train", metrics)


if __name__ == "__main__":
    main()
