"""A training with Lightning in a process of its own: to be killed, and to be resumed.

Sends one dictionary per event, with the CLOCK_MONOTONIC in ns at which it was.
"""

import os
import signal
import time
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from joulestat.lightning import JoulestatCallback

RUN = "lightning-e2e"
STEP_SECONDS = 0.05
SAVED, LOST, ALL = 60, 70, 140
"""Steps that are in the checkpoint, that the first process makes, and that are made in the end. An
answer may be as old as the exporter's last sample, so 1 % needs some seconds."""

RANKS_RUN = "lightning-ranks"
RANK_STEPS = 60


class Model(LightningModule):
    """Takes as long for a step as a GPU might."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)

    def training_step(self, batch: Any, index: int) -> Any:
        time.sleep(STEP_SECONDS)
        return self.layer(batch[0]).square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 1e-3)


class Watch(Callback):
    """Comes before the callback that is tested, and says when the training begins and ends."""

    def __init__(self, events: "Connection[Any, Any]") -> None:
        self.events = events
        self.step_ns = 0

    def tell(self, event: str, at_ns: int = 0, **more: object) -> None:
        self.events.send({"event": event, "at_ns": at_ns or time.monotonic_ns(), **more})

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.tell("began", step=trainer.global_step)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.step_ns = time.monotonic_ns()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.tell("trained")


class Fate(Callback):
    """Comes after it: saves at one step, and waits to be killed at another."""

    def __init__(self, watch: Watch, reporting: JoulestatCallback, path: Path) -> None:
        self.watch = watch
        self.reporting = reporting
        self.path = path

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if trainer.global_step not in (SAVED, LOST):
            return
        # What is saved and what is lost has to be known to a millisecond here, not to a second.
        self.reporting.run.flush()
        if trainer.global_step == SAVED:
            trainer.save_checkpoint(self.path)
            self.watch.tell("saved", self.watch.step_ns)
        else:
            self.watch.tell("lost", self.watch.step_ns)
            signal.pause()


def train(
    events: "Connection[Any, Any]", checkpoint: Path, gpus: tuple[str, ...], url: str
) -> None:
    """Train to the end from a checkpoint; where there is none, save one and wait to be killed."""
    warnings.simplefilter("ignore")
    resumes = checkpoint.exists()
    watch = Watch(events)
    reporting = JoulestatCallback(run=RUN, gpus=gpus, url=url)
    trainer = Trainer(
        accelerator="cpu",
        callbacks=[watch, reporting]
        if resumes
        else [watch, reporting, Fate(watch, reporting, checkpoint)],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        logger=False,
        max_epochs=-1,
        max_steps=ALL,
    )
    samples = torch.utils.data.TensorDataset(torch.ones(1000, 3))
    loader = torch.utils.data.DataLoader(samples, batch_size=4)
    trainer.fit(Model(), loader, ckpt_path=checkpoint if resumes else None)
    logged = {name: float(value) for name, value in trainer.logged_metrics.items()}
    watch.tell("ended", logged=logged, metrics=reporting.energy_metrics(), step=trainer.global_step)


def train_as_rank(
    rank: int, port: int, events: "Connection[Any, Any]", folder: Path, gpus: list[str], url: str
) -> None:
    """Train on two gloo ranks, and then once more from the checkpoint, in a second trainer."""
    warnings.simplefilter("ignore")
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "NODE_RANK": "0",
        "LOCAL_RANK": str(rank),
    }
    watch = Watch(events)
    checkpoint = None
    for steps in (RANK_STEPS, 2 * RANK_STEPS):
        reporting = JoulestatCallback(run=RANKS_RUN, gpus=[gpus[rank]], url=url)
        trainer = Trainer(
            accelerator="cpu",
            callbacks=[watch, reporting],
            devices=2,
            strategy="ddp",
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            logger=False,
            max_epochs=-1,
            max_steps=steps,
        )
        samples = torch.utils.data.TensorDataset(torch.ones(1000, 3))
        loader = torch.utils.data.DataLoader(samples, batch_size=4)
        trainer.fit(Model(), loader, ckpt_path=checkpoint)
        checkpoint = folder / "ranks.ckpt"
        trainer.save_checkpoint(checkpoint)
    logged = {name: float(value) for name, value in trainer.logged_metrics.items()}
    watch.tell("ended", logged=logged, rank=reporting.run.rank)
    events.close()
    torch.distributed.destroy_process_group()
