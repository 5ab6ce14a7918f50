"""What one node's counters grew by between scrapes: exact, because nothing is extrapolated.

``increase()`` extrapolates to the edges of its range (0.2 % of six hours, 14 % of ten minutes,
and another figure in every version). Stored values need no guess: all counters of a node come
from one scrape, so each difference of joules, seconds and steps covers the very same steps.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from joulestat.optimizer.history.answers import Point
from joulestat.optimizer.history.facts import Slice

STEPS = "joulestat_run_steps_total"
STEP_SECONDS = "joulestat_run_step_seconds_total"
ENERGY_JOULES = "joulestat_run_energy_joules_total"
SAMPLES = "joulestat_run_samples_total"
TOKENS = "joulestat_run_tokens_total"
ALWAYS_SHOWN = (STEPS, STEP_SECONDS, ENERGY_JOULES)
COUNTERS = (*ALWAYS_SHOWN, SAMPLES, TOKENS)

CounterKey = tuple[str, int]
"""Metric name and power limit in whole W: one counter of a node."""

ReadRaw = Callable[[float, float], Mapping[CounterKey, Sequence[Point]]]
"""Reads a node's stored samples after one moment and up to another (Unix seconds), in order."""


@dataclass(slots=True)
class NodeTrack:
    """One node's counters as looked at from time to time.

    Attributes:
        node: Which node.
        values: By Unix time, then by counter. What stands as it stood at the look before may be
            left out.
        births: When the run began on this node, by Unix time of looking, all looks. It changes
            where the exporter forgot the run and began anew.
    """

    node: str
    values: dict[float, dict[CounterKey, float]] = field(default_factory=dict)
    births: dict[float, float] = field(default_factory=dict)

    def note(self, key: CounterKey, points: Iterable[Point]) -> None:
        """Add points of one counter. Where two scrapers saw it, the later look is the larger."""
        for at_seconds, value in points:
            known = self.values.setdefault(at_seconds, {})
            known[key] = max(value, known.get(key, value))

    def note_births(self, points: Iterable[Point]) -> None:
        """Add points of the run's start on this node."""
        for at_seconds, value in points:
            self.births[at_seconds] = max(value, self.births.get(at_seconds, value))


def slices_of(track: NodeTrack, window_start_seconds: float, read_raw: ReadRaw) -> list[Slice]:
    """Return what the node's counters grew by, in time order.

    A counter's first value counts whole if it was born inside the window: the run began there, or
    the node was seen before without that counter. Otherwise it is where counting starts. Where
    a counter fell, or the run was begun anew, all the node's counters are read again sample by
    sample, so that what they had before the reset is not lost and none passes unnoticed.

    Args:
        track: What was seen.
        window_start_seconds: Unix time at which the window begins.
        read_raw: Reads stored samples at a reset.
    """
    slices: list[Slice] = []
    known: dict[CounterKey, float] = {}
    gone: dict[CounterKey, float] = {}
    birth: float | None = None
    seen_seconds: float | None = None
    for at_seconds in sorted(track.values.keys() | track.births.keys()):
        values = track.values.get(at_seconds, {})
        if gone:
            values = _shown(values, gone)
        new_birth = track.births.get(at_seconds, birth)
        from_seconds = at_seconds if seen_seconds is None else seen_seconds
        if seen_seconds is None:
            born_inside = new_birth is not None and new_birth >= window_start_seconds
            grown = dict(values) if born_inside else {}
            if new_birth is not None and born_inside:
                from_seconds = min(new_birth, at_seconds)
        elif was_reset(known, values, birth, new_birth):
            samples = read_raw(seen_seconds, at_seconds)
            grown = _grown_raw(known, samples)
            values = {key: points[-1][1] for key, points in samples.items() if points}
            if new_birth is not None and new_birth != birth:
                # What is not shown yet will begin at 0, too.
                ended = {key for key in values if samples[key][-1][0] < new_birth}
                gone.update((key, value) for key, value in known.items() if key not in values)
                gone.update((key, values.pop(key)) for key in ended)
                known.clear()
        else:
            grown = {
                key: value - known.get(key, 0.0)
                for key, value in values.items()
                if value != known.get(key, 0.0)
            }
        if grown:
            slices.extend(_as_slices(track.node, from_seconds, at_seconds, grown))
        known.update(values)
        birth, seen_seconds = new_birth, at_seconds
    return slices


def _shown(
    values: Mapping[CounterKey, float], gone: dict[CounterKey, float]
) -> dict[CounterKey, float]:
    """Leave out counters that ended with a reset and are shown only by looking back.

    Prometheus repeats the last value of a series for minutes unless the scraper marked its end,
    which it cannot do when it was away itself.
    """
    shown = {key: value for key, value in values.items() if gone.get(key) != value}
    for key in shown:
        gone.pop(key, None)
    return shown


def was_reset(
    known: Mapping[CounterKey, float],
    values: Mapping[CounterKey, float],
    birth: float | None,
    new_birth: float | None,
) -> bool:
    """Tell whether a node's counters began anew between two looks.

    Args:
        known: What they stood at.
        values: Those that stand at something else now.
        birth: When the run had begun there, as it was shown at the first look.
        new_birth: The same at the second look.
    """
    if birth is not None and new_birth != birth:
        return True
    for key, value in values.items():  # noqa: SIM110 - any() costs twice that, at every look
        if value < known.get(key, 0.0):
            return True
    return False


def _grown_raw(
    known: Mapping[CounterKey, float], samples: Mapping[CounterKey, Sequence[Point]]
) -> dict[CounterKey, float]:
    """Sum positive steps from sample to sample; after a fall the new value counts whole."""
    grown: dict[CounterKey, float] = {}
    for key, points in samples.items():
        before = known.get(key, 0.0)
        total = 0.0
        for _, value in points:
            total += value - before if value >= before else value
            before = value
        grown[key] = total
    return grown


def _as_slices(
    node: str, start: float, end: float, grown: Mapping[CounterKey, float]
) -> Iterable[Slice]:
    by_limit: dict[int, dict[str, float]] = {}
    for (metric, limit), amount in grown.items():
        by_limit.setdefault(limit, {})[metric] = amount
    for limit in sorted(by_limit):
        amounts = by_limit[limit].get
        steps, joules = amounts(STEPS, 0.0), amounts(ENERGY_JOULES, 0.0)
        seconds = amounts(STEP_SECONDS, 0.0)
        if steps or seconds or joules:
            samples, tokens = amounts(SAMPLES, 0.0), amounts(TOKENS, 0.0)
            yield Slice(node, limit, start, end, steps, joules, seconds, samples, tokens)
