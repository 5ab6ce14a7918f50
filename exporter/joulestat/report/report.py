"""A whole report: a run's energy, what it emitted, and what is missing for that."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from joulestat.domain.emissions import Emissions, emissions_source
from joulestat.optimizer.show.wording import rfc3339
from joulestat.report.carbon import Carbon, Intensity, carbon_of
from joulestat.report.facts import GpuEnergy, RunEnergy

NO_INTENSITY = (
    "no carbon intensity is known, so there are no emissions: give --carbon.grams-per-kwh, "
    "--carbon.csv or --carbon.promql, or set tariff.carbon-grams-per-kilowatt-hour at the exporters"
)
NO_PUE = (
    "no PUE is known, so the emissions are of the GPUs' own energy: give --pue, or set "
    "tariff.pue-ratio at the exporters"
)


MOST_BEGINS = 6
"""As many are named."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the person who asks knows of the training; None where nothing was said.

    Attributes:
        pue_ratio: Power usage effectiveness of the building.
        training_type: ``pre-training`` or ``fine-tuning``.
        location: Where the electricity came from.
        hardware: What it was trained on.
    """

    pue_ratio: float | None = None
    training_type: str | None = None
    location: str | None = None
    hardware: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What is told of a run.

    Attributes:
        energy: What it took.
        carbon: What that emitted; None where it is not known.
        emissions: The same as a model card has it; None with ``carbon``.
        missing: What is not known, and how to tell it, for people.
    """

    energy: RunEnergy
    carbon: Carbon | None
    emissions: Emissions | None
    missing: tuple[str, ...]


def report_of(
    energy: RunEnergy, intensity: Intensity | None, pue_ratio: float | None, told: Told
) -> Report:
    """Return the report of a run.

    Args:
        energy: What it took.
        intensity: Of its electricity; None where nothing is known of that.
        pue_ratio: What its exporters say of the building; None where they do not.
        told: What was said beside that, which comes first.
    """
    overhead = pue_ratio if told.pue_ratio is None else told.pue_ratio
    found = NO_INTENSITY if intensity is None else carbon_of(energy.portions, intensity, overhead)
    if isinstance(found, str):
        return Report(energy, None, None, (*_unfinished(energy), found))
    emissions = Emissions(
        found.grams,
        emissions_source(found.grams_per_kwh, found.pue_ratio, found.source),
        told.training_type,
        told.location or found.zone or None,
        told.hardware or hardware_words(energy.gpus) or None,
    )
    return Report(energy, found, emissions, (*_unfinished(energy), *_unsaid(emissions, overhead)))


def hardware_words(gpus: tuple[GpuEnergy, ...]) -> str:
    """Return "8 x NVIDIA H100"; empty where a GPU's model is not known."""
    models = Counter(gpu.model for gpu in gpus)
    if "" in models:
        return ""
    return ", ".join(f"{number} x {model}" for model, number in sorted(models.items()))


def _unfinished(energy: RunEnergy) -> Iterator[str]:
    begun = [rfc3339(round(at_seconds)) for at_seconds in energy.births_seconds]
    if len(begun) > 1:
        shown = (
            begun if len(begun) <= MOST_BEGINS else [*begun[: MOST_BEGINS - 1], "...", begun[-1]]
        )
        yield (
            f"what has this name was begun {len(begun)} times and is counted together: "
            f"{', '.join(shown)}; --since leaves out what was begun earlier"
        )
    if not energy.ended:
        yield (
            "the run did not say that it ended: this is its energy until it was seen last, "
            f"{rfc3339(round(energy.end_seconds))}"
        )


def _unsaid(emissions: Emissions, pue_ratio: float | None) -> Iterator[str]:
    if pue_ratio is None:
        yield NO_PUE
    if emissions.geographical_location is None:
        yield "where the electricity came from is not known: give --location"
    if emissions.hardware_used is None:
        yield "what the run was on is not known: give --hardware"
