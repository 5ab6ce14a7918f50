"""The run that a framework's callback holds: it begins and ends with the framework's own work."""

from collections.abc import Mapping
from typing import Any

from joulestat.client.progress import Progress
from joulestat.client.run import Run
from joulestat.client.start import init
from joulestat.domain.run import Phase

FLUSH_SECONDS = 1.0


class HeldRun:
    """Begins a run as often as its framework begins to work, and carries its joules on.

    A callback is made long before there is anything to report, is copied and pickled by its
    framework, and may serve several times. So nothing is opened before ``begin``. A run that the
    training code made itself is used as it is, and left open.

    Attributes:
        run: The run that is held now, or was held last; inert before the first.
        begun: Whether one is held now.
    """

    def __init__(self, run: Run | str | None, about: Mapping[str, Any]) -> None:
        """Hold nothing yet.

        Args:
            run: A run to use, or the name of one to begin; None: its name is found out.
            about: Further arguments of ``joulestat.init``.
        """
        self._given = run if isinstance(run, Run) else None
        self._name = None if isinstance(run, Run) else run
        self._about = dict(about)
        self._carried: Mapping[str, Any] = {}
        self.begun = False
        self.run = self._given or Run.inert()
        self._progress = Progress(self.run)

    def begin(self, **found: Any) -> None:
        """Begin to report, unless that was done.

        Args:
            found: Arguments of ``joulestat.init`` as the framework knows them; what the caller of
                the callback said comes first, and None says nothing.
        """
        if self.begun:
            return
        known = {name: value for name, value in found.items() if value is not None}
        if self._given is None:
            self.run = init(self._name, **{**known, **self._about})
        self._progress = Progress(self.run)
        self.begun = True
        if self._carried:
            self._progress.load_state_dict(self._carried)

    def end(self) -> None:
        """End what ``begin`` began; wait at most 1 s for the exporter's last answer."""
        if not self.begun:
            return
        self.begun = False
        self.run.set_phase(Phase.OTHER)
        if self._given is None:
            self.run.finish()
        else:
            self.run.flush(FLUSH_SECONDS)
        self._carried = self._progress.state_dict()

    def count(self, n_steps: int, n_samples: int = 0, n_tokens: int = 0) -> None:
        """Count optimizer steps that ended just now, none included, and what went into them."""
        if n_steps <= 0:
            if n_samples or n_tokens:
                self.run.add(n_samples, n_tokens)
            return
        self._progress.step(n_samples, n_tokens)
        for _ in range(n_steps - 1):
            self._progress.step()

    def figures(self) -> dict[str, float]:
        """Return what a framework may log: scalars, in J; empty while nothing was heard."""
        return self._progress.logs()

    def results(self) -> dict[str, float]:
        """Return what belongs into the training's results; empty where nothing was heard."""
        return self._progress.results()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint should carry; empty before the first run and restore."""
        return dict(self._progress.state_dict() if self.begun else self._carried)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the joules go on from a checkpoint, at once or as soon as the run begins."""
        if self.begun:
            self._progress.load_state_dict(state)
        else:
            self._carried = dict(state)
