"""What a decision saves per day of training, beside the same steps at the reference limit."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from joulestat.domain.plan import Action, Decision, FittedPoint, OperatingPoint
from joulestat.domain.units import JOULES_PER_KWH, same_limit

_SECONDS_PER_DAY = 86_400.0
_GRAMS_PER_KILOGRAM = 1_000.0


@dataclass(frozen=True, slots=True)
class Amount:
    """Energy and what it costs; None where the tariff does not say.

    Attributes:
        kilowatt_hours: At the GPUs.
        money: Price of it with the building's overhead, in the tariff's currency.
        kilograms_co2e: Carbon of it with the building's overhead.
    """

    kilowatt_hours: float
    money: float | None
    kilograms_co2e: float | None


@dataclass(frozen=True, slots=True)
class Saving:
    """What one day at the chosen limit saves; negative where it costs more.

    Attributes:
        saved: At the reference less at the chosen limit, for the same steps.
        at_reference: What these steps take at the reference limit.
        kilowatt_hours_stderr: Standard error of the energy saved; None where not known.
        currency: Of the money; empty where there is no price.
        steps_per_day: How many steps a day has at the chosen limit.
        reference_watts: The reference limit.
    """

    saved: Amount
    at_reference: Amount
    kilowatt_hours_stderr: float | None
    currency: str
    steps_per_day: float
    reference_watts: int


def reference_point(decision: Decision) -> OperatingPoint | None:
    """Return what was measured at the reference limit; None where nothing was."""
    watts = decision.reference_power_limit_watts
    if watts is None:
        return None
    near = [p for p in decision.points if same_limit(p.power_limit_watts, watts)]
    return max(near, key=lambda point: point.steps, default=None)


def saving_per_day(decision: Decision) -> Saving | None:
    """Return what holding the decision's limit saves per day.

    (E_ref - E_chosen) per step x steps per day at the chosen limit's pace. Money and carbon
    are of the energy of the building where its PUE is known, else of the GPUs alone.

    Returns:
        None where nothing is to be held, or the reference was not measured.
    """
    reference, expected = reference_point(decision), decision.expected
    if decision.action is not Action.HOLD or reference is None or expected is None:
        return None
    steps_per_day = _SECONDS_PER_DAY / (reference.seconds_per_step * expected.slowdown_ratio)
    per_day = reference.joules_per_step * steps_per_day / JOULES_PER_KWH
    stderr = _saved_stderr_joules(decision, reference)
    return Saving(
        saved=_amount(decision, per_day * expected.energy_saving_ratio),
        at_reference=_amount(decision, per_day),
        kilowatt_hours_stderr=None if stderr is None else stderr * steps_per_day / JOULES_PER_KWH,
        currency=decision.tariff.currency,
        steps_per_day=steps_per_day,
        reference_watts=reference.power_limit_watts,
    )


def at_limit(decision: Decision, watts: int | None) -> OperatingPoint | FittedPoint | None:
    """Return what is known at a limit: measured well, else measured briefly, else fitted."""
    known: Iterable[OperatingPoint | FittedPoint] = (
        *decision.points,
        *decision.thin,
        *decision.curve,
    )
    return next((point for point in known if point.power_limit_watts == watts), None)


def _saved_stderr_joules(decision: Decision, reference: OperatingPoint) -> float | None:
    """Return the standard error of the energy saved per step, J.

    As if the two limits were measured independently, which is the wider of what is possible:
    what drifts, drifts at both.
    """
    chosen = at_limit(decision, decision.power_limit_watts)
    if chosen is None or decision.gpu_power_limits_watts:
        return None
    if chosen.power_limit_watts == reference.power_limit_watts:
        return 0.0
    errors = (reference.joules_per_step_stderr, chosen.joules_per_step_stderr)
    known = [error for error in errors if error is not None]
    return math.hypot(*known) if len(known) == len(errors) else None


def _amount(decision: Decision, kilowatt_hours: float) -> Amount:
    tariff = decision.tariff
    of_building = kilowatt_hours * (1.0 if tariff.pue_ratio is None else tariff.pue_ratio)
    price = tariff.price_per_kilowatt_hour
    grams = tariff.carbon_grams_per_kilowatt_hour
    return Amount(
        kilowatt_hours=kilowatt_hours,
        money=None if price is None else price * of_building,
        kilograms_co2e=None if grams is None else grams * of_building / _GRAMS_PER_KILOGRAM,
    )
