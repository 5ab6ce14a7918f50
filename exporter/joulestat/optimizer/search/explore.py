"""Which limit to measure next, if any is worth the time.

The reference limit is measured for nothing, by looking at what the run did before anybody came.
Then one look well below it, and from there wherever another look is expected to gain more, over
the steps still to come, than it costs. So a close decision is looked at for longer, a clear one
is not, and a run of days is tuned finer than one of an hour.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from joulestat.optimizer.evidence.levels import Levels, Vector
from joulestat.optimizer.evidence.posterior import believe
from joulestat.optimizer.search.gains import gains
from joulestat.optimizer.search.objective import Objective, Reference
from joulestat.optimizer.search.outlook import CONFIDENCE_ERRORS, OUTSIDE_COST_FACTOR, Outlook, look

GRID_WATTS = 5
"""Limits that are tried are multiples of this: finer ones cannot be told apart."""
CLOSE_WATTS = 5
CLOSE_RATIO = 0.02
"""Closer than this to a measured limit is as good as measured."""
LOWER_RATIO = 0.75
"""No step below the lowest measured limit is longer than this."""
LOWEST_RATIO = 0.4
"""Nothing below this share of the reference is tried: GPUs slow down steeply there."""
UNDER_DRAW_RATIO = 0.9
"""A limit above what the GPU draws does nothing, so the first look is below the draw."""
USUAL_PROBES = 4
"""Limits tried besides the reference, as a rule."""
EXTRA_PROBE_GAIN_RATIO = 0.003
"""What a fifth must be expected to gain."""
MOST_PROBES = 8
LONG_RUN_WINDOWS = 50
"""After so many windows of training another limit costs nothing worth mentioning."""
LEAST_GAIN_RATIO = 5e-4
"""Nothing is disturbed for a smaller expected gain."""
SWITCH_COST_RATIO = 0.02
"""What changing a limit costs, beside a window of steps: the transition is no evidence."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A limit to measure next, and why."""

    power_limit_watts: int
    reason: str
    gain_ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class Site:
    """What the search has to know of the run beside what was measured.

    Attributes:
        min_watts: The lowest limit that a lease may hold.
        current_watts: The limit in force; None where unknown.
        window_steps: Steps of a full look.
        visit_steps: Steps already made in the present visit to the limit in force.
        steps_left: Steps that the choice will be used for.
        steps_done: Steps that the run has made.
        tried_watts: Limits that were ever tried, the reference apart.
        hint_watts: Where earlier runs of the same job had their best; None where unknown. It says
            where to look first, and is no evidence.
        known_watts: Limits with evidence enough.
        in_force_watts: The limit in force, leased or not; None where unknown.
        left_watts: The one that was in force before it, if that was less than a full look ago.
        max_watts: The highest limit that a lease may hold; infinity where unknown.
    """

    min_watts: float
    current_watts: int | None
    window_steps: float
    visit_steps: float
    steps_left: float
    steps_done: float
    tried_watts: frozenset[int]
    hint_watts: int | None = None
    known_watts: frozenset[int] = frozenset()
    in_force_watts: int | None = None
    left_watts: int | None = None
    max_watts: float = math.inf


def floor_watts(reference_watts: int, min_watts: float) -> int:
    """Return the lowest limit that may be tried."""
    return _grid_up(max(min_watts, LOWEST_RATIO * reference_watts))


def mean_draw_watts(levels: Levels, reference: Reference) -> float | None:
    """Return the mean power of one GPU at the reference limit; None where it was not measured."""
    base = levels.index(reference.power_limit_watts)
    if base is None:
        return None
    return math.exp(float(levels.log_watts[base])) / reference.n_gpus


def lower_watts(lowest_watts: int) -> int:
    """Return the next limit to try below the lowest measured: no step down is longer."""
    return _grid(LOWER_RATIO * lowest_watts)


def first_probe(levels: Levels, reference: Reference, objective: Objective, site: Site) -> Probe:
    """Return the first look below the reference."""
    base_watts = reference.power_limit_watts
    floor = floor_watts(base_watts, site.min_watts)
    if site.hint_watts is not None and floor <= site.hint_watts < base_watts:
        hinted = _grid(site.hint_watts)
        if hinted <= site.max_watts:
            return Probe(hinted, "earlier runs of this job had their best there")
    watts = min(objective.first_ratio() * base_watts, site.max_watts)
    draw_watts = mean_draw_watts(levels, reference)
    if draw_watts is not None:
        watts = min(watts, UNDER_DRAW_RATIO * draw_watts)
    first = _grid(watts)
    if first > site.max_watts:
        first -= GRID_WATTS
    return Probe(max(floor, first), f"first look well below the reference of {base_watts} W")


def outlook_of(
    levels: Levels,
    reference: Reference,
    objective: Objective,
    min_watts: float | None,
    may_hold: set[int],
    most_watts: float = math.inf,
) -> Outlook:
    """Rank measured limits and those that could be tried.

    Args:
        levels: What was measured, up to the reference limit.
        reference: The run before any lease.
        objective: What is sought.
        min_watts: The lowest limit that the devices accept; None where unknown: then nothing
            below what was measured is looked at.
        may_hold: Limits with evidence enough to be held.
        most_watts: Nothing higher is looked at that was not measured.
    """
    lowest = levels.limits_watts[0]
    bottom = lowest
    if min_watts is not None:
        floor = floor_watts(reference.power_limit_watts, min_watts)
        bottom = min(lowest, max(floor, lower_watts(lowest)))
    grid = [
        watts
        for watts in range(_grid_up(bottom), reference.power_limit_watts, GRID_WATTS)
        if watts <= most_watts and not _is_close(watts, levels.limits_watts)
    ]
    return look(believe(levels, grid), objective, reference, may_hold)


def next_probe(outlook: Outlook, levels: Levels, site: Site) -> Probe | None:
    """Return the limit to measure next, None when no look is worth its cost.

    Args:
        outlook: What is known.
        levels: The noise behind it.
        site: What else is known of the run.
    """
    watts = np.array(outlook.posterior.limits_watts)
    current = watts == (site.current_watts or 0)
    remaining = np.where(
        current, max(site.window_steps - site.visit_steps, site.window_steps / 4), site.window_steps
    )
    gained = gains(outlook, levels, remaining)
    best_value = float(outlook.values[:, outlook.best].mean())
    outside = OUTSIDE_COST_FACTOR * np.maximum(outlook.excess.mean(axis=0), 0.0) * best_value
    worse = (np.maximum(outlook.values.mean(axis=0) - best_value, 0.0) + outside) * remaining
    switching = np.where(current, 0.0, SWITCH_COST_RATIO * best_value * site.window_steps)
    worth = gained * site.steps_left - worse - switching
    worth[np.logical_not(_may_try(outlook, gained / best_value, site))] = -np.inf
    # What is held is measured without being asked for.
    worth[outlook.best] = -np.inf
    worth[gained < LEAST_GAIN_RATIO * best_value] = -np.inf
    position = int(np.argmax(worth))
    begun = np.flatnonzero(current & (site.visit_steps < site.window_steps) & (worth > 0))
    if len(begun):
        # What was begun is looked at to its end, for as long as it is worth anything.
        position = int(begun[0])
    if worth[position] <= 0:
        return None
    gain_ratio = float(gained[position]) / best_value
    return Probe(int(watts[position]), _why(outlook, position, gain_ratio), gain_ratio)


def _may_try(outlook: Outlook, gain_ratios: Vector, site: Site) -> Vector:
    """Tell which limits may be tried: measured ones, and a few new ones."""
    posterior = outlook.posterior
    may = np.ones(len(posterior.limits_watts), dtype=bool)
    n_tried = len(site.tried_watts)
    long_run = site.steps_done > LONG_RUN_WINDOWS * site.window_steps
    if n_tried >= (MOST_PROBES if long_run else USUAL_PROBES):
        extra = gain_ratios > EXTRA_PROBE_GAIN_RATIO
        may = np.asarray(posterior.measured | (extra & (n_tried == USUAL_PROBES)))
    excess, error = outlook.excess.mean(axis=0), outlook.excess.std(axis=0)
    # What was measured well and is clearly too slow is not looked at again and again.
    known = np.isin(posterior.limits_watts, list(site.known_watts))
    may[known & (excess > CONFIDENCE_ERRORS * error)] = False
    if site.left_watts is not None and outlook.watts(outlook.best) == site.in_force_watts:
        # On the edge of a bound a step more or less decides: what was just given up for the limit
        # that is held is not gone back to at once.
        may[np.array(posterior.limits_watts) == site.left_watts] = False
    lowest = posterior.lowest_measured
    if excess[lowest] > 0:
        # Below a limit that is too slow every limit is.
        may[:lowest] = False
    return np.asarray(may)


def _why(outlook: Outlook, position: int, gain_ratio: float) -> str:
    best, gain = outlook.watts(outlook.best), f"{100 * gain_ratio:.2g} %"
    if position == outlook.reference:
        return f"all limits are compared with the reference: another look at it may gain {gain}"
    if outlook.posterior.measured[position]:
        return f"too close to {best} W to tell: another look may gain {gain}"
    if position < outlook.posterior.lowest_measured:
        return f"the best so far is near the lowest limit measured: lower may gain {gain}"
    return f"between measured limits a better one than {best} W is likely: it may gain {gain}"


def _is_close(watts: int, measured: Sequence[int]) -> bool:
    return any(abs(watts - other) < max(CLOSE_WATTS, CLOSE_RATIO * other) for other in measured)


def _grid(watts: float) -> int:
    return GRID_WATTS * round(watts / GRID_WATTS)


def _grid_up(watts: float) -> int:
    return GRID_WATTS * math.ceil(watts / GRID_WATTS)
