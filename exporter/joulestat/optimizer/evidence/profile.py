"""Energy and time per step at each power limit, with their errors, from slices of history."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from joulestat.domain.plan import OperatingPoint
from joulestat.optimizer.history.facts import Slice

MAX_BLOCKS = 12
MIN_BLOCKS = 4
"""Standard errors come from 4 to 12 blocks of time. Fewer say nothing; more, shorter ones are not
independent: slices of 15 s gave "95 %" intervals that held 28 % (drift of 2 % over 10 min)."""
MIN_BLOCKS_FOR_CORRELATION = 8
MAX_CORRELATION = 0.6


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
    """

    points: tuple[OperatingPoint, ...]
    thin: tuple[OperatingPoint, ...] = ()
    problems: tuple[str, ...] = ()

    def at(self, power_limit_watts: int) -> OperatingPoint | None:
        """Return the point measured at this limit, or None."""
        return next((p for p in self.points if p.power_limit_watts == power_limit_watts), None)

    def thin_at(self, power_limit_watts: int) -> OperatingPoint | None:
        """Return the point that is still being measured at this limit, or None."""
        return next((p for p in self.thin if p.power_limit_watts == power_limit_watts), None)


@dataclass(slots=True)
class _Sums:
    steps: float = 0.0
    joules: float = 0.0
    step_seconds: float = 0.0

    def add(self, item: Slice) -> None:
        self.steps += item.steps
        self.joules += item.joules
        self.step_seconds += item.step_seconds


def build_profile(slices: Iterable[Slice], minimum: Minimum) -> Profile:
    """Return the run's operating points.

    J/step of a run is the **sum over its nodes** of each node's J per step: every node counts the
    same steps, and joules and steps of one node stand at one instant. s/step is the nodes' mean.

    Args:
        slices: What the nodes did, in time order.
        minimum: Less evidence than this at a limit is no measurement.
    """
    by_limit: defaultdict[int, list[Slice]] = defaultdict(list)
    for item in slices:
        by_limit[item.power_limit_watts].append(item)
    nodes = {item.node for items in by_limit.values() for item in items if item.steps}
    points: list[OperatingPoint] = []
    thin: list[OperatingPoint] = []
    problems: list[str] = []
    for limit, items in sorted(by_limit.items()):
        sums = _sums_by_node(items)
        if not any(node.steps for node in sums.values()):
            continue
        point = _point(limit, items, {n: s for n, s in sums.items() if s.steps})
        if point.joules_per_step <= 0 or point.seconds_per_step <= 0:
            problems.append(f"{point.steps} steps at {limit} W took no energy or no time")
            continue
        enough = all(
            node in sums
            and sums[node].steps >= minimum.steps
            and sums[node].step_seconds >= minimum.seconds
            for node in nodes
        )
        (points if enough else thin).append(point)
    return Profile(tuple(points), tuple(thin), tuple(problems))


def _sums_by_node(items: Iterable[Slice]) -> dict[str, _Sums]:
    sums: dict[str, _Sums] = {}
    for item in items:
        sums.setdefault(item.node, _Sums()).add(item)
    return sums


def _point(limit: int, items: Sequence[Slice], sums: dict[str, _Sums]) -> OperatingPoint:
    joules_per_step = {node: s.joules / s.steps for node, s in sums.items()}
    total_steps = sum(s.steps for s in sums.values())
    seconds_per_step = sum(s.step_seconds for s in sums.values()) / total_steps
    blocks = _blocks([item for item in items if item.node in sums])
    # How far each block is off the ratio: linearised, and summed over nodes within a block, so
    # that nodes which wait for each other are not taken for independent ones.
    energy_residuals = [
        sum((b.joules - joules_per_step[n] * b.steps) / sums[n].steps for n, b in block.items())
        for block in blocks
    ]
    time_residuals = [
        sum(b.step_seconds - seconds_per_step * b.steps for b in block.values()) / total_steps
        for block in blocks
    ]
    return OperatingPoint(
        power_limit_watts=limit,
        joules_per_step=sum(joules_per_step.values()),
        seconds_per_step=seconds_per_step,
        steps=round(max(s.steps for s in sums.values())),
        joules_per_step_stderr=_stderr(energy_residuals),
        seconds_per_step_stderr=_stderr(time_residuals),
    )


def _blocks(items: Sequence[Slice]) -> list[dict[str, _Sums]]:
    """Return up to MAX_BLOCKS spans of time with about equally many steps, sums by node.

    All nodes are looked at at the same times, so a block covers the same time on each.
    """
    steps_at: defaultdict[float, float] = defaultdict(float)
    for item in items:
        steps_at[item.end_seconds] += item.steps
    n_blocks = min(MAX_BLOCKS, sum(steps > 0 for steps in steps_at.values()))
    if n_blocks < MIN_BLOCKS:
        return []
    total = sum(steps_at.values())
    block_at: dict[float, int] = {}
    done = 0.0
    for at_seconds in sorted(steps_at):
        middle = done + steps_at[at_seconds] / 2
        block_at[at_seconds] = min(int(middle / total * n_blocks), n_blocks - 1)
        done += steps_at[at_seconds]
    blocks: defaultdict[int, dict[str, _Sums]] = defaultdict(dict)
    for item in items:
        blocks[block_at[item.end_seconds]].setdefault(item.node, _Sums()).add(item)
    return [blocks[index] for index in sorted(blocks)]


def _stderr(residuals: Sequence[float]) -> float | None:
    """Return the standard error of a ratio from its blocks' residuals.

    Assumes that blocks are alike but for noise; where neighbours resemble each other (drift of
    temperature or of the data) the error is widened by what their correlation takes away.
    """
    n_blocks = len(residuals)
    if n_blocks < MIN_BLOCKS:
        return None
    squares = sum(residual**2 for residual in residuals)
    variance = squares * n_blocks / (n_blocks - 1)
    if n_blocks >= MIN_BLOCKS_FOR_CORRELATION and squares > 0:
        neighbours = sum(a * b for a, b in pairwise(residuals))
        correlation = min(max(neighbours / squares, 0.0), MAX_CORRELATION)
        variance *= (1 + correlation) / (1 - correlation)
    return math.sqrt(variance)
