"""Which limit to measure next: a bracket around the optimum in as few probes as possible.

Baseline, 0.6 of it, then where the fitted curve has its best, stepping below the lowest measured
limit only while the best lies right there. On measured traces this needs half the time of a full
sweep and, more important, does not visit the lowest limits, where steps take up to four times as
long.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from joulestat.optimizer.evidence.curve import Curve, Estimate
from joulestat.optimizer.search.objective import Objective, Reference

GRID_WATTS = 5
"""Limits that are tried are multiples of this: finer ones cannot be told apart."""
MAX_PROBES = 5
"""Besides the reference. More did not help: noise, not the number of probes, is the limit."""
FIRST_PROBE_RATIO = 0.6
LOWER_RATIO = 0.75
LOWEST_RATIO = 0.4
"""Nothing below this share of the reference is tried: GPUs slow down steeply there."""
CLOSE_WATTS = 10
CLOSE_RATIO = 0.04
"""Closer than this to a measured limit is as good as measured."""
NEIGHBOUR_RATIO = 0.075
WORTH_A_LOOK_RATIO = 1.01
"""A neighbour of the best is measured unless predicted to be worse by more than this."""
UNBEARABLE_SLOWDOWN = 2.0
"""No probe below the lowest measured limit where steps would take this many times as long."""

NO_EFFECT_LIMIT_RATIO = 0.7
NO_EFFECT_TIME_RATIO = 0.01
NO_EFFECT_POWER_RATIO = 0.02


@dataclass(frozen=True, slots=True)
class Probe:
    """A limit to measure next, and why."""

    power_limit_watts: int
    reason: str


def has_no_effect(measured: Sequence[Estimate], reference: Reference) -> bool:
    """Tell whether even a much lower limit changes neither time nor power.

    So it is where the host, the data loader or memory is what the GPU waits for; over a quarter
    of measured set-ups. Picking an "optimum" there would be picking noise.
    """
    lowest = min(measured, key=lambda point: point.power_limit_watts)
    base = reference.estimate
    if lowest.power_limit_watts > NO_EFFECT_LIMIT_RATIO * base.power_limit_watts:
        return False
    log_time = math.log(lowest.seconds_per_step / base.seconds_per_step)
    log_power = math.log(lowest.joules_per_step / base.joules_per_step) - log_time
    stderr = math.hypot(
        lowest.seconds_stderr / lowest.seconds_per_step,
        base.seconds_stderr / base.seconds_per_step,
    )
    return (
        abs(log_time) <= max(NO_EFFECT_TIME_RATIO, 2 * stderr)
        and abs(log_power) <= NO_EFFECT_POWER_RATIO
    )


def next_probe(
    measured: Sequence[Estimate],
    reference: Reference,
    objective: Objective,
    min_watts: float,
) -> Probe | None:
    """Return the limit to measure next, None when nothing is left to find out.

    Args:
        measured: Measured limits up to the reference, the reference among them.
        reference: The run before any lease.
        objective: What is sought.
        min_watts: The lowest limit that the devices accept.
    """
    points = sorted(measured, key=lambda point: point.power_limit_watts)
    base_watts = reference.estimate.power_limit_watts
    floor_watts = _grid_up(max(min_watts, LOWEST_RATIO * base_watts))
    if len(points) > MAX_PROBES or floor_watts >= base_watts:
        return None
    if len(points) == 1:
        first = max(floor_watts, _grid(FIRST_PROBE_RATIO * base_watts))
        return Probe(first, f"first look well below the reference of {base_watts} W")
    curve = Curve(points)
    predicted = _predicted_best(curve, points, objective, reference)
    lower = _below(points, predicted, objective, reference, floor_watts)
    if lower is not None:
        return Probe(
            lower,
            f"the best so far is the lowest measured limit, {points[0].power_limit_watts} W",
        )
    watts = predicted.power_limit_watts
    # Beside a limit that turned out too slow, the next one up is still to be measured.
    if not _is_close(watts, [point for point in points if objective.allows(point, reference)]):
        return Probe(
            watts, f"the curve through {len(points)} measured limits has its best at {watts} W"
        )
    neighbour = _neighbour(curve, points, predicted, objective, reference)
    if neighbour is not None:
        return Probe(neighbour, f"to make sure of the best so far, near {watts} W")
    return None


def _predicted_best(
    curve: Curve, points: Sequence[Estimate], objective: Objective, reference: Reference
) -> Estimate:
    known = {point.power_limit_watts for point in points}
    # A driver may round to a grid of its own: 225 W that was measured as 224 W is measured.
    between = {
        watts
        for watts in range(_grid_up(min(known)), max(known), GRID_WATTS)
        if all(abs(watts - other) >= GRID_WATTS for other in known)
    }
    estimates = [at for watts in known | between if (at := curve.at(watts)) is not None]
    allowed = [estimate for estimate in estimates if objective.allows(estimate, reference)]
    return min(
        allowed,
        key=lambda at: (objective.value(at, reference), -at.power_limit_watts),
        default=reference.estimate,
    )


def _below(
    points: Sequence[Estimate],
    predicted: Estimate,
    objective: Objective,
    reference: Reference,
    floor_watts: int,
) -> int | None:
    """Return a limit below the lowest measured one, if the best lies at that end."""
    lowest, second = points[0], points[1]
    if predicted.power_limit_watts > lowest.power_limit_watts + GRID_WATTS:
        return None
    lower = max(floor_watts, _grid(LOWER_RATIO * lowest.power_limit_watts))
    if _is_close(lower, points) or lower > lowest.power_limit_watts:
        return None
    if not objective.may_go_below(lowest, reference):
        return None
    slope = math.log(lowest.seconds_per_step / second.seconds_per_step) / math.log(
        lowest.power_limit_watts / second.power_limit_watts
    )
    log_time = math.log(lowest.seconds_per_step / reference.estimate.seconds_per_step)
    log_time += slope * math.log(lower / lowest.power_limit_watts)
    return lower if log_time < math.log(UNBEARABLE_SLOWDOWN) else None


def _neighbour(
    curve: Curve,
    points: Sequence[Estimate],
    predicted: Estimate,
    objective: Objective,
    reference: Reference,
) -> int | None:
    """Return the most promising unmeasured limit around the predicted best, if worth a look.

    A cubic without overshoot puts no minimum between two measured limits that are equal. So the
    middles of the gaps on both sides are looked at too.
    """
    watts = predicted.power_limit_watts
    ratios = [1 - NEIGHBOUR_RATIO, 1 + NEIGHBOUR_RATIO]
    lower = [p.power_limit_watts for p in points if p.power_limit_watts < watts]
    higher = [p.power_limit_watts for p in points if p.power_limit_watts > watts]
    ratios.extend(math.sqrt(nearest / watts) for nearest in (*lower[-1:], *higher[:1]))
    worth = WORTH_A_LOOK_RATIO * objective.value(predicted, reference)
    found: list[tuple[float, int]] = []
    for candidate in {_grid(ratio * watts) for ratio in ratios}:
        estimate = curve.at(candidate)
        if estimate is None or _is_close(candidate, points):
            continue
        value = objective.value(estimate, reference)
        if value <= worth and objective.allows(estimate, reference):
            found.append((value, candidate))
    return min(found)[1] if found else None


def _is_close(watts: int, points: Sequence[Estimate]) -> bool:
    return any(
        abs(watts - point.power_limit_watts)
        <= max(CLOSE_WATTS, CLOSE_RATIO * point.power_limit_watts)
        for point in points
    )


def _grid(watts: float) -> int:
    return GRID_WATTS * round(watts / GRID_WATTS)


def _grid_up(watts: float) -> int:
    return GRID_WATTS * math.ceil(watts / GRID_WATTS)
