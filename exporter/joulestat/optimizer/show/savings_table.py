"""What a decision saves per day, as lines of a table: energy, money, carbon, as far as known."""

from rich.table import Table

from joulestat.domain.plan import Decision
from joulestat.optimizer.show.saving import Saving
from joulestat.optimizer.show.wording import Z_95, figure

_DIGITS = 3
"""Of amounts per day: their error is seldom below 1 %."""


def amounts(saving: Saving) -> list[tuple[str, str, str]]:
    """Return what is saved: what it is, how much of it, and of how much at the reference."""
    energy = figure(saving.saved.kilowatt_hours, _DIGITS)
    if saving.kilowatt_hours_stderr:
        energy += f" ± {figure(Z_95 * saving.kilowatt_hours_stderr, 2)}"
    rows = [
        ("energy", f"{energy} kWh", f"{figure(saving.at_reference.kilowatt_hours, _DIGITS)} kWh")
    ]
    saved, whole = saving.saved, saving.at_reference
    if saved.money is not None and whole.money is not None:
        currency = saving.currency
        rows.append(
            (
                "money",
                f"{_money(saved.money, whole.money)} {currency}".rstrip(),
                f"{_money(whole.money, whole.money)} {currency}".rstrip(),
            )
        )
    if saved.kilograms_co2e is not None and whole.kilograms_co2e is not None:
        rows.append(
            (
                "carbon",
                f"{figure(saved.kilograms_co2e, _DIGITS)} kg CO2e",
                f"{figure(whole.kilograms_co2e, _DIGITS)} kg CO2e",
            )
        )
    return rows


def overhead_note(decision: Decision, saving: Saving) -> str:
    """Return what money and carbon are counted of; empty where neither is known."""
    known = {
        "money": saving.saved.money is not None,
        "carbon": saving.saved.kilograms_co2e is not None,
    }
    what = " and ".join(name for name, is_known in known.items() if is_known)
    if not what:
        return ""
    pue = decision.tariff.pue_ratio
    if pue is None:
        return f"{what} of the GPUs' energy alone: the building's overhead (PUE) is not known"
    return f"{what} with the building's overhead, PUE {pue:g}"


def savings_table(saving: Saving) -> Table:
    """Return the lines for a terminal."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("per day")
    table.add_column("saves", justify="right", no_wrap=True)
    table.add_column(f"of, at {saving.reference_watts} W", justify="right", no_wrap=True)
    for name, saved, whole in amounts(saving):
        table.add_row(name, saved, whole)
    return table


def _money(amount: float, whole: float) -> str:
    """Return money with cents, where a day costs so little that they matter."""
    return f"{amount:,.0f}" if abs(whole) >= 1_000 else f"{amount:.2f}"
