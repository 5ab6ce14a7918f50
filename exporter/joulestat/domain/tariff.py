"""What a joule costs where this node stands: money, carbon, overhead."""

from dataclasses import dataclass, fields, replace

from joulestat.domain.units import JOULES_PER_KWH


@dataclass(frozen=True, slots=True)
class Tariff:
    """Prices as the operator wrote them down; None where nothing was said.

    Attributes:
        price_per_kilowatt_hour: Price of electricity, in ``currency``.
        currency: ISO 4217 code such as ``EUR``; empty only without a price.
        carbon_grams_per_kilowatt_hour: Carbon intensity of the grid, g CO2-equivalent.
        zone: Grid zone that the intensity is of, such as ``DE``; empty where not said.
        pue_ratio: Power usage effectiveness: energy of the building / energy of the machines,
            at least 1.
    """

    price_per_kilowatt_hour: float | None = None
    currency: str = ""
    carbon_grams_per_kilowatt_hour: float | None = None
    zone: str = ""
    pue_ratio: float | None = None

    def overridden_by(self, better: "Tariff") -> "Tariff":
        """Return this tariff with what is known better put in; None and empty are not known."""
        said = {
            field.name: value
            for field in fields(better)
            if (value := getattr(better, field.name)) not in (None, "")
        }
        return replace(self, **said)

    def joules_for(self, money: float) -> float | None:
        """Return the energy of the GPUs that so much money pays for, J.

        A joule of a GPU costs the building ``pue_ratio`` joules; without one it costs itself.

        Args:
            money: In ``currency``.

        Returns:
            None where the price is not known or 0, at which any energy costs nothing.
        """
        if not self.price_per_kilowatt_hour:
            return None
        kilowatt_hours = money / (self.price_per_kilowatt_hour * (self.pue_ratio or 1.0))
        return kilowatt_hours * JOULES_PER_KWH


UNKNOWN_TARIFF = Tariff()
"""Nothing is known of what a joule costs."""
