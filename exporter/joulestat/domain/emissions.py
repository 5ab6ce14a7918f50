"""What a training emitted, as a model card tells it."""

from dataclasses import dataclass

from joulestat.domain.units import JOULES_PER_KWH


@dataclass(frozen=True, slots=True)
class Emissions:
    """Greenhouse gases of a training's electricity. An intensity nobody told is never made up.

    Attributes:
        grams: CO2-equivalent, g.
        source: How this was found out, for people.
        training_type: ``pre-training`` or ``fine-tuning``; None where not said.
        geographical_location: Where the electricity came from; None where not said.
        hardware_used: What it was trained on; None where not known.
    """

    grams: float
    source: str
    training_type: str | None = None
    geographical_location: str | None = None
    hardware_used: str | None = None


def emissions_at(
    joules: float,
    grams_per_kwh: float,
    *,
    pue_ratio: float | None = None,
    training_type: str | None = None,
    geographical_location: str | None = None,
    hardware_used: str | None = None,
) -> Emissions:
    """Return the emissions of a training whose electricity was equally clean all the time.

    Args:
        joules: Energy of all its GPUs, J.
        grams_per_kwh: CO2-equivalent of a kWh where and when it ran, g.
        pue_ratio: Energy of the building over that of the machines; None for the GPUs alone.
        training_type: ``pre-training`` or ``fine-tuning``.
        geographical_location: Where the electricity came from.
        hardware_used: What it was trained on.
    """
    return Emissions(
        joules / JOULES_PER_KWH * (1.0 if pue_ratio is None else pue_ratio) * grams_per_kwh,
        emissions_source(grams_per_kwh, pue_ratio),
        training_type,
        geographical_location,
        hardware_used,
    )


def emissions_source(
    grams_per_kwh: float, pue_ratio: float | None, intensity_source: str = ""
) -> str:
    """Return what a card says of where its emissions come from.

    Args:
        grams_per_kwh: Intensity, or the mean of it.
        pue_ratio: None where the building's overhead was left out.
        intensity_source: Where the intensity is known from; empty where that was not said.
    """
    overhead = "" if pue_ratio is None else f" x PUE {pue_ratio:g}"
    named = f" ({intensity_source})" if intensity_source else ""
    left_out = ", without PUE" if pue_ratio is None else ""
    return f"joulestat, measured GPU energy{overhead} x {grams_per_kwh:.4g} g/kWh{named}{left_out}"
