"""One traced training for 24 hours under the optimizer, beside an oracle from the first second.

It says how many steps it plans, as the callbacks for training frameworks do.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from benchmarks.replay_campaign import FIRST_LOOK_SECONDS, LOOK_SECONDS, MINIMUM
from fakes.simulated_run import SimulatedRun
from fakes.traced_runs import TracedRun
from joulestat.domain.plan import Action
from joulestat.optimizer.evidence.profile import build_profile
from joulestat.optimizer.search.choose import choose
from joulestat.optimizer.search.objective import Objective

DAY_SECONDS = 86_400.0
HOLD_SECONDS = 300.0
"""A decision is made so often while a limit is held."""
TOO_SLOW_RATIO = 0.01


@dataclass(frozen=True)
class Day:
    """What came of 24 hours.

    Attributes:
        regret_ratio: How much worse the objective is, per step of all the day, than the oracle's,
            probing and the first look included. Below 0 where steps were longer than allowed.
        excess_ratio: By how much the mean step was longer than allowed; 0 or less where not.
        too_slow_share: Share of the day at limits whose steps are longer than allowed by 1 %.
        probing_share: Share of the day spent at limits that were only to be measured.
        n_limits: Limits in force at any time, the reference apart.
        n_changes: How often the limit was changed.
        last_regret_ratio: How much worse the objective is at what was held last; 0 where that is
            better because it breaks the bound.
        last_watts: What was held last.
        oracle_watts: The best limit.
    """

    regret_ratio: float
    excess_ratio: float
    too_slow_share: float
    probing_share: float
    n_limits: int
    n_changes: int
    last_regret_ratio: float
    last_watts: int
    oracle_watts: int


def live_a_day(
    traced: TracedRun, objective: Objective, noise_ratio: float, seed: tuple[int, ...]
) -> Day:
    """Let the optimizer watch a run for a day, acting at once on all that it decides."""
    rng = np.random.default_rng((*seed, 24))
    run = SimulatedRun(
        traced.curve,
        traced.reference_watts,
        float(traced.min_watts),
        rng,
        time_noise=noise_ratio,
        planned_steps=DAY_SECONDS / traced.reference.seconds_per_step,
    )
    start = run.now_seconds
    run.advance(FIRST_LOOK_SECONDS)
    probing, n_changes, held_watts = 0.0, 0, traced.reference_watts
    while run.now_seconds < start + DAY_SECONDS:
        history = run.history()
        profile = build_profile(history.slices, MINIMUM)
        decision = choose(history, profile, objective, minimum=MINIMUM, explore=True)
        before = run.now_seconds
        before_watts = run.current_watts
        run.set_limit(decision.power_limit_watts)
        n_changes += run.current_watts != before_watts
        probes = decision.action is Action.PROBE
        if not probes:
            held_watts = run.current_watts
        run.advance(LOOK_SECONDS if probes else HOLD_SECONDS)
        probing += (run.now_seconds - before) * probes
    return _judge(traced, objective, run.seconds_at, probing, n_changes, held_watts)


def _judge(
    traced: TracedRun,
    objective: Objective,
    seconds_at: Mapping[int, float],
    probing_seconds: float,
    n_changes: int,
    last_watts: int,
) -> Day:
    """Compare by the truth of each limit: what noise did to the day's own sums is no regret."""
    day = sum(seconds_at.values())
    steps = {watts: seconds / traced.curve(watts)[1] for watts, seconds in seconds_at.items()}
    joules = sum(steps[watts] * traced.curve(watts)[0] for watts in steps)
    all_steps = sum(steps.values())
    spent = objective.value(joules / all_steps, day / all_steps, traced.reference)
    oracle = traced.best_on_grid(objective)
    best = traced.value(objective, oracle)
    most_seconds = objective.most_seconds(traced.reference)
    too_slow = sum(
        seconds
        for watts, seconds in seconds_at.items()
        if traced.excess(objective, watts) > TOO_SLOW_RATIO
    )
    return Day(
        regret_ratio=spent / best - 1,
        excess_ratio=day / all_steps / most_seconds - 1 if most_seconds else 0.0,
        too_slow_share=too_slow / day,
        probing_share=probing_seconds / day,
        n_limits=len(set(seconds_at) - {traced.reference_watts}),
        n_changes=n_changes,
        last_regret_ratio=max(0.0, traced.value(objective, last_watts) / best - 1),
        last_watts=last_watts,
        oracle_watts=oracle,
    )
