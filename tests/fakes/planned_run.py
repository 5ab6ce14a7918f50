"""A simulated run from its plan: the truth, the limits in force, and what happens on the way."""

from dataclasses import dataclass

import numpy as np

from fakes.simulated_run import SimulatedRun
from joulestat.optimizer.history.facts import RunHistory, Slice

NOISES = (0.0, 0.003, 0.01)
"""Relative scatter of the time of 40 steps."""
REFERENCES_WATTS = (250, 300, 400, 700)
PROBE_RATIOS = (0.9, 0.8, 0.7, 0.6, 0.5)
WATTS_GRID = 5


@dataclass
class Work:
    """What the run does: how long steps take at each limit, and how much of it a step holds.

    Attributes:
        draw_watts: What the GPU draws where no limit stops it.
        exponent: How time rises below that.
        step_seconds: Time of a step where no limit matters.
        amount: Time and energy of a step beside those at the start of the run.
    """

    draw_watts: float
    exponent: float
    step_seconds: float
    amount: float = 1.0

    def curve(self, watts: float) -> tuple[float, float]:
        """Return joules and seconds per step."""
        below = min(watts, self.draw_watts)
        seconds = self.step_seconds * (self.draw_watts / below) ** self.exponent
        return self.amount * below * seconds, self.amount * seconds


@dataclass
class Plan:
    """What is to happen in one run.

    Attributes:
        rng: Decides everything.
        work: The truth.
        run: What trains.
        visits: Limits and for how many seconds each.
        change: Number of the visit in the middle of which a step begins to hold more or less.
    """

    rng: np.random.Generator
    work: Work
    run: SimulatedRun
    visits: list[tuple[int, float]]
    change: int | None = None

    def pick(self, slices: list[Slice]) -> int:
        """Return the position of any slice."""
        return int(self.rng.integers(len(slices)))

    def visit_of(self, slices: list[Slice]) -> list[int]:
        """Return the positions of the slices of any limit but the reference."""
        limits = sorted({item.power_limit_watts for item in slices} - {self.run.reference_watts})
        watts = limits[int(self.rng.integers(len(limits)))]
        return [index for index, item in enumerate(slices) if item.power_limit_watts == watts]


def plan_of(rng: np.random.Generator) -> Plan:
    reference = int(rng.choice(REFERENCES_WATTS))
    work = Work(
        draw_watts=reference * rng.uniform(0.6, 1.0),
        exponent=rng.uniform(0.2, 1.2),
        step_seconds=float(rng.choice([0.2, 0.7, 2.0])),
    )
    run = SimulatedRun(
        curve=work.curve,
        reference_watts=reference,
        min_watts=0.3 * reference,
        rng=rng,
        time_noise=float(rng.choice(NOISES)),
    )
    ratios = rng.choice(PROBE_RATIOS, size=int(rng.integers(1, 4)), replace=False)
    probes = [WATTS_GRID * round(ratio * reference / WATTS_GRID) for ratio in ratios]
    visits = [(reference, rng.uniform(480.0, 900.0))]
    visits += [(watts, rng.uniform(130.0, 300.0)) for watts in probes]
    if rng.random() < 0.3:
        visits.append((probes[0], rng.uniform(300.0, 900.0)))
    return Plan(rng, work, run, visits)


def trained(plan: Plan) -> RunHistory:
    for number, (watts, seconds) in enumerate(plan.visits):
        plan.run.set_limit(watts)
        if number == plan.change:
            plan.run.advance(seconds / 2)
            plan.work.amount = float(plan.rng.choice([0.7, 0.85, 0.93, 1.08, 1.2, 1.5]))
            plan.run.advance(seconds / 2)
        else:
            plan.run.advance(seconds)
    return plan.run.history()
