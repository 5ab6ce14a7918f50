"""Objectives that need to know more than the run's curve: prices, a deadline, a budget."""

import math
from typing import Any

from joulestat.domain.errors import ConfigError
from joulestat.domain.units import JOULES_PER_KWH
from joulestat.optimizer.search.objective import LeastEnergy, Reference, Unbound

SECONDS_PER_HOUR = 3_600.0
GRAMS_PER_TONNE = 1e6


class Money(Unbound):
    """Least money: electricity, the GPU's hour and, if priced, the carbon.

    price * E * PUE + gpu_hour_price * n * T + carbon_price * intensity * E * PUE, per step.
    """

    name = "money"

    def __init__(
        self, price_per_gpu_hour: float, price_per_tonne_carbon: float | None = None
    ) -> None:
        """Pay so much for an hour of one GPU and, if given, for a tonne of CO2-equivalent.

        The price of electricity, PUE and carbon intensity come from the tariff.

        Raises:
            ConfigError: A price is negative or no number.
        """
        for option, price in (
            ("--price-per-gpu-hour", price_per_gpu_hour),
            ("--price-per-tonne-carbon", price_per_tonne_carbon),
        ):
            if price is not None and not 0 <= price < math.inf:
                raise ConfigError(
                    f"a price is {price}, but must be 0 or more",
                    field=option.lstrip("-").replace("-", "_"),
                    value=price,
                    place=option,
                    allowed="0 or more",
                )
        self.price_per_gpu_hour = price_per_gpu_hour
        self.price_per_tonne_carbon = price_per_tonne_carbon

    def parameters(self) -> dict[str, str | float]:
        """Return name and prices."""
        shown: dict[str, str | float] = {
            "name": self.name,
            "price_per_gpu_hour": self.price_per_gpu_hour,
        }
        if self.price_per_tonne_carbon is not None:
            shown["price_per_tonne_carbon"] = self.price_per_tonne_carbon
        return shown

    def value(self, joules: Any, seconds: Any, reference: Reference) -> Any:
        """Return the price of one step."""
        tariff = reference.tariff
        kilowatt_hours = joules / JOULES_PER_KWH * (tariff.pue_ratio or 1.0)
        price = (tariff.price_per_kilowatt_hour or 0.0) * kilowatt_hours
        if self.price_per_tonne_carbon is not None:
            grams = (tariff.carbon_grams_per_kilowatt_hour or 0.0) * kilowatt_hours
            price = price + self.price_per_tonne_carbon * grams / GRAMS_PER_TONNE
        return price + self.price_per_gpu_hour * reference.n_gpus * seconds / SECONDS_PER_HOUR

    def missing(self, reference: Reference) -> str:
        """Need the price of electricity and, where carbon is priced, its intensity."""
        if reference.tariff.price_per_kilowatt_hour is None:
            return (
                "the price of electricity is not known: set it in the exporter's configuration, "
                "or give --price-per-kwh"
            )
        unknown = reference.tariff.carbon_grams_per_kilowatt_hour is None
        if self.price_per_tonne_carbon is not None and unknown:
            return (
                "the carbon intensity is not known: set it in the exporter's configuration, "
                "or give --carbon-intensity"
            )
        return ""

    def first_ratio(self) -> float:
        """Look in the middle."""
        return 0.675


class FinishBy(LeastEnergy):
    """Least energy with all planned steps made by a moment."""

    name = "finish-by"

    def __init__(self, at_seconds: float) -> None:
        """Be done at this Unix time."""
        self.at_seconds = at_seconds

    def parameters(self) -> dict[str, str | float]:
        """Return name and moment."""
        return {"name": self.name, "finish_by_seconds": self.at_seconds}

    def most_seconds(self, reference: Reference) -> float | None:
        """Return the time left, divided by the steps left."""
        if not reference.steps_left:
            return None
        return max(0.0, self.at_seconds - reference.now_seconds) / reference.steps_left

    def missing(self, reference: Reference) -> str:
        """Need the steps left, and time enough at the reference limit."""
        if reference.steps_left is None:
            return "how many steps the run plans is not known: give planned_steps to joulestat.init"
        most = self.most_seconds(reference)
        if most is not None and most < reference.seconds_per_step:
            late = reference.steps_left * reference.seconds_per_step
            late -= self.at_seconds - reference.now_seconds
            return (
                f"the run cannot be done by then even at {reference.power_limit_watts} W: "
                f"{reference.steps_left:.0f} steps are left, {late / 60:.0f} min too many"
            )
        return ""

    def first_ratio(self) -> float:
        """Look where little time is lost."""
        return 0.7


class StayWithin(Unbound):
    """Least time with all planned steps made on what is left of the energy budget."""

    name = "stay-within-budget"

    def parameters(self) -> dict[str, str | float]:
        """Return the name."""
        return {"name": self.name}

    def value(self, joules: Any, seconds: Any, reference: Reference) -> Any:
        """Return the time of one step, s."""
        del joules, reference
        return seconds

    def most_joules(self, reference: Reference) -> float | None:
        """Return the energy left, divided by the steps left."""
        if not reference.steps_left or reference.joules_left is None:
            return None
        return max(0.0, reference.joules_left) / reference.steps_left

    def missing(self, reference: Reference) -> str:
        """Need the steps left and the energy left."""
        if reference.steps_left is None:
            return "how many steps the run plans is not known: give planned_steps to joulestat.init"
        if reference.joules_left is None:
            return (
                "the run has no energy budget: give energy_budget_kwh to joulestat.init, "
                "or --energy-budget-kwh"
            )
        return ""

    def first_ratio(self) -> float:
        """Look in the middle."""
        return 0.675
