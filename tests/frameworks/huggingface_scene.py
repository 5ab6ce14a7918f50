"""A short training of the Trainer's, its scripted exporter, and what is noted of both."""

import json
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback

from fakes.patience import client_threads, eventually
from fakes.scripted_server import Json, ScriptedExporter, ScriptedServer
from joulestat.huggingface import JoulestatCallback

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
        # What every script of Transformers' examples does next.
        trainer.log_metrics("train", metrics)
        trainer.save_metrics("train", metrics)
        trainer.save_state()
        self.note_pushes()
        self.note(metrics=metrics, history=trainer.state.log_history)
        return metrics

    def note_pushes(self) -> None:
        """Note what was pushed, the last push of every run included."""
        assert eventually(lambda: client_threads() == [])
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
