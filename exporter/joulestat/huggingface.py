"""A callback for the Hugging Face Trainer: counts its steps, follows its phases, logs joules."""

import json
from collections.abc import Sequence
from typing import Any, Self
from weakref import WeakSet

from transformers.trainer_callback import DefaultFlowCallback, ExportableState, TrainerCallback

from joulestat.client import carried
from joulestat.client.notices import harmless, nothing
from joulestat.client.progress import NO_PAST
from joulestat.client.run import FINISH_SECONDS, Run
from joulestat.client.session import Session, Sessions
from joulestat.client.start import AUTO
from joulestat.domain.run import Phase

GPU_LIST = "energy_consumption_joules_gpu"
"""Key of the list of J in a training's results: one per GPU, in the order of their UUIDs."""


class _Numbers(list[float]):
    """A list that can stand in a column of text, which the Trainer's ``log_metrics`` prints."""

    def __str__(self) -> str:
        return f"[{', '.join(f'{joules:.1f}' for joules in self)}]"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


_sessions = Sessions()
_leading: WeakSet[Any] = WeakSet()
"""Callback handlers of the Trainers in which the callback is to stay before the trackers."""


class JoulestatCallback(TrainerCallback, ExportableState):
    """Reports what a Trainer does and takes: ``Trainer(..., callbacks=[JoulestatCallback()])``.

    Takes the arguments of ``joulestat.init``; planned_steps=None: as many as the Trainer plans.
    The run is opened as a training begins, and ends with it. No hook raises, and none waits but
    the last log's, at most 1 s, for the last joules. See ``docs/training/huggingface.md``.

    Attributes:
        checkpoint: What the last checkpoint carried: joules by GPU UUID, and steps.
    """

    def __init__(
        self,
        run: str | None = None,
        *,
        gpus: str | int | Sequence[str | int] = AUTO,
        rank: int | None = None,
        job: str | None = None,
        user: str | None = None,
        team: str | None = None,
        framework: str | None = "transformers",
        planned_steps: int | None = None,
        energy_budget_kwh: float | None = None,
        energy_budget_joules: float | None = None,
        url: str | None = None,
        sync_every: int | None = None,
        sync_probes_only: bool = False,
    ) -> None:
        # The Trainer writes them into its checkpoints, and makes copies of a callback with them.
        self._arguments = carried.as_json(
            {
                "run": run,
                "gpus": gpus,
                "rank": rank,
                "job": job,
                "user": user,
                "team": team,
                "framework": framework,
                "planned_steps": planned_steps,
                "energy_budget_kwh": energy_budget_kwh,
                "energy_budget_joules": energy_budget_joules,
                "url": url,
                "sync_every": sync_every,
                "sync_probes_only": sync_probes_only,
            }
        )
        self._key = json.dumps(self._arguments)
        self._said: carried.Entry | None = None
        self._results: dict[str, Any] = {}
        self._last_logs: dict[str, Any] | None = None
        self.checkpoint: dict[str, object] | None = None

    @property
    def run(self) -> Run:
        """The run that is open now, else an inert one."""
        session = _sessions.get(self._key)
        return session.run if session else Run.inert()

    def attach(self, trainer: Any) -> Self:
        """Add the callback to a Trainer before its trackers, so that they show the joules, too.

        Through ``Trainer(callbacks=...)`` it comes after W&B, TensorBoard and the like, which have
        then logged before it adds anything. Where it is there already it moves.
        """
        _put_first(self, trainer.callback_handler)
        _leading.add(trainer.callback_handler)
        return self

    def energy_metrics(self) -> dict[str, Any]:
        """Return what the last training's results say of energy; empty where that is unknown."""
        return dict(self._results)

    @harmless(dict[str, Any])
    def state(self) -> carried.Entry:
        """Return what a checkpoint carries: plain JSON; no input, no output, no collective."""
        session = _sessions.training(self._key)
        if session is not None:
            self.checkpoint = session.progress.state_dict()
            entries = session.attempt.stateful_callbacks.get(type(self).__name__)
            carried.remove_entry(entries, self._arguments)
        self._said = carried.entry_of(self._arguments, self.checkpoint)
        return self._said

    @harmless(nothing)
    def on_train_begin(self, args: Any, state: Any, *_: object, **__: object) -> None:
        """Open the run, or go on with it in a training's next attempt."""
        name, said = type(self).__name__, self._said
        entry = carried.find_entry(state.stateful_callbacks.get(name), self._arguments)
        # Before all that may fail: without an entry the Trainer could not save a checkpoint.
        state.stateful_callbacks.setdefault(name, self.state())
        self._results, self._last_logs = {}, None
        for handler in _leading:
            if self in handler.callbacks:
                _put_first(self, handler)
        session = _sessions.training(self._key)
        if session is not None and session.attempt is state:
            return  # a second callback with the same arguments
        past = carried.checkpoint_in(entry) or NO_PAST
        if entry is said and (state.is_hyper_param_search or not _is_owner(self, session)):
            past = NO_PAST  # another model: a new trial, or a new Trainer after an interrupted one
        if session is None:
            session = self._open(state, trains=True)
            session.progress.load_state_dict(past)
        elif entry is not said or past is NO_PAST:
            # Else this is the next attempt, and the run knows more than it said a moment ago.
            session.progress.load_state_dict(past)
        session.owner, session.attempt = self, state
        session.tokens_seen = state.num_input_tokens_seen
        session.enter(Phase.EVAL if args.eval_on_start else Phase.TRAIN)

    @harmless(nothing)
    def on_step_begin(self, *_: object, **__: object) -> None:
        """Go back to training, whatever came between."""
        session = self._session()
        if session is not None:
            session.begin_step()

    @harmless(nothing)
    def on_substep_end(self, *_: object, **__: object) -> None:
        """Count a micro-batch that is not its step's last."""
        session = self._session()
        if session is not None:
            session.substeps += 1

    @harmless(nothing)
    def on_step_end(self, args: Any, state: Any, control: Any, **_: object) -> None:
        """Count an optimizer step; what comes next is known already."""
        session = self._session()
        if session is None:
            return
        # Gathered over all ranks by the Trainer, so one rank alone may report them.
        seen = state.num_input_tokens_seen
        tokens = seen - session.tokens_seen if session.run.rank == 0 else 0
        session.tokens_seen = seen
        # A resumed state holds the batch size of then.
        batch_size = state.train_batch_size if args.auto_find_batch_size else args.train_batch_size
        session.progress.step((session.substeps + 1) * batch_size, max(0, tokens))
        session.substeps = 0
        session.enter(_next_phase(control))

    @harmless(nothing)
    def on_epoch_end(self, _: Any, __: Any, control: Any, **___: object) -> None:
        """Follow what was planned for the end of an epoch."""
        session = self._session()
        if session is not None:
            session.enter(_next_phase(control))

    @harmless(nothing)
    def on_prediction_step(self, _: Any, state: Any, *__: object, **___: object) -> None:
        """Count a batch of an evaluation; one that nobody announced begins with its first."""
        if _sessions.get(self._key) is None:
            self._open(state, trains=False)
        session = self._session()
        if session is None:
            return
        if session.phase is Phase.EVAL:
            session.run.step()
        session.enter(Phase.EVAL)

    @harmless(nothing)
    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Any = None, **_: object
    ) -> None:
        """Leave an evaluation."""
        best = args.save_strategy == "best" and _is_best(args, state, metrics)
        self._leave_evaluation(Phase.CHECKPOINT if best else _next_phase(control))

    @harmless(nothing)
    def on_predict(self, _: Any, __: Any, control: Any, **___: object) -> None:
        """Leave a prediction."""
        self._leave_evaluation(_next_phase(control))

    @harmless(nothing)
    def on_save(self, *_: object, **__: object) -> None:
        """Leave a checkpoint."""
        session = self._session()
        if session is not None:
            session.enter(Phase.TRAIN)

    @harmless(nothing)
    def on_log(self, _: Any, state: Any, __: Any, logs: Any = None, **___: object) -> None:
        """Add joules to a training's logs; its last one ends the run and has all of them."""
        session = self._session()
        if session is None or not session.trains or not logs:
            return
        last = "train_loss" in logs
        if last:
            session.run.finish(FINISH_SECONDS if state.is_world_process_zero else 0.0)
        if not state.is_world_process_zero or not (last or "loss" in logs):
            return
        joules = session.progress.results() if last else session.progress.logs()
        logs.update(joules)
        if state.log_history and state.log_history[-1].get("step") == state.global_step:
            state.log_history[-1].update(joules)
        if last and joules:
            # The list comes at the end: trackers take numbers alone, and warn of anything else.
            by_gpu = _Numbers(session.progress.joules_by_gpu().values())
            self._results = {**joules, GPU_LIST: by_gpu}
            self._last_logs = logs

    @harmless(nothing)
    def on_train_end(self, _: Any, state: Any, *__: object, **___: object) -> None:
        """End the run, if its last log has not, and leave its joules in state and results."""
        if self._session() is None:
            return
        if self._last_logs is not None:
            # The same dictionary becomes the metrics that train() returns.
            self._last_logs[GPU_LIST] = self._results[GPU_LIST]
            self._last_logs = None
        # The Trainer's save_state() would write what the last checkpoint said.
        carried.put_entry(state.stateful_callbacks, type(self).__name__, self.state())
        _sessions.end(self._key)

    def _session(self) -> Session | None:
        """Return the open session, if this is the callback that counts in it."""
        session = _sessions.get(self._key)
        return session if session is not None and session.owner is self else None

    def _open(self, state: Any, *, trains: bool) -> Session:
        arguments = dict(self._arguments)
        if arguments["planned_steps"] is None and state.max_steps > 0:
            arguments["planned_steps"] = state.max_steps
        return _sessions.begin(self._key, arguments, self, state, trains=trains)

    def _leave_evaluation(self, phase: Phase) -> None:
        session = self._session()
        if session is not None and not session.trains:
            _sessions.end(self._key)
        elif session is not None and session.end_evaluation():
            session.enter(phase)


def _is_owner(callback: JoulestatCallback, session: Session | None) -> bool:
    return session is None or session.owner is callback


def _next_phase(control: Any) -> Phase:
    if control.should_evaluate:
        return Phase.EVAL
    return Phase.CHECKPOINT if control.should_save else Phase.TRAIN


def _is_best(args: Any, state: Any, metrics: Any) -> bool:
    """Tell whether the Trainer is about to save a model as the best one so far."""
    name = args.metric_for_best_model
    value = metrics.get(name if name.startswith("eval_") else f"eval_{name}")
    if value is None or state.best_metric is None:
        return value is not None
    return bool(value > state.best_metric if args.greater_is_better else value < state.best_metric)


def _put_first(callback: JoulestatCallback, handler: Any) -> None:
    """Move a callback to right behind the one that decides what comes next.

    Also while the handler walks through its callbacks: what it has yet to come to stays in place.
    """
    callbacks = handler.callbacks
    if callback in callbacks:
        callbacks.remove(callback)
    flow = [isinstance(each, DefaultFlowCallback) for each in callbacks]
    callbacks.insert(flow.index(True) + 1 if True in flow else 0, callback)
