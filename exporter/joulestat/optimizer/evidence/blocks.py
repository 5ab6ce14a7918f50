"""Slices of history, gathered into spans of time under one limit that can be compared."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from joulestat.optimizer.history.facts import Slice

MAX_BLOCKS = 96
"""Comparing 96 takes two milliseconds. More would not see more: long visits are cut more coarsely
instead, and only beyond 96 visits the oldest are left out, but for a few at each limit."""
BLOCKS_PER_VISIT = 8
"""A short visit is still cut into so many, if it has as many slices and there is room: what
cannot be seen to scatter has no error."""
THERMAL_RATIO = 0.01
"""A slice in which a GPU was slowed by heat for a greater share of the time is no evidence about
power limits."""


@dataclass(frozen=True, slots=True)
class Block:
    """A span of time under one limit, all nodes of the run together.

    Attributes:
        power_limit_watts: Limit in force, per GPU.
        visit: Number of the uninterrupted stay at this limit that it is part of, from 0.
        start_seconds: Unix time.
        end_seconds: Unix time.
        steps: Steps made; where samples or tokens were pushed, steps of the run's mean size.
        joules_per_step: Energy, all devices of the run.
        seconds_per_step: Wall time.
    """

    power_limit_watts: int
    visit: int
    start_seconds: float
    end_seconds: float
    steps: float
    joules_per_step: float
    seconds_per_step: float


@dataclass(frozen=True, slots=True)
class Reckoning:
    """What a step is measured by.

    Attributes:
        unit: "tokens", "samples" or "steps".
        per_step: How much of it a mean step of a node holds.
        nodes: The nodes that make steps.
    """

    unit: str
    per_step: float
    nodes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Gathered:
    """What slices amount to.

    Attributes:
        blocks: In time order.
        reckoning: What a step is measured by.
        thermal_seconds: Step time left out because heat, and not the limit, set the pace.
        all_seconds: Step time looked at, what was left out included.
    """

    blocks: tuple[Block, ...]
    reckoning: Reckoning
    thermal_seconds: float
    all_seconds: float

    @property
    def unit(self) -> str:
        """What a step is measured by."""
        return self.reckoning.unit


_Sums = tuple[float, float, float, float]
"""Steps, work, joules and step seconds of a node."""
_NOTHING: _Sums = (0.0, 0.0, 0.0, 0.0)


@dataclass(slots=True)
class _Look:
    """All nodes between two looks at their counters, under one limit."""

    limit: int
    start: float
    end: float
    nodes: dict[str, _Sums] = field(default_factory=dict)
    node_seconds: float = 0.0

    def add(self, item: Slice, work: float) -> None:
        self._add(item.node, item.steps, work, item.joules, item.step_seconds)

    def merge(self, other: "_Look") -> None:
        self.end = max(self.end, other.end)
        for node, sums in other.nodes.items():
            self._add(node, *sums)

    def _add(self, node: str, steps: float, work: float, joules: float, seconds: float) -> None:
        old = self.nodes.get(node, _NOTHING)
        self.nodes[node] = (old[0] + steps, old[1] + work, old[2] + joules, old[3] + seconds)
        self.node_seconds += seconds

    def steps(self) -> float:
        """Return the steps of all nodes together."""
        return sum(sums[0] for sums in self.nodes.values())

    def seconds(self) -> float:
        """Return step time, the mean over nodes: they make the same steps."""
        return self.node_seconds / max(1, len(self.nodes))


def gather(slices: Iterable[Slice]) -> Gathered:
    """Return the blocks that slices amount to.

    Every node counts the same steps, and joules and steps of one node stand at one instant, so
    J/step of the run is the **sum over nodes** of each node's ratio. Where every slice knows its
    tokens (or else samples), a step counts as much as it held of them, in steps of the run's
    mean size: batches of unequal length then do not look like an effect of the limit.

    Args:
        slices: What the nodes did, in time order.
    """
    items = list(slices)
    reckoning = _reckoning(items)
    visits = _visits(_looks(_usable(items, reckoning), reckoning))
    blocks: list[Block] = []
    for number, (stay, wanted) in enumerate(zip(visits, _blocks_per_visit(visits), strict=True)):
        blocks += _cut(stay, number, wanted, reckoning.nodes)
    return Gathered(
        _latest(blocks),
        reckoning,
        sum(item.step_seconds for item in items if _is_hot(item)),
        sum(item.step_seconds for item in items),
    )


def _latest(blocks: Sequence[Block]) -> tuple[Block, ...]:
    """Return the latest blocks, and of each limit at least a few."""
    if len(blocks) <= MAX_BLOCKS:
        return tuple(blocks)
    kept: list[Block] = []
    count: Counter[int] = Counter()
    for block in reversed(blocks):
        if len(kept) < MAX_BLOCKS or count[block.power_limit_watts] < BLOCKS_PER_VISIT:
            kept.append(block)
            count[block.power_limit_watts] += 1
    return tuple(reversed(kept))


def whole(slices: Iterable[Slice], reckoning: Reckoning) -> Block | None:
    """Return all of some slices, of one limit, as one block; None where no step was made.

    Args:
        slices: In time order.
        reckoning: What a step is measured by.
    """
    look: _Look | None = None
    for item in _usable(slices, reckoning):
        if look is None:
            look = _Look(item.power_limit_watts, item.start_seconds, item.end_seconds)
        look.add(item, _work(item, reckoning))
        look.end = item.end_seconds
    return None if look is None or not look.steps() else _block(look, 0)


def _usable(items: Iterable[Slice], reckoning: Reckoning) -> list[Slice]:
    return [item for item in items if item.node in reckoning.nodes and not _is_hot(item)]


def _is_hot(item: Slice) -> bool:
    return item.thermal_ratio is not None and item.thermal_ratio > THERMAL_RATIO


def _work(item: Slice, reckoning: Reckoning) -> float:
    """Return the steps of a slice, of the run's mean size."""
    if reckoning.unit == "steps":
        return item.steps
    return (getattr(item, reckoning.unit) or 0.0) / reckoning.per_step


def _reckoning(items: Sequence[Slice]) -> Reckoning:
    steps = sum(item.steps for item in items)
    nodes = frozenset(item.node for item in items if item.steps)
    for unit in ("tokens", "samples"):
        amounts = [getattr(item, unit) for item in items if item.steps]
        if amounts and all(amount is not None and amount > 0 for amount in amounts):
            return Reckoning(unit, sum(amounts) / steps, nodes)
    return Reckoning("steps", 1.0, nodes)


def _looks(items: Iterable[Slice], reckoning: Reckoning) -> list[_Look]:
    """Return looks in time order; of two limits in one look, that which was in force before."""
    looks: dict[tuple[float, int], _Look] = {}
    for item in items:
        key = (item.end_seconds, item.power_limit_watts)
        look = looks.get(key)
        if look is None:
            look = _Look(item.power_limit_watts, item.start_seconds, item.end_seconds)
            looks[key] = look
        look.add(item, _work(item, reckoning))
    ordered = sorted(looks.values(), key=lambda look: look.end)
    for index in range(1, len(ordered) - 1):
        one, other = ordered[index], ordered[index + 1]
        if one.end == other.end and other.limit == ordered[index - 1].limit:
            ordered[index], ordered[index + 1] = other, one
    return ordered


def _visits(looks: Iterable[_Look]) -> list[list[_Look]]:
    visits: list[list[_Look]] = []
    for look in looks:
        if not visits or visits[-1][-1].limit != look.limit:
            visits.append([])
        visits[-1].append(look)
    return visits


def _blocks_per_visit(visits: Sequence[Sequence[_Look]]) -> list[int]:
    """Return how many blocks each visit is cut into, all together few enough."""
    least = max(1, min(BLOCKS_PER_VISIT, MAX_BLOCKS // max(1, len(visits))))
    durations = [sum(look.seconds() for look in looks) for looks in visits]
    room = max(0, MAX_BLOCKS - least * len(visits))
    per_block = sum(durations) / room if room else float("inf")
    return [
        min(len(looks), max(least, int(duration / per_block) if duration else 1))
        for looks, duration in zip(visits, durations, strict=True)
    ]


def _cut(looks: Sequence[_Look], visit: int, wanted: int, nodes: frozenset[str]) -> Iterable[Block]:
    """Cut a visit into blocks of about equal length, each with steps of every node."""
    target = sum(look.seconds() for look in looks) / wanted
    done, open_look = 0.0, None
    blocks: list[_Look] = []
    for look in looks:
        if open_look is None:
            open_look = _Look(look.limit, look.start, look.end)
        open_look.merge(look)
        done += look.seconds()
        complete = all(node in open_look.nodes and open_look.nodes[node][0] for node in nodes)
        if complete and done >= target * (len(blocks) + 1 - 1e-6):
            blocks.append(open_look)
            open_look = None
    if open_look is not None and blocks:
        blocks[-1].merge(open_look)
    return [_block(look, visit) for look in blocks]


def _block(look: _Look, visit: int) -> Block:
    steps = [parts[0] for parts in look.nodes.values() if parts[0]]
    # Work per step of the whole run: samples and tokens are each rank's own share.
    work_per_step = sum(parts[1] / parts[0] for parts in look.nodes.values() if parts[0])
    work_per_step /= len(steps)
    joules = sum(parts[2] / parts[0] for parts in look.nodes.values() if parts[0])
    seconds = sum(parts[3] for parts in look.nodes.values()) / sum(steps)
    return Block(
        power_limit_watts=look.limit,
        visit=visit,
        start_seconds=look.start,
        end_seconds=look.end,
        steps=max(steps) * work_per_step,
        joules_per_step=joules / work_per_step,
        seconds_per_step=seconds / work_per_step,
    )
