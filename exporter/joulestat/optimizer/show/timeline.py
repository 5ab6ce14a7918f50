"""A run's history as lines over time: which limit was in force, and what a step cost then."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from joulestat.optimizer.history.facts import Slice

MOST_MOMENTS = 150
"""More points than a picture of this width can show are summed up."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What a step cost for a while under one limit; all GPUs of the run.

    Attributes:
        at_seconds: Unix time of its middle.
        joules_per_step: Energy, summed over the nodes.
        seconds_per_step: Wall time, the nodes' mean.
    """

    at_seconds: float
    joules_per_step: float
    seconds_per_step: float


@dataclass(frozen=True, slots=True)
class Stay:
    """A time without a change of the limit, Unix seconds, and the steps in it."""

    power_limit_watts: int
    start_seconds: float
    end_seconds: float
    moments: tuple[Moment, ...]


@dataclass(slots=True)
class _Sums:
    """What all nodes did between two looks."""

    start_seconds: float
    end_seconds: float
    by_node: dict[str, list[float]] = field(default_factory=dict)

    def add(self, item: Slice) -> None:
        self.start_seconds = min(self.start_seconds, item.start_seconds)
        self.end_seconds = max(self.end_seconds, item.end_seconds)
        sums = self.by_node.setdefault(item.node, [0.0, 0.0, 0.0])
        for index, grown in enumerate((item.joules, item.step_seconds, item.steps)):
            sums[index] += grown

    def is_complete(self, nodes: set[str]) -> bool:
        """Tell whether every node made steps: else joules of some would be missing."""
        return all(node in self.by_node and self.by_node[node][2] > 0 for node in nodes)

    def moment(self) -> Moment:
        sums = list(self.by_node.values())
        return Moment(
            (self.start_seconds + self.end_seconds) / 2,
            sum(joules / steps for joules, _, steps in sums if steps > 0),
            sum(seconds for _, seconds, _ in sums) / sum(steps for *_, steps in sums),
        )


def stays_of(slices: Iterable[Slice], most_moments: int = MOST_MOMENTS) -> list[Stay]:
    """Return the stays under each limit, in time order.

    Args:
        slices: What the nodes did, in any order.
        most_moments: About how many moments all stays together may have.
    """
    ordered = sorted(slices, key=lambda item: (item.end_seconds, item.power_limit_watts))
    if not ordered:
        return []
    nodes = {item.node for item in ordered if item.steps > 0}
    span_seconds = ordered[-1].end_seconds - ordered[0].start_seconds
    stays = []
    for watts, items in groupby(ordered, key=lambda item: item.power_limit_watts):
        stay = list(items)
        moments = tuple(_moments(stay, nodes, span_seconds / most_moments))
        start = min(item.start_seconds for item in stay)
        stays.append(Stay(watts, start, stay[-1].end_seconds, moments))
    return stays


def _moments(items: Sequence[Slice], nodes: set[str], least_seconds: float) -> Iterator[Moment]:
    """Yield moments at least so long, and long enough for a step of every node."""
    sums: _Sums | None = None
    for end_seconds, looks in groupby(items, key=lambda item: item.end_seconds):
        for item in looks:
            sums = _Sums(item.start_seconds, end_seconds) if sums is None else sums
            sums.add(item)
        if (
            sums is not None
            and sums.end_seconds - sums.start_seconds >= least_seconds
            and sums.is_complete(nodes)
        ):
            yield sums.moment()
            sums = None
    # What is left at the end of a stay is as good, only shorter.
    if sums is not None and nodes and sums.is_complete(nodes):
        yield sums.moment()
