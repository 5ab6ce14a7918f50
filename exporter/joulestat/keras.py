"""The callback for Keras 3, whatever its backend."""

from typing import Any

from keras.callbacks import Callback

from joulestat.client.held_run import HeldRun
from joulestat.client.notices import harmless, nothing
from joulestat.client.run import Run
from joulestat.domain.run import Phase


class JoulestatCallback(Callback):
    """Reports a training to the exporter on this host, and logs its joules.

    ``model.fit(x, y, callbacks=[JoulestatCallback(run="mnist-7", team="vision")])``

    Steps are those of ``optimizer.iterations``, so accumulated gradients count once, and so does
    each of the steps of one execution. Validation, ``evaluate`` and ``predict`` are the phase
    eval, with a step for each batch.

    At the end of an epoch ``energy_joules`` and ``energy_joules_per_step`` of this node join the
    logs, once they are known; callbacks that come later in the list see them, and so does the
    history.

    No hook raises, and none waits but the last one: at most 1 s, for the final joules.
    """

    def __init__(
        self, run: Run | str | None = None, *, batch_size: int | None = None, **about: Any
    ) -> None:
        """Open nothing yet.

        Args:
            run: The run's name, or a run that ``joulestat.init`` made; None: see there.
            batch_size: Samples of a batch, which Keras does not tell; None: samples are unknown.
            about: Further arguments of ``joulestat.init``. The planned steps are those of ``fit``
                unless given.
        """
        super().__init__()
        self._held = HeldRun(run, {"framework": "keras", **about})
        self._batch_size = batch_size or 0
        self._fitting = False
        self._first_iteration: int | None = None
        # All since the training began: counted steps and batches, batches of the epochs that are
        # over, batches that are computed or being computed.
        self._steps = 0
        self._batches = 0
        self._epochs_batches = 0
        self._begun_batches = 0
        # Of one evaluation: batches that are over, and with those that are being computed.
        self._evaluated = 0
        self._evaluating = 0

    @property
    def run(self) -> Run:
        """The run that is reported, or was last; inert before the training begins."""
        return self._held.run

    def energy_metrics(self) -> dict[str, float]:
        """Return the joules of the training, after ``fit`` the final ones; empty where unknown."""
        return self._held.results()

    @harmless(nothing)
    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        """Begin to report."""
        self._fitting = True
        self._steps = self._epochs_batches = self._batches = self._begun_batches = 0
        self._first_iteration = self._iterations()
        self._held.begin(planned_steps=self._planned_steps())
        self.run.set_phase(Phase.TRAIN)

    @harmless(nothing)
    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Count the batches before this one.

        Here and not at a batch's end: with a callback there Keras would give up handing batches
        on without waiting for the device.
        """
        before = self._epochs_batches + batch
        self._count(before, before // self._batches_per_step())
        begun = batch + self._per_execution()
        self._begun_batches = self._epochs_batches + min(begun, self._parameter("steps") or begun)

    @harmless(nothing)
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Count the rest of the epoch, and log the joules until now."""
        self._settle()
        self._epochs_batches = self._batches
        if isinstance(logs, dict):
            logs.update(self._held.figures())

    @harmless(nothing)
    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002
        """End the report."""
        self._fitting = False
        self._held.end()

    @harmless(nothing)
    def on_test_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        """Begin an evaluation, inside of a training or by itself."""
        self._begin_evaluation()

    @harmless(nothing)
    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Count the batches before this one, as steps of the evaluation."""
        self._count_evaluated(batch)

    @harmless(nothing)
    def on_test_end(self, logs: Any = None) -> None:  # noqa: ARG002
        """Go back to training, or end the report."""
        self._end_evaluation()

    @harmless(nothing)
    def on_predict_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        """Begin a prediction, which counts as an evaluation."""
        self._begin_evaluation()

    @harmless(nothing)
    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Count the batches before this one, as steps of the evaluation."""
        self._count_evaluated(batch)

    @harmless(nothing)
    def on_predict_end(self, logs: Any = None) -> None:  # noqa: ARG002
        """Go back to training, or end the report."""
        self._end_evaluation()

    def _begin_evaluation(self) -> None:
        if self._fitting:
            self._settle()
        else:
            self._held.begin()
        self._evaluated = self._evaluating = 0
        self.run.set_phase(Phase.EVAL)

    def _count_evaluated(self, batches: int) -> None:
        for _ in range(batches - self._evaluated):
            self.run.step(n_samples=self._batch_size)
        self._evaluated = batches
        self._evaluating = batches + self._per_execution()

    def _end_evaluation(self) -> None:
        self._count_evaluated(self._evaluating)
        if self._fitting:
            self.run.set_phase(Phase.TRAIN)
        else:
            self._held.end()

    def _settle(self) -> None:
        """Count to the end of what was begun: the optimizer itself is asked now.

        Not at every batch, because that would wait for the device. Between epochs Keras itself
        has just done so.
        """
        batches, iterations = self._begun_batches, self._iterations()
        per_step = self._batches_per_step()
        steps = batches // per_step
        if iterations is not None and self._first_iteration is not None:
            steps = iterations - self._first_iteration
            # The last execution of an epoch may have come to the end of its batches.
            batches = min(batches, (steps + 1) * per_step - 1)
        self._count(batches, steps)

    def _count(self, batches: int, steps: int) -> None:
        """Count what was done since the last time; both numbers are since the training began."""
        new_batches, new_steps = max(0, batches - self._batches), max(0, steps - self._steps)
        self._batches += new_batches
        self._steps += new_steps
        self._held.count(new_steps, n_samples=new_batches * self._batch_size)

    def _iterations(self) -> int | None:
        """Return the optimizer's steps; None where the model has none that counts."""
        try:
            return int(self._optimizer().iterations)
        except Exception:  # noqa: BLE001 - a training loop of the user's own may use anything
            return None

    def _batches_per_step(self) -> int:
        return getattr(self._optimizer(), "gradient_accumulation_steps", None) or 1

    def _per_execution(self) -> int:
        return getattr(self._model, "steps_per_execution", None) or 1

    def _optimizer(self) -> Any:
        # Not by way of ``self.model``: on JAX that gathers all variables first, at every call.
        model = getattr(self._model, "module", self._model)  # PyTorch's DDP wraps it
        return getattr(model, "optimizer", None)

    def _planned_steps(self) -> int | None:
        epochs, batches = self._parameter("epochs"), self._parameter("steps")
        return epochs * batches // self._batches_per_step() if epochs and batches else None

    def _parameter(self, name: str) -> int | None:
        """Return what ``fit`` told its callbacks, None where it did not know."""
        value = (self.params or {}).get(name)
        return value if isinstance(value, int) else None
