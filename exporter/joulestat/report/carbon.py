"""From energy to emissions: joules x PUE x the intensity of place and time, portion by portion."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from joulestat.domain.units import JOULES_PER_KWH
from joulestat.optimizer.show.wording import rfc3339
from joulestat.report.facts import Portion

LEAST_JOULES = 1e-6
"""What is not covered and less than the exporters count in, is a float's rounding."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which an intensity held.

    Attributes:
        start_seconds: Unix time at which it begins.
        end_seconds: Unix time at which it is over.
        grams_per_kwh: CO2-equivalent of a kilowatt-hour of electricity, g.
    """

    start_seconds: float
    end_seconds: float
    grams_per_kwh: float


Course = Sequence[Stretch]
"""How an intensity went: stretches in order of time that do not overlap."""


@dataclass(frozen=True, slots=True)
class Intensity:
    """What electricity emitted, where a run was.

    Attributes:
        source: Where this is known from, for people; said in public, so without names of hosts.
        course_by_node: How it went, where that depends on the node.
        course: How it went on all other nodes.
        zone: Zone of the grid; empty where not said.
    """

    source: str
    course_by_node: Mapping[str, Course]
    course: Course = ()
    zone: str = ""

    def course_of(self, node: str) -> Course:
        """Return how it went on a node; empty where that is not known."""
        return self.course_by_node.get(node, self.course)


@dataclass(frozen=True, slots=True)
class Carbon:
    """What a run emitted.

    Attributes:
        grams: CO2-equivalent, g.
        grams_per_kwh: Mean intensity, weighted by energy.
        pue_ratio: What the energy was multiplied with for the building's overhead; None where that
            is not known, and the GPUs alone are counted.
        source: Where the intensity is known from.
        zone: Zone of the grid; empty where not said.
    """

    grams: float
    grams_per_kwh: float
    pue_ratio: float | None
    source: str
    zone: str


def constant(grams_per_kwh: float, source: str) -> Intensity:
    """Return an intensity that is the same everywhere and at all times."""
    return Intensity(source, {}, (Stretch(float("-inf"), float("inf"), grams_per_kwh),))


def carbon_of(
    portions: Iterable[Portion], intensity: Intensity, pue_ratio: float | None
) -> Carbon | str:
    """Return what a run emitted, or why that cannot be told.

    Args:
        portions: Its energy over time.
        intensity: Of its electricity.
        pue_ratio: Power usage effectiveness of its building; None for the GPUs alone.

    Returns:
        A sentence for people where the intensity of some of its time is not known. Nothing is
        filled in for that.
    """
    grams = known_joules = unknown_joules = 0.0
    gaps: list[Portion] = []
    for portion in portions:
        joules, its_grams = _covered(portion, intensity.course_of(portion.node))
        grams += its_grams
        known_joules += joules
        if portion.joules - joules > LEAST_JOULES:
            unknown_joules += portion.joules - joules
            gaps.append(portion)
    if gaps:
        return _gap_words(gaps, unknown_joules / (known_joules + unknown_joules))
    mean = grams * JOULES_PER_KWH / known_joules if known_joules else 0.0
    overhead = 1.0 if pue_ratio is None else pue_ratio
    return Carbon(grams * overhead, mean, pue_ratio, intensity.source, intensity.zone)


def _covered(portion: Portion, course: Course) -> tuple[float, float]:
    """Return of a portion the joules whose intensity is known, and their emissions in g.

    Within a portion the power is taken to have been even.
    """
    start, end = portion.start_seconds, portion.end_seconds
    span = end - start
    joules = grams = 0.0
    index = max(0, bisect_right(course, start, key=lambda stretch: stretch.start_seconds) - 1)
    for stretch in course[index:]:
        if stretch.start_seconds > end:
            break
        if span > 0:
            both = min(end, stretch.end_seconds) - max(start, stretch.start_seconds)
            share = portion.joules * max(both, 0.0) / span
        else:
            share = portion.joules if stretch.start_seconds <= start <= stretch.end_seconds else 0.0
        share = min(share, portion.joules - joules)
        joules += share
        grams += share / JOULES_PER_KWH * stretch.grams_per_kwh
    return joules, grams


def _gap_words(gaps: Sequence[Portion], ratio: float) -> str:
    begin = min(portion.start_seconds for portion in gaps)
    end = max(portion.end_seconds for portion in gaps)
    return (
        f"the intensity of {max(ratio, 0.001):.1%} of the energy is not known, between "
        f"{rfc3339(round(begin))} and {rfc3339(round(end))}; nothing was filled in"
    )
