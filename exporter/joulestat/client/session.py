"""Runs that frameworks' callbacks have open: one per set of arguments in a process."""

from collections.abc import Mapping
from typing import Any

from joulestat.client.progress import Progress
from joulestat.client.run import Run
from joulestat.client.start import init
from joulestat.domain.run import Phase


class Session:
    """A run that is open, and where its framework is in it.

    Attributes:
        trains: Whether this is a training, and not an evaluation outside of one.
        owner: The callback that counts; a second one with the same arguments would count twice.
        attempt: The framework's object that is another one in every attempt at the training.
        substeps: Micro-batches so far of the step that is being made, its last one left out.
        tokens_seen: The framework's own count as of the last step.
        phase: The phase in force, None before the first.
    """

    def __init__(self, run: Run, owner: object, attempt: Any, *, trains: bool) -> None:
        self.run = run
        self.progress = Progress(run)
        self.trains = trains
        self.owner = owner
        self.attempt = attempt
        self.substeps = 0
        self.tokens_seen = 0
        self.phase: Phase | None = None
        self._evaluated = 0
        self._evaluated_last_time = 0

    def enter(self, phase: Phase) -> None:
        """Let a phase begin, unless it has."""
        if phase is not self.phase:
            self.phase = phase
            self.run.set_phase(phase)

    def begin_step(self) -> None:
        """Let a step begin, whatever came between."""
        if self._evaluated:
            self._evaluated, self._evaluated_last_time = 0, self._evaluated
        self.substeps = 0
        self.enter(Phase.TRAIN)

    def end_evaluation(self) -> bool:
        """Count an evaluation; tell whether none follows, as there was none the last time.

        Frameworks evaluate several sets of data one after the other, and say nothing before.
        """
        self._evaluated += 1
        return self._evaluated >= self._evaluated_last_time


class Sessions:
    """The sessions of this process, by their callback's arguments.

    The training's own thread calls it.
    """

    def __init__(self) -> None:
        self._open: dict[str, Session] = {}

    def get(self, key: str) -> Session | None:
        """Return an open session, None where there is none."""
        return self._open.get(key)

    def training(self, key: str) -> Session | None:
        """Return an open session that trains, None where there is none."""
        session = self._open.get(key)
        return session if session is not None and session.trains else None

    def begin(
        self,
        key: str,
        arguments: Mapping[str, Any],
        owner: object,
        attempt: Any,
        *,
        trains: bool,
    ) -> Session:
        """Open a session.

        Those of other attempts end: a training that was interrupted never says so, and would
        share the energy of the devices with this one.

        Args:
            key: Of the callback's arguments.
            arguments: Those of ``joulestat.init``.
            owner: The callback.
            attempt: See ``Session``.
            trains: See ``Session``.
        """
        for other, session in list(self._open.items()):
            if session.attempt is not attempt:
                self.end(other)
        session = self._open[key] = Session(init(**arguments), owner, attempt, trains=trains)
        return session

    def end(self, key: str, wait_seconds: float = 0.0) -> None:
        """End a session, if it is open, and wait at most this long for the exporter's answer."""
        session = self._open.pop(key, None)
        if session is not None:
            session.run.finish(wait_seconds)
