"""One search on one traced training until it holds a limit, and what it cost to get there."""

from dataclasses import dataclass, field

import numpy as np

from fakes.simulated_run import SimulatedRun
from fakes.traced_runs import TracedRun
from joulestat.domain.plan import Action, Decision
from joulestat.optimizer.evidence.profile import Minimum, build_profile
from joulestat.optimizer.history.facts import RunHistory
from joulestat.optimizer.search.choose import choose
from joulestat.optimizer.search.objective import Objective

MINIMUM = Minimum()
LOOK_SECONDS = 30.0
"""A decision is made so often while limits are probed."""
FIRST_LOOK_SECONDS = 480.0
"""For so long the run trains before anybody comes, and gives a reference for nothing."""
SWEEP_STEPS, SWEEP_WARM_UP_STEPS = 40, 10
MOST_ROUNDS = 200
MOST_PASSIVE_ROUNDS = 10
NO_EFFECT = "makes no difference"


@dataclass(frozen=True)
class Trial:
    """How a search ended, judged by the truth.

    Attributes:
        held_watts: What it holds.
        best_watts: What a full sweep without noise would hold.
        regret_ratio: How much worse than that its objective is; 0 where it is better.
        excess_ratio: By how much steps are longer than allowed; 0 or less where they are not.
        n_limits: Limits that were tried besides the reference.
        probing_seconds: From the first probe to the choice.
        probing_share: That, as a share of what the sweep takes.
        extra_seconds: What of it the final choice would not have taken for the same steps.
        extra_joules: Likewise.
        no_effect: Whether it says that the limit has no effect.
        visits: Limits in the order probed.
    """

    held_watts: int
    best_watts: int
    regret_ratio: float
    excess_ratio: float
    n_limits: int
    probing_seconds: float
    probing_share: float
    extra_seconds: float
    extra_joules: float
    no_effect: bool = False
    visits: tuple[int, ...] = ()


def sweep_seconds(traced: TracedRun) -> float:
    """Return how long the exhaustive sweep takes."""
    return sum(
        (SWEEP_STEPS + SWEEP_WARM_UP_STEPS) * seconds for _, seconds in traced.sweep.values()
    )


def judge(
    traced: TracedRun,
    objective: Objective,
    held_watts: int,
    spent: tuple[float, float, float],
    visits: tuple[int, ...],
    *,
    no_effect: bool = False,
) -> Trial:
    """Return how good a choice is, and what it cost: seconds, steps and joules of probing."""
    best = traced.best_swept(objective)
    regret = traced.value(objective, held_watts) / traced.value(objective, best) - 1
    seconds, steps, joules = spent
    held_joules, held_seconds = traced.curve(held_watts)
    return Trial(
        held_watts,
        best,
        max(0.0, regret),
        traced.excess(objective, held_watts),
        len(set(visits) - {traced.reference_watts}),
        seconds,
        seconds / sweep_seconds(traced),
        seconds - steps * held_seconds,
        joules - steps * held_joules,
        no_effect,
        visits,
    )


@dataclass
class Campaign:
    """A search in progress. Time passes only in ``live``; it may be decided on from any source.

    Attributes:
        traced: The truth.
        objective: What is sought.
        run: The training.
        hint_watts: Where earlier runs of the same job had their best; None where there were none.
        ended: Whether the search is over; the run goes on at ``held_watts``.
    """

    traced: TracedRun
    objective: Objective
    run: SimulatedRun
    hint_watts: int | None = None
    ended: bool = False
    held_watts: int = 0
    visits: list[int] = field(default_factory=list)
    reason: str = ""
    _rounds: int = 0
    _begun: tuple[float, float, float] | None = None
    _spent: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @classmethod
    def begin(
        cls,
        traced: TracedRun,
        objective: Objective,
        noise_ratio: float,
        seed: tuple[int, ...],
        hint_watts: int | None = None,
    ) -> "Campaign":
        """Let a run train at its reference limit until there is something to compare with.

        Args:
            traced: The truth.
            objective: What is sought.
            noise_ratio: Scatter of the time of 40 steps; power has half of it.
            seed: Of the noise.
            hint_watts: Where earlier runs of the same job had their best.
        """
        rng = np.random.default_rng(seed)
        run = SimulatedRun(
            traced.curve,
            traced.reference_watts,
            float(traced.min_watts),
            rng,
            time_noise=noise_ratio,
        )
        campaign = cls(traced, objective, run, hint_watts)
        campaign.live(FIRST_LOOK_SECONDS)
        return campaign

    def live(self, seconds: float = LOOK_SECONDS) -> None:
        """Train on until so many seconds after the last whole scrape interval."""
        run = self.run
        interval = run.scrape_seconds
        end = run.now_seconds - run.now_seconds % interval + seconds
        while run.now_seconds < end:
            run.advance(interval - run.now_seconds % interval)

    def decide(self, history: RunHistory) -> None:
        """Do what the search says after looking at a history of the run."""
        self._rounds += 1
        affordable = self._probing()[0] < sweep_seconds(self.traced)
        decision = self._choose(history, explore=affordable)
        if decision.action is Action.PROBE and self._rounds < MOST_ROUNDS:
            self._probe(decision.power_limit_watts or 0)
        elif self._begun is not None or decision.action is Action.HOLD:
            self._end(decision)
        else:
            # The reference is still being measured: that takes a look or two.
            assert self._rounds < MOST_PASSIVE_ROUNDS, decision.reason

    def trial(self) -> Trial:
        """Return how it ended."""
        assert self.ended, "the search goes on"
        return judge(
            self.traced,
            self.objective,
            self.held_watts,
            self._spent,
            tuple(self.visits),
            no_effect=NO_EFFECT in self.reason,
        )

    def _choose(self, history: RunHistory, *, explore: bool) -> Decision:
        profile = build_profile(history.slices, MINIMUM)
        return choose(
            history,
            profile,
            self.objective,
            minimum=MINIMUM,
            explore=explore,
            hint_watts=self.hint_watts,
        )

    def _probe(self, watts: int) -> None:
        if self._begun is None:
            self._begun = self._clock()
        if not self.visits or self.visits[-1] != watts:
            self.visits.append(watts)
        self.run.set_limit(watts)

    def _end(self, decision: Decision) -> None:
        self.ended, self.reason = True, decision.reason
        self._spent = self._probing()
        self.held_watts = self.traced.reference_watts
        if decision.action is Action.HOLD and decision.power_limit_watts is not None:
            self.held_watts = decision.power_limit_watts

    def _clock(self) -> tuple[float, float, float]:
        return self.run.now_seconds, self.run.steps, self.run.joules

    def _probing(self) -> tuple[float, float, float]:
        """Return seconds, steps and joules since the first probe."""
        if self._begun is None:
            return 0.0, 0.0, 0.0
        seconds, steps, joules = (
            now - then for now, then in zip(self._clock(), self._begun, strict=True)
        )
        return seconds, steps, joules


def search_in_memory(
    traced: TracedRun,
    objective: Objective,
    noise_ratio: float,
    seed: tuple[int, ...],
    hint_watts: int | None = None,
) -> Trial:
    """Let a search run to its end on what a perfect source would tell of the run."""
    campaign = Campaign.begin(traced, objective, noise_ratio, seed, hint_watts)
    while not campaign.ended:
        campaign.decide(campaign.run.history())
        if not campaign.ended:
            campaign.live()
    return campaign.trial()


def sweep_exhaustively(
    traced: TracedRun, objective: Objective, noise_ratio: float, seed: tuple[int, ...]
) -> Trial:
    """Measure every limit of the sweep once and take the best, as is today's practice.

    For a slowdown that is the lowest limit that is fast enough.
    """
    rng = np.random.default_rng((*seed, 1))
    measured = {watts: _measure(*costs, noise_ratio, rng) for watts, costs in traced.sweep.items()}
    most_seconds = objective.most_seconds(traced.reference)
    if most_seconds is None:
        held = min(measured, key=lambda w: objective.value(*measured[w], traced.reference))
    else:
        allowed = most_seconds / traced.reference.seconds_per_step
        reference_seconds = measured[traced.reference_watts][1]
        held = min(w for w, (_, s) in measured.items() if s <= allowed * reference_seconds)
    steps = SWEEP_STEPS + SWEEP_WARM_UP_STEPS
    joules = sum(steps * cost for cost, _ in traced.sweep.values())
    spent = (sweep_seconds(traced), float(steps * len(measured)), joules)
    return judge(traced, objective, held, spent, tuple(measured))


def _measure(
    joules: float, seconds: float, noise_ratio: float, rng: np.random.Generator
) -> tuple[float, float]:
    """Return joules and seconds per step as a window of 40 steps shows them."""
    slower = np.exp(noise_ratio * rng.normal() - noise_ratio**2 / 2)
    hotter = np.exp(noise_ratio / 2 * rng.normal() - noise_ratio**2 / 8)
    return float(joules * slower * hotter), float(seconds * slower)
