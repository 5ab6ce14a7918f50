"""The callback for PyTorch Lightning, as ``lightning`` and as ``pytorch_lightning``."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from joulestat.client.batches import batch_counts
from joulestat.client.held_run import HeldRun
from joulestat.client.notices import harmless, nothing
from joulestat.client.run import Run
from joulestat.domain.run import Phase


class _Missing:
    """Stands for a package that is not installed."""


# One project under two names, often both installed. A trainer takes only callbacks of its own
# package, and nobody can know here which trainer it will be: so this one is a callback of both.
try:
    from lightning.pytorch.callbacks import Callback as _Lightning
except ImportError:
    _Lightning = type("_Lightning", (_Missing,), {})
try:
    from pytorch_lightning.callbacks import Callback as _PytorchLightning
except ImportError:
    _PytorchLightning = type("_PytorchLightning", (_Missing,), {})
if all(issubclass(base, _Missing) for base in (_Lightning, _PytorchLightning)):
    raise ImportError("joulestat.lightning needs Lightning: pip install lightning")


class JoulestatCallback(_Lightning, _PytorchLightning):
    """Reports a training to the exporter on this host, and logs its joules.

    ``Trainer(callbacks=[JoulestatCallback(run="llama-ft-42", team="nlp")])``

    Steps are those of ``trainer.global_step``, so accumulated gradients count once. Phases are
    train, eval (validation, test, prediction: a batch is a step) and checkpoint; the sanity check
    is before the training.

    The joules are part of every checkpoint and go on from it. Each time the trainer writes to its
    loggers it also writes ``energy_joules`` and ``energy_joules_per_step``, of this node, once
    they are known.

    No hook raises, and none waits but the last one: at most 1 s, for the final joules.
    """

    def __init__(
        self,
        run: Run | str | None = None,
        *,
        counts: Callable[[Any], tuple[int, int]] = batch_counts,
        **about: Any,
    ) -> None:
        """Open nothing yet.

        Args:
            run: The run's name, or a run that ``joulestat.init`` made; None: see there.
            counts: Returns a batch's samples and tokens.
            about: Further arguments of ``joulestat.init``. The rank and the planned steps are the
                trainer's unless given.
        """
        super().__init__()
        self._held = HeldRun(run, {"framework": "lightning", **about})
        self._counts = counts
        self._counted_steps = 0
        self._checkpointing = False

    @property
    def run(self) -> Run:
        """The run that is reported, or was last; inert before the training begins."""
        return self._held.run

    def energy_metrics(self) -> dict[str, float]:
        """Return the joules of the training, after ``fit`` the final ones; empty where unknown."""
        return self._held.results()

    @harmless(nothing)
    def on_train_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        """Begin to report. Whatever is restored from a checkpoint is restored by now."""
        self._held.begin(rank=trainer.global_rank, planned_steps=_planned_steps(trainer))
        self._counted_steps = trainer.global_step
        self._checkpointing = False
        self.run.set_phase(Phase.TRAIN)

    @harmless(nothing)
    def on_train_batch_start(
        self,
        trainer: Any,  # noqa: ARG002
        pl_module: Any,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """End the checkpoint before, if there was one: no hook tells when it is written."""
        self._end_checkpoint()

    @harmless(nothing)
    def on_train_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Any,  # noqa: ARG002
        batch: Any,
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Count a batch, and the optimizer step if it made one."""
        n_samples, n_tokens = self._size(batch)
        n_steps = trainer.global_step - self._counted_steps
        self._counted_steps += n_steps
        self._held.count(n_steps, n_samples, n_tokens)
        if n_steps and _logs_now(trainer):
            for name, joules in _tensors(self._held.figures()).items():
                pl_module.log(name, joules, on_step=True, on_epoch=False, batch_size=1)

    @harmless(nothing)
    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        """End a checkpoint from the epoch's middle: what is saved now comes behind this."""
        self._end_checkpoint()

    @harmless(nothing)
    def on_train_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        """End the report, and log what the training took in all."""
        self._held.end()
        figures = self._held.figures()
        if not figures or not trainer.is_global_zero or trainer.barebones:
            return
        for shown in (trainer.callback_metrics, trainer.logged_metrics):
            shown.update(_tensors(figures))
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=trainer.global_step)

    @harmless(nothing)
    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        """Begin an evaluation, inside of a training or by itself."""
        self._begin_evaluation(trainer)

    @harmless(nothing)
    def on_validation_batch_end(self, trainer: Any, *hook: Any, **_: Any) -> None:
        """Count a batch as a step of the evaluation."""
        self._count_evaluated(trainer, hook)

    @harmless(nothing)
    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        """Go back to training, or end the report."""
        self._end_evaluation(trainer)

    @harmless(nothing)
    def on_test_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        """Begin an evaluation by itself."""
        self._begin_evaluation(trainer)

    @harmless(nothing)
    def on_test_batch_end(self, trainer: Any, *hook: Any, **_: Any) -> None:
        """Count a batch as a step of the evaluation."""
        self._count_evaluated(trainer, hook)

    @harmless(nothing)
    def on_test_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        """End the report."""
        self._end_evaluation(trainer)

    @harmless(nothing)
    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        """Begin a prediction, which counts as an evaluation."""
        self._begin_evaluation(trainer)

    @harmless(nothing)
    def on_predict_batch_end(self, trainer: Any, *hook: Any, **_: Any) -> None:
        """Count a batch as a step of the evaluation."""
        self._count_evaluated(trainer, hook)

    @harmless(nothing)
    def on_predict_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        """End the report."""
        self._end_evaluation(trainer)

    @harmless(nothing)
    def on_exception(
        self,
        trainer: Any,  # noqa: ARG002
        pl_module: Any,  # noqa: ARG002
        exception: BaseException,  # noqa: ARG002
    ) -> None:
        """End the report: the trainer calls no other hook afterwards."""
        self._held.end()

    @harmless(nothing)
    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:  # noqa: ARG002
        """End the report, however the trainer came here."""
        self._held.end()

    @harmless(nothing)
    def on_save_checkpoint(
        self,
        trainer: Any,  # noqa: ARG002
        pl_module: Any,  # noqa: ARG002
        checkpoint: dict[str, Any],  # noqa: ARG002
    ) -> None:
        """Begin the phase in which a checkpoint is written, unless nothing is trained now."""
        if self._held.begun:
            self._checkpointing = True
            self.run.set_phase(Phase.CHECKPOINT)

    @harmless(dict[str, Any])
    def state_dict(self) -> dict[str, Any]:
        """Return the joules until now, for the checkpoint; no input or output, no collective."""
        return self._held.state_dict()

    @harmless(nothing)
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Let the joules go on from a checkpoint: on rank 0 alone, whoever is asked."""
        self._held.load_state_dict(state_dict)

    def _begin_evaluation(self, trainer: Any) -> None:
        if trainer.sanity_checking:
            return
        if not _is_fitting(trainer):
            self._held.begin(rank=trainer.global_rank)
        self._checkpointing = False
        self.run.set_phase(Phase.EVAL)

    def _end_evaluation(self, trainer: Any) -> None:
        if trainer.sanity_checking:
            return
        if _is_fitting(trainer):
            self.run.set_phase(Phase.TRAIN)
        else:
            self._held.end()

    def _count_evaluated(self, trainer: Any, hook: Sequence[Any]) -> None:
        """Count a batch; ``hook`` are the module, the outputs, the batch and its indices."""
        if not trainer.sanity_checking:
            self.run.step(*self._size(hook[2]))

    @harmless(lambda: (0, 0))
    def _size(self, batch: Any) -> tuple[int, int]:
        # By itself: a step counts, whatever its batch is.
        n_samples, n_tokens = self._counts(batch)
        return n_samples, n_tokens

    def _end_checkpoint(self) -> None:
        if self._checkpointing:
            self._checkpointing = False
            self.run.set_phase(Phase.TRAIN)


def _is_fitting(trainer: Any) -> bool:
    return bool(trainer.state.fn == "fit")


def _planned_steps(trainer: Any) -> int | None:
    """Return how many steps the whole training has, those before a checkpoint included."""
    try:
        steps = trainer.estimated_stepping_batches
    except Exception:  # noqa: BLE001 - some trainers cannot tell, and say so in several ways
        return None
    return int(steps) if 0 < steps < float("inf") else None


def _logs_now(trainer: Any) -> bool:
    """Tell whether the trainer is about to write to its loggers, and these joules with the rest."""
    if not trainer.is_global_zero or trainer.barebones or not trainer.log_every_n_steps:
        return False
    return bool(trainer.global_step % trainer.log_every_n_steps == 0)


def _tensors(figures: Mapping[str, float]) -> dict[str, torch.Tensor]:
    """Return figures as Lightning keeps them; on the CPU, so that no GPU is waited for."""
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in figures.items()}
