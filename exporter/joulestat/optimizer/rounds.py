"""One round of the optimizer: read, decide and, if asked, publish, run by run."""

from collections.abc import Sequence
from dataclasses import dataclass

from joulestat.domain.errors import HistoryError
from joulestat.domain.plan import Decision
from joulestat.optimizer.evidence.profile import Minimum, build_profile
from joulestat.optimizer.history.facts import RunHistory
from joulestat.optimizer.history.prometheus import PrometheusHistory
from joulestat.optimizer.publish import LeasePublisher, Published
from joulestat.optimizer.search.choose import choose
from joulestat.optimizer.search.objective import Objective


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about every run.

    Attributes:
        objective: What "best" means.
        minimum: The least evidence that counts as a measurement.
        window_seconds: How far back to look; None for the whole run.
        explore: Whether limits may be tried only to measure them.
    """

    objective: Objective
    minimum: Minimum
    window_seconds: float | None = None
    explore: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a round brought for one run.

    Attributes:
        run: Which run.
        decision: None where the history could not be read.
        published: None where nothing was to be published.
        errors: What went wrong, for people; empty if all is well.
    """

    run: str
    decision: Decision | None = None
    published: Published | None = None
    errors: tuple[str, ...] = ()


class Optimizer:
    """Answers one question about runs, each time from their whole history."""

    def __init__(
        self, reader: PrometheusHistory, question: Question, publisher: LeasePublisher | None = None
    ) -> None:
        """Decide, and publish only where there is a publisher."""
        self._reader = reader
        self._question = question
        self._publisher = publisher

    def round(
        self, runs: Sequence[str] | None = None, at_seconds: float | None = None
    ) -> list[Outcome]:
        """Decide about each run as of a moment. One run's failure is no other's.

        Args:
            runs: Names; None for all runs that are shown at the moment.
            at_seconds: Unix time; None for now, by Prometheus' clock.

        Raises:
            HistoryError: The time or the list of runs could not be read.
        """
        at_seconds = self._reader.now_seconds() if at_seconds is None else at_seconds
        names = self._reader.runs(at_seconds) if runs is None else runs
        return [self._decide(name, at_seconds) for name in names]

    def _decide(self, run: str, at_seconds: float) -> Outcome:
        question = self._question
        try:
            history = self._reader.read(run, at_seconds, question.window_seconds)
        except HistoryError as error:
            return Outcome(run, errors=(str(error),))
        decision = choose(
            history,
            build_profile(history.slices, question.minimum),
            question.objective,
            minimum=question.minimum,
            explore=question.explore,
        )
        if self._publisher is None:
            return Outcome(run, decision)
        return self._publish(self._publisher, decision, history)

    @staticmethod
    def _publish(publisher: LeasePublisher, decision: Decision, history: RunHistory) -> Outcome:
        if history.window is not None and not history.ended and not history.fresh:
            return Outcome(decision.run, decision, errors=(_stale(history),))
        # A run that is over, or holds no GPU, has nothing left to limit.
        published = publisher.publish(decision) if history.live else publisher.release(decision.run)
        return Outcome(decision.run, decision, published, published.errors)


def _stale(history: RunHistory) -> str:
    age = history.sample_age_seconds
    seen = "a node of it is not scraped now" if age is None else f"the newest is {age:.0f} s old"
    return f"not applied: samples of the run are too old to act on, {seen}"
