"""Whether the power limit changes anything: often the GPU waits for something else.

So it is where the host, the data loader or memory sets the pace, for a quarter of measured
set-ups. Picking an "optimum" there would be picking noise; and looking there costs nothing, so that
it is looked at until it is known.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass

from joulestat.optimizer.evidence.levels import Levels, Vector
from joulestat.optimizer.search.explore import (
    CLOSE_WATTS,
    Probe,
    Site,
    floor_watts,
    lower_watts,
    mean_draw_watts,
)
from joulestat.optimizer.search.objective import Reference
from joulestat.optimizer.search.outlook import TIE_RATIO, Outlook

NO_EFFECT_RATIO = 0.02
"""Neither time nor energy per step changes by as much, at any limit."""
SURE_ERRORS = 1.645
"""So many standard errors inside of that: it is exceeded in one case of twenty."""
CLEAR_ERRORS = 2.0
"""What little there is to gain is taken if it is so many standard errors away from nothing."""
ABOVE_DRAW_RATIO = 1.35
"""A limit that is never lower than so many times the mean draw is not expected to do anything: of
96 measured set-ups it saved 1.3 % of energy at most where it was not."""
IDLE_LIMIT_RATIO = 2.0
"""A limit of so many times the mean draw does nothing: 1.3 % of energy at most, in 167 cases."""
MOST_LOOKS = 8
"""What is still open after so many windows at the lowest limit is left open."""


@dataclass(frozen=True, slots=True)
class Change:
    """What the lowest limit measured changes, beside the reference.

    Attributes:
        lowest_watts: That limit.
        log_seconds: ln of the ratio of seconds per step.
        seconds_error: Its standard error.
        log_joules: ln of the ratio of joules per step.
        joules_error: Its standard error.
        steps: Steps made at that limit.
        draw_watts: Mean power of one GPU at the reference limit.
    """

    lowest_watts: int
    log_seconds: float
    seconds_error: float
    log_joules: float
    joules_error: float
    steps: float
    draw_watts: float

    def may_be_none(self, floor: int) -> bool:
        """Tell whether it looks like none: where none is expected, unless the contrary is sure."""
        errors = SURE_ERRORS if floor > ABOVE_DRAW_RATIO * self.draw_watts else 0.0
        return (
            abs(self.log_seconds) - errors * self.seconds_error < NO_EFFECT_RATIO
            and abs(self.log_joules) - errors * self.joules_error < NO_EFFECT_RATIO
        )

    def is_none(self) -> bool:
        """Tell whether it is none for sure."""
        return (
            abs(self.log_seconds) + SURE_ERRORS * self.seconds_error < NO_EFFECT_RATIO
            and abs(self.log_joules) + SURE_ERRORS * self.joules_error < NO_EFFECT_RATIO
        )


def change_of(levels: Levels, reference: Reference) -> Change | None:
    """Return what the lowest measured limit changes; None where none below was measured.

    Args:
        levels: What was measured.
        reference: The run before any lease.
    """
    base = levels.index(reference.power_limit_watts)
    draw_watts = mean_draw_watts(levels, reference)
    if base is None or base == 0 or draw_watts is None:
        return None
    seconds, watts = levels.log_seconds, levels.log_watts
    seconds_error = _difference_error(levels.cov_seconds, base)
    return Change(
        lowest_watts=levels.limits_watts[0],
        log_seconds=float(seconds[0] - seconds[base]),
        seconds_error=seconds_error,
        log_joules=float(seconds[0] - seconds[base] + watts[0] - watts[base]),
        joules_error=math.hypot(seconds_error, _difference_error(levels.cov_watts, base)),
        steps=float(levels.steps[0]),
        draw_watts=draw_watts,
    )


def has_no_effect(
    change: Change, reference: Reference, min_watts: float | None, enough: Collection[int]
) -> bool:
    """Tell whether it is known that no limit down to the lowest that may be tried does anything.

    Args:
        change: What the lowest limit measured changes.
        reference: The run before any lease.
        min_watts: The lowest limit that the devices accept; None where unknown.
        enough: Limits with evidence enough.
    """
    if min_watts is None or change.lowest_watts not in enough:
        return False
    floor = floor_watts(reference.power_limit_watts, min_watts)
    return change.lowest_watts <= floor + CLOSE_WATTS and change.is_none()


def most_worth_trying_watts(
    change: Change | None, reference: Reference, min_watts: float | None
) -> float:
    """Return above which limits nothing happens, going by what GPUs draw; infinity if unknown.

    Args:
        change: What the lowest limit measured changes: if it slows steps, limits do bind.
        reference: The run before any lease.
        min_watts: The lowest limit that the devices accept; None where unknown.
    """
    if change is None or min_watts is None:
        return math.inf
    if not change.may_be_none(floor_watts(reference.power_limit_watts, min_watts)):
        return math.inf
    return IDLE_LIMIT_RATIO * change.draw_watts


def probe_to_be_sure(
    change: Change | None, reference: Reference, site: Site, reference_visit_steps: float
) -> Probe | None:
    """Return where to look to know that the limit does nothing; None where that is not likely.

    The lowest limit and the reference take turns, a window each: what only drifts is then no
    difference, and where there is none this costs nothing.

    Args:
        change: What the lowest limit measured changes.
        reference: The run before any lease.
        site: What else is known of the run.
        reference_visit_steps: Steps of the present stay at the reference limit; 0 elsewhere.
    """
    floor = floor_watts(reference.power_limit_watts, site.min_watts)
    if change is None or not change.may_be_none(floor):
        return None
    if site.steps_left < MOST_LOOKS * site.window_steps:
        return None
    lowest = change.lowest_watts
    if lowest > floor + CLOSE_WATTS:
        if lowest not in site.known_watts:
            return None
        reason = f"{lowest} W makes no difference so far: a lower one may"
        return Probe(max(floor, lower_watts(lowest)), reason)
    if change.steps >= MOST_LOOKS * site.window_steps:
        return None
    looked_at = site.current_watts == lowest and site.visit_steps >= site.window_steps
    if looked_at or 0 < reference_visit_steps < site.window_steps:
        reason = f"{lowest} W seems to make no difference: the reference again, to be sure"
        return Probe(reference.power_limit_watts, reason)
    return Probe(lowest, f"{lowest} W seems to make no difference: another look, to be sure")


def held_without_effect(outlook: Outlook) -> int:
    """Return the position of the limit to hold: the reference, unless another is clearly better."""
    reference, best = outlook.reference, outlook.best
    gained = outlook.values[:, reference] - outlook.values[:, best]
    least = TIE_RATIO * float(outlook.values[:, reference].mean())
    clear = float(gained.mean()) > max(least, CLEAR_ERRORS * float(gained.std()))
    return best if clear else reference


def without_effect(change: Change, reference_watts: int, held_watts: int) -> str:
    """Say that the limit makes no difference, with the numbers that say so."""
    time, energy = (
        f"{100 * math.expm1(log):+.1f} ± {100 * error:.1f} %"
        for log, error in (
            (change.log_seconds, change.seconds_error),
            (change.log_joules, change.joules_error),
        )
    )
    said = (
        f"The power limit makes no difference to this run: from {reference_watts} W down to "
        f"{change.lowest_watts} W time per step changes by {time} and energy by {energy}. "
        "It waits for something else than the GPU."
    )
    if held_watts != reference_watts:
        said += f" What little there is to gain is had at {held_watts} W."
    return said


def _difference_error(cov: Vector, base: int) -> float:
    return math.sqrt(max(0.0, float(cov[0, 0] + cov[base, base] - 2 * cov[0, base])))
