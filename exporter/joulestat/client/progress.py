"""Steps and joules of one training over all the processes it took, for frameworks' callbacks."""

from collections.abc import Mapping

from joulestat.client.arguments import MAX_COUNT
from joulestat.client.run import Run

_STEPS = "steps"

NO_PAST: Mapping[str, object] = {"energy_joules": {}, _STEPS: 0}
"""The state of a model that nothing was spent on yet."""


class Progress:
    """Counts a run's training steps beside the joules that they took.

    The exporter's answers are about a second old. Joules per step are those of an answer over the
    steps made by then, so that neither its age nor an exporter that is away makes them wrong.

    The training's own thread calls it.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._answered = False
        self._restored_steps = 0
        self._steps = 0
        self._covered_steps = 0
        self._joules: Mapping[str, float] = {}

    def step(self, n_samples: int = 0, n_tokens: int = 0) -> None:
        """Count an optimizer step, as ``Run.step`` does."""
        self._run.step(n_samples, n_tokens)
        self._steps += 1
        self._look()

    def joules_by_gpu(self) -> dict[str, float]:
        """Return J by GPU UUID that the model as it now stands took on this node.

        In the order of the UUIDs, which is the same after every resume. Empty where the exporter
        has said nothing in this process: then nobody knows.
        """
        self._look()
        return dict(sorted(self._joules.items())) if self._run.energy_joules() else {}

    def logs(self) -> dict[str, float]:
        """Return what a tracker should show as the training goes on; empty where unknown."""
        joules = sum(self.joules_by_gpu().values())
        if not joules:
            return {}
        logs = {"energy_joules": joules}
        if self._covered_steps:
            logs["energy_joules_per_step"] = joules / self._covered_steps
        return logs

    def results(self) -> dict[str, float]:
        """Return what belongs into a training's results; empty where unknown.

        ``energy_joules`` is what the model took, over all its processes; ``energy_steps`` how many
        optimizer steps that covers; ``energy_spent_joules`` everything that the run took on this
        node, work lost after a checkpoint included.
        """
        logs = self.logs()
        if not logs:
            return {}
        spent_joules = sum(self._run.energy_joules().values())
        return {**logs, "energy_steps": self._covered_steps, "energy_spent_joules": spent_joules}

    def state_dict(self) -> dict[str, object]:
        """Return what a checkpoint should carry: plain JSON, no input or output, no collective."""
        self._look()
        return {**self._run.state_dict(), _STEPS: self._covered_steps}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Let joules and steps go on from a checkpoint; on rank 0 alone, as ``Run`` does."""
        self._run.load_state_dict(state)
        steps = state.get(_STEPS) if self._run.rank == 0 else None
        known = isinstance(steps, int) and 0 <= steps <= MAX_COUNT
        self._restored_steps = self._steps = steps if known and isinstance(steps, int) else 0
        self._covered_steps = self._steps
        self._joules = self._run.lineage_joules()

    def _look(self) -> None:
        """Take over what the exporter has answered meanwhile."""
        if not self._run.answered:
            return
        if not self._answered:
            self._answered = True
            if self._run.answered_late:
                self._steps = self._restored_steps
        joules = self._run.lineage_joules()
        if joules != self._joules:
            self._joules, self._covered_steps = joules, self._steps
