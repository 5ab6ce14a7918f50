"""When a GPU's energy was taken: what its counter grew by between looks, life by life."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from joulestat.report.facts import Portion

HOUR_SECONDS = 3_600


@dataclass(slots=True)
class GpuTrack:
    """One GPU's counter of a run, as all targets together showed it.

    Attributes:
        highest: The most that was shown at a Unix time, by the birth of the life that it is of.
        looks: Unix times at which any of its targets was seen.
    """

    highest: dict[float, dict[float, float]] = field(default_factory=dict)
    looks: set[float] = field(default_factory=set)

    def note(self, birth_seconds: float, at_seconds: float, joules: float) -> None:
        """Add one value."""
        shown = self.highest.setdefault(birth_seconds, {})
        shown[at_seconds] = max(joules, shown.get(at_seconds, joules))

    @property
    def joules(self) -> float:
        """The energy of all lives."""
        return sum(max(shown.values()) for shown in self.highest.values())

    def grown(self) -> Iterator[tuple[float, float, float]]:
        """Yield (start, end, joules) of all growth, in order of time within a life.

        What a counter showed at first, it had taken since its birth. A value below one that was
        shown before is an older one: another scraper's, or that of an exporter which was killed
        and remembered a moment less; what it had lost it credits again.
        """
        looks = sorted(self.looks)
        for birth, shown in self.highest.items():
            known = 0.0
            for at_seconds in sorted(shown):
                grown = shown[at_seconds] - known
                if grown <= 0:
                    continue
                before = bisect_left(looks, at_seconds)
                seen = looks[before - 1] if before else birth
                # The births are of the exporter's clock, which may be ahead.
                start = min(max(seen, birth), at_seconds)
                yield start, at_seconds, grown
                known = shown[at_seconds]


def portions_of(tracks: Mapping[str, GpuTrack], nodes: Mapping[str, str]) -> list[Portion]:
    """Return what was taken on each node over time, in order of the ends.

    Args:
        tracks: By UUID of the GPU.
        nodes: The node of each GPU.
    """
    summed: dict[tuple[float, float, str], float] = {}
    for uuid, track in tracks.items():
        for start, end, joules in track.grown():
            key = (end, start, nodes[uuid])
            summed[key] = summed.get(key, 0.0) + joules
    return [
        Portion(node, start, end, joules) for (end, start, node), joules in sorted(summed.items())
    ]


def by_hour(portions: Iterable[Portion]) -> dict[int, float]:
    """Return the energy of each hour in which any was taken, by the Unix time it begins at.

    A portion across the turn of an hour is shared by time.
    """
    hours: dict[int, float] = {}
    for portion in portions:
        for start, share in _hours(portion.start_seconds, portion.end_seconds):
            hours[start] = hours.get(start, 0.0) + share * portion.joules
    return dict(sorted(hours.items()))


def _hours(start_seconds: float, end_seconds: float) -> Iterator[tuple[int, float]]:
    """Yield the hours that a time touches, and which part of it each has."""
    span = end_seconds - start_seconds
    hour = int(start_seconds // HOUR_SECONDS) * HOUR_SECONDS
    if span <= 0:
        yield hour, 1.0
        return
    while hour < end_seconds:
        part = min(hour + HOUR_SECONDS, end_seconds) - max(hour, start_seconds)
        yield hour, part / span
        hour += HOUR_SECONDS
