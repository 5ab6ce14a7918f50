"""Energy and time per step at each power limit, with their errors, from slices of history."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from joulestat.domain.plan import OperatingPoint
from joulestat.optimizer.evidence.blocks import Block, Gathered, gather, whole
from joulestat.optimizer.evidence.change import faster_below, since_last_change
from joulestat.optimizer.evidence.levels import Levels, measure
from joulestat.optimizer.evidence.odd import without_odd
from joulestat.optimizer.history.facts import Slice

REFERENCE_WINDOWS = 4
"""The reference limit is compared with every other, and measuring it costs nothing: it is given
so many times the evidence that another limit needs."""
MIN_BLOCKS = 4
"""Fewer blocks at a limit say nothing of its error."""
UNKNOWN_STDERR_RATIO = 0.01
"""Relative error taken where a point's is not known: 1 %, the scatter of 40-step windows."""


@dataclass(frozen=True, slots=True)
class Minimum:
    """The least evidence that counts as a measurement; every node must have it.

    The defaults are 8 scrapes of the usual 15 s, and enough steps that one slow step more or
    less does not decide.
    """

    steps: int = 30
    seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class Profile:
    """All that is known of a run by power limit, lowest first.

    Attributes:
        points: Limits with enough evidence.
        thin: Limits with too little of it yet: still being measured, or passed through.
        problems: Evidence that contradicts itself, for people.
        blocks: What the points rest on, in time order.
        unit: What a step is measured by: "tokens", "samples" or "steps".
        thermal_ratio: Share of the step time left out because heat set the pace.
        odd_looks: Looks of a node left out because a counter must have been wrong in them.
        changed: What changed in the run, so that what was measured before is left out; empty
            where nothing did.
        all_levels: What the blocks amount to, all limits; None where there are none.
    """

    points: tuple[OperatingPoint, ...]
    thin: tuple[OperatingPoint, ...] = ()
    problems: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()
    unit: str = "steps"
    thermal_ratio: float = 0.0
    odd_looks: int = 0
    changed: str = ""
    all_levels: Levels | None = field(default=None, compare=False, repr=False)

    def at(self, power_limit_watts: int) -> OperatingPoint | None:
        """Return the point measured at this limit, or None."""
        return next((p for p in self.points if p.power_limit_watts == power_limit_watts), None)

    def thin_at(self, power_limit_watts: int) -> OperatingPoint | None:
        """Return the point that is still being measured at this limit, or None."""
        return next((p for p in self.thin if p.power_limit_watts == power_limit_watts), None)

    def levels(self, highest_watts: int) -> Levels | None:
        """Return what was measured up to a limit, with the errors of all differences.

        Args:
            highest_watts: Limits above it are left out.
        """
        if not self.blocks:
            points = [p for p in self.points if p.power_limit_watts <= highest_watts]
            return _levels_of_points(points) if points else None
        if self.all_levels is not None and self.all_levels.limits_watts[-1] <= highest_watts:
            return self.all_levels
        blocks = [block for block in self.blocks if block.power_limit_watts <= highest_watts]
        return measure(blocks) if blocks else None

    def visit_steps(self, power_limit_watts: int) -> float:
        """Return how many steps the present stay at a limit has; 0 if another one is in force."""
        last = self.blocks[-1] if self.blocks else None
        if last is None or last.power_limit_watts != power_limit_watts:
            return 0.0
        return sum(block.steps for block in self.blocks if block.visit == last.visit)

    def left_watts(self, least_steps: float, in_force_watts: int | None = None) -> int | None:
        """Return the limit in force before the present one; None where that was longer ago.

        Args:
            least_steps: So many steps since then are long.
            in_force_watts: The present one, of which there may be no step yet; None where unknown.
        """
        last = self.blocks[-1] if self.blocks else None
        if last is None:
            return None
        if in_force_watts is not None and in_force_watts != last.power_limit_watts:
            return last.power_limit_watts
        if self.visit_steps(last.power_limit_watts) >= least_steps:
            return None
        before = [block for block in self.blocks if block.visit != last.visit]
        return before[-1].power_limit_watts if before else None


def build_profile(slices: Iterable[Slice], minimum: Minimum) -> Profile:
    """Return the run's operating points.

    Args:
        slices: What the nodes did, in time order.
        minimum: Less evidence than this at a limit is no measurement.
    """
    items, odd_looks = without_odd(slices)
    gathered = gather(items)
    kept, changed = since_last_change([block for block in gathered.blocks if _has_both(block)])
    if changed:
        items = [item for item in items if item.start_seconds >= kept[0].start_seconds]
        gathered = gather(items)
    usable = tuple(block for block in gathered.blocks if _has_both(block))
    levels = measure(usable) if usable else None
    errors = {} if levels is None else _errors(levels, usable)
    by_limit: defaultdict[int, list[Slice]] = defaultdict(list)
    for item in items:
        by_limit[item.power_limit_watts].append(item)
    nodes = {item.node for item in items if item.steps}
    points: list[OperatingPoint] = []
    thin: list[OperatingPoint] = []
    problems: list[str] = []
    for limit, own in sorted(by_limit.items()):
        steps, seconds = _by_node(own)
        if not any(steps.values()):
            continue
        point = _point(limit, own, gathered, errors.get(limit))
        if point is None:
            continue
        if point.joules_per_step <= 0 or point.seconds_per_step <= 0:
            problems.append(f"{point.steps} steps at {limit} W took no energy or no time")
            continue
        enough = all(
            steps.get(node, 0.0) >= minimum.steps and seconds.get(node, 0.0) >= minimum.seconds
            for node in nodes
        )
        (points if enough else thin).append(point)
    if levels is not None and not problems:
        problems += faster_below(levels)
    return Profile(
        tuple(points),
        tuple(thin),
        tuple(problems),
        () if problems else usable,
        gathered.unit,
        gathered.thermal_seconds / gathered.all_seconds if gathered.all_seconds else 0.0,
        odd_looks,
        changed,
        None if problems else levels,
    )


def _has_both(block: Block) -> bool:
    return block.joules_per_step > 0 and block.seconds_per_step > 0


def _by_node(items: Iterable[Slice]) -> tuple[dict[str, float], dict[str, float]]:
    steps: defaultdict[str, float] = defaultdict(float)
    seconds: defaultdict[str, float] = defaultdict(float)
    for item in items:
        steps[item.node] += item.steps
        seconds[item.node] += item.step_seconds
    return steps, seconds


def _point(
    limit: int, items: Sequence[Slice], gathered: Gathered, errors: tuple[float, float] | None
) -> OperatingPoint | None:
    """Return exact sums of a limit; None where no node that counts made a step."""
    block = whole(items, gathered.reckoning)
    if block is None:
        return None
    joules_error, seconds_error = errors or (None, None)
    return OperatingPoint(
        power_limit_watts=limit,
        joules_per_step=block.joules_per_step,
        seconds_per_step=block.seconds_per_step,
        steps=round(block.steps),
        joules_per_step_stderr=joules_error and joules_error * block.joules_per_step,
        seconds_per_step_stderr=seconds_error and seconds_error * block.seconds_per_step,
    )


def _errors(levels: Levels, blocks: Sequence[Block]) -> dict[int, tuple[float, float]]:
    """Return relative errors of joules and seconds by limit, where there are blocks enough."""
    count: defaultdict[int, int] = defaultdict(int)
    for block in blocks:
        count[block.power_limit_watts] += 1
    found = {}
    for index, limit in enumerate(levels.limits_watts):
        if count[limit] >= MIN_BLOCKS:
            seconds = max(0.0, float(levels.cov_seconds[index, index]))
            watts = max(0.0, float(levels.cov_watts[index, index]))
            found[limit] = (math.sqrt(seconds + watts), math.sqrt(seconds))
    return found


def _levels_of_points(points: Sequence[OperatingPoint]) -> Levels:
    """Return points as levels, their errors taken for independent ones."""
    seconds = np.array([point.seconds_per_step for point in points])
    joules = np.array([point.joules_per_step for point in points])
    time = np.array([_ratio(p.seconds_per_step_stderr, p.seconds_per_step) for p in points])
    energy = np.array([_ratio(p.joules_per_step_stderr, p.joules_per_step) for p in points])
    steps = np.array([float(point.steps) for point in points])
    scatter = float(np.median(time * np.sqrt(steps)))
    return Levels(
        limits_watts=tuple(point.power_limit_watts for point in points),
        log_seconds=np.log(seconds),
        log_watts=np.log(joules / seconds),
        cov_seconds=np.diag(time**2),
        cov_watts=np.diag(np.maximum(energy**2 - time**2, (energy / 2) ** 2)),
        step_scatter_seconds=scatter,
        step_scatter_watts=scatter / 2,
        drift_seconds=0.0,
        steps=steps,
    )


def _ratio(stderr: float | None, value: float) -> float:
    return UNKNOWN_STDERR_RATIO if stderr is None else stderr / value
