"""One round of the optimizer: read, decide and, if asked, publish, run by run."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from joulestat.domain.errors import ConfigError, HistoryError
from joulestat.domain.plan import Action, Decision
from joulestat.domain.tariff import UNKNOWN_TARIFF, Tariff
from joulestat.optimizer.evidence.profile import Minimum, build_profile
from joulestat.optimizer.fleet.advice import as_decisions, run_curve, with_gpu_limits
from joulestat.optimizer.fleet.budget import divide_budget
from joulestat.optimizer.fleet.division import RunCurve
from joulestat.optimizer.fleet.gpu_facts import GpuEvidence
from joulestat.optimizer.fleet.stragglers import per_gpu_limits
from joulestat.optimizer.history.facts import RunHistory, Unread
from joulestat.optimizer.history.source import History
from joulestat.optimizer.publish import LeasePublisher, Published
from joulestat.optimizer.search.choose import choose
from joulestat.optimizer.search.energy_budget import FROM_OPTION, FROM_RUN, with_forecast
from joulestat.optimizer.search.objective import Objective

EARLIER_RUNS = 3
"""As many earlier runs of a job are asked where they had their best, the latest first."""

ReadGpus = Callable[[str, Sequence[str], float], GpuEvidence]
"""Reads a run's GPUs one by one: name, UUIDs, Unix time."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about every run.

    Attributes:
        objective: What "best" means.
        minimum: The least evidence that counts as a measurement.
        window_seconds: How far back to look; None for the whole run.
        explore: Whether limits may be tried only to measure them.
        tariff: What is known better than the exporters' configuration; None elsewhere.
        power_budget_watts: For the limits of all runs together; None without one.
        energy_budget_joules: What the run may use, whatever it said itself; None leaves that.
        keep_histories: Whether outcomes carry their history, for reports.
    """

    objective: Objective
    minimum: Minimum
    window_seconds: float | None = None
    explore: bool = False
    tariff: Tariff = UNKNOWN_TARIFF
    power_budget_watts: float | None = None
    energy_budget_joules: float | None = None
    keep_histories: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a round brought for one run.

    Attributes:
        run: Which run.
        decision: None where the history could not be read.
        published: None where nothing was to be published.
        errors: What went wrong, for people; empty if all is well.
        history: What was decided upon; None unless it was to be kept.
    """

    run: str
    decision: Decision | None = None
    published: Published | None = None
    errors: tuple[str, ...] = ()
    history: RunHistory | None = None


@dataclass(frozen=True, slots=True)
class _Decided:
    """A decision with what publishing it, or dividing a budget, needs of its history."""

    decision: Decision
    history: RunHistory
    curve: RunCurve | None


class Optimizer:
    """Answers one question about runs, each time from their whole history."""

    def __init__(
        self,
        history: History,
        question: Question,
        publisher: LeasePublisher | None = None,
        read_gpus: ReadGpus | None = None,
    ) -> None:
        """Decide, and publish only where there is a publisher.

        Args:
            history: Where runs are read.
            question: What is asked about each.
            publisher: Carries decisions to the exporters.
            read_gpus: Given for per-GPU limits where GPUs wait for a slower one.
        """
        self._history = history
        self._question = question
        self._publisher = publisher
        self._read_gpus = read_gpus

    def round(
        self, runs: Sequence[str] | None = None, at_seconds: float | None = None
    ) -> list[Outcome]:
        """Decide about each run as of a moment. One run's failure is no other's.

        Args:
            runs: Names; None for all runs that are shown at the moment.
            at_seconds: Unix time; None for now, by the history's clock.

        Raises:
            HistoryError: The time or the list of runs could not be read.
            ConfigError: A power budget is less than the runs can be given.
        """
        if self._publisher is not None:
            self._publisher.begin_round()
        at_seconds = self._history.now_seconds() if at_seconds is None else at_seconds
        names = self._history.runs(at_seconds) if runs is None else runs
        read = self._history.read_all(names, at_seconds, self._question.window_seconds)
        if self._question.power_budget_watts is not None:
            return self._within_budget(read, self._question.power_budget_watts, at_seconds)
        return [self._outcome(item, at_seconds) for item in read]

    def _outcome(self, item: RunHistory | Unread, at_seconds: float) -> Outcome:
        if isinstance(item, Unread):
            return Outcome(item.run, errors=(item.error,))
        decided = self._decide(item, at_seconds)
        if self._read_gpus is not None:
            try:
                decision = _per_gpu(decided, self._read_gpus, at_seconds)
            except HistoryError as error:
                return Outcome(item.run, decided.decision, errors=(str(error),))
            decided = replace(decided, decision=decision)
        return self._publish(decided)

    def _decide(self, history: RunHistory, at_seconds: float) -> _Decided:
        question = self._question
        if self._publisher is not None and history.live:
            # Before deciding: whatever changes from here on makes the decision one too late.
            self._publisher.look(history.gpu_uuids, history.instances_by_gpu)
        history = replace(history, tariff=history.tariff.overridden_by(question.tariff))
        if question.energy_budget_joules is not None:
            history = replace(history, energy_budget_joules=question.energy_budget_joules)
        profile = build_profile(history.slices, question.minimum)
        hint_watts = None
        if question.explore and history.live and len(profile.points) == 1 and not profile.thin:
            hint_watts = self._best_of_earlier_runs(history, at_seconds)
        decision = choose(
            history,
            profile,
            question.objective,
            minimum=question.minimum,
            explore=question.explore,
            hint_watts=hint_watts,
        )
        decision = self._on_energy_budget(_on_each_scale(decision, history), history)
        curve = None
        if question.power_budget_watts is not None:
            curve = run_curve(history, decision)
        # Slices are by far the most of it; a thousand runs are not held for nothing.
        return _Decided(
            decision, history if question.keep_histories else replace(history, slices=()), curve
        )

    def _on_energy_budget(self, decision: Decision, history: RunHistory) -> Decision:
        """Say of what was decided last whether the run finishes on its energy budget."""
        question = self._question
        source = FROM_RUN if question.energy_budget_joules is None else FROM_OPTION
        return with_forecast(decision, history, question.objective, source)

    def _best_of_earlier_runs(self, history: RunHistory, at_seconds: float) -> int | None:
        """Return the limit that the latest earlier run of the job found best, for a first look."""
        question = self._question
        names = self._history.earlier_runs(history, at_seconds)[:EARLIER_RUNS]
        for earlier in self._history.read_all(names, at_seconds, question.window_seconds):
            if isinstance(earlier, Unread):
                continue
            found = choose(
                replace(earlier, tariff=history.tariff),
                build_profile(earlier.slices, question.minimum),
                question.objective,
                minimum=question.minimum,
                explore=False,
            )
            same = found.reference_power_limit_watts == history.limits.reference_watts
            if found.action is Action.HOLD and same:
                return found.power_limit_watts
        return None

    def _within_budget(
        self, read: Iterable[RunHistory | Unread], budget_watts: float, at_seconds: float
    ) -> list[Outcome]:
        """Divide a budget; what cannot be read could draw anything, so then nothing is divided."""
        unread: list[Outcome] = []
        decided: dict[str, _Decided] = {}
        for item in read:
            if isinstance(item, Unread):
                unread.append(Outcome(item.run, errors=(item.error,)))
            else:
                decided[item.run] = self._decide(item, at_seconds)
        unknown = [d.decision.run for d in decided.values() if d.history.live and d.curve is None]
        if unread or unknown:
            names = ", ".join([*(outcome.run for outcome in unread), *unknown])
            raise ConfigError(
                f"the power budget cannot be divided: what the GPUs of {names} may draw is unknown",
                field="power_budget_kw",
                value=budget_watts / 1000,
                place="--power-budget-kw",
            )
        curves = [item.curve for item in decided.values() if item.curve and item.history.live]
        division = divide_budget(curves, budget_watts)
        outcomes: list[Outcome] = []
        failed = False
        for decision in as_decisions(division, [item.decision for item in decided.values()]):
            share = decided[decision.run]
            forecast = self._on_energy_budget(decision, share.history)
            share = replace(share, decision=forecast)
            if failed:
                # Raising one run's limit counts on another's having been lowered.
                outcomes.append(
                    Outcome(decision.run, forecast, errors=("not applied: another run failed",))
                )
                continue
            outcomes.append(self._publish(share))
            failed = self._publisher is not None and bool(outcomes[-1].errors)
        return outcomes

    def _publish(self, decided: _Decided) -> Outcome:
        decision, history = decided.decision, decided.history
        kept = history if self._question.keep_histories else None
        if self._publisher is None:
            return Outcome(decision.run, decision, history=kept)
        if history.window is not None and not history.ended and not history.fresh:
            return Outcome(decision.run, decision, errors=(_stale(history),), history=kept)
        # A run that is over, or holds no GPU, has nothing left to limit.
        if history.live:
            published = self._publisher.publish(decision, history.instances_by_gpu)
        else:
            published = self._publisher.release(decision.run)
        if published.other_holder:
            decision = replace(
                decision,
                action=Action.NONE,
                power_limit_watts=None,
                gpu_power_limits_watts={},
                reason=f"Somebody else holds the limit: {published.other_holder}.",
                expected=None,
            )
            decision = self._on_energy_budget(decision, history)
        return Outcome(decision.run, decision, published, published.errors, kept)


def _per_gpu(decided: _Decided, read_gpus: ReadGpus, at_seconds: float) -> Decision:
    """Lower the GPUs of a held run that wait for a slower one."""
    decision, history = decided.decision, decided.history
    min_watts = history.limits.min_watts
    watts = decision.power_limit_watts
    if decision.action is not Action.HOLD or watts is None or min_watts is None:
        return decision
    if not history.live or len(decision.gpu_uuids) < 2 or not decision.curve:
        return decision
    evidence = read_gpus(decision.run, decision.gpu_uuids, at_seconds)
    limits = per_gpu_limits(evidence, decision.curve, common_watts=watts, min_watts=min_watts)
    return with_gpu_limits(decision, limits)


def _on_each_scale(decision: Decision, history: RunHistory) -> Decision:
    """Turn one limit into each GPU's own where their reference limits differ: the same share."""
    references, watts = history.limits.reference_by_gpu, decision.power_limit_watts
    if watts is None or len(set(references.values())) < 2:
        return decision
    highest = max(references.values())
    return replace(
        decision,
        gpu_power_limits_watts={
            uuid: round(watts * own / highest) for uuid, own in references.items()
        },
    )


def _stale(history: RunHistory) -> str:
    age = history.sample_age_seconds
    seen = "a node of it is not scraped now" if age is None else f"the newest is {age:.0f} s old"
    return f"not applied: samples of the run are too old to act on, {seen}"
