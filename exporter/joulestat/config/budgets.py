"""Energy budgets: the one part of the file that is a list."""

import datetime as dt
import math
from dataclasses import replace
from typing import TypeVar

import yaml

from joulestat.config import options
from joulestat.config.document import BUDGETS_KEY, Document, shown
from joulestat.config.kinds import Kind, nearest, number, word
from joulestat.config.model import BudgetConfig
from joulestat.config.sources import Given, parse, unknown
from joulestat.domain.errors import ConfigError
from joulestat.domain.tariff import Tariff
from joulestat.domain.units import JOULES_PER_KWH

T = TypeVar("T")

AMOUNTS = ("kilowatt-hours", "joules", "cost")
KEYS = ("name", "team", *AMOUNTS, "currency", "start", "end")
"""What a budget consists of; exactly one of the three amounts."""

_LABEL = word(r"[A-Za-z0-9][A-Za-z0-9 ._/-]{0,63}", "1 to 64 letters, digits, spaces or . _ - /")


def _instant(text: str) -> float:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        # Python's own words are for programmers.
        raise ValueError from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return moment.timestamp()


_INSTANT = Kind("time", "a date or time, such as 2026-11-01 or 2026-11-01T06:00:00+01:00", _instant)
_ABOVE_0 = "a number above 0"
_AMOUNT = replace(number(0), allowed=_ABOVE_0)


def read_budgets(document: Document, tariff: Tariff) -> tuple[BudgetConfig, ...]:
    """Return the file's budgets, in its order. A time without a zone is UTC.

    Args:
        document: The file.
        tariff: What a budget in money is turned into energy with, here and nowhere else.

    Raises:
        ConfigError: A budget is incomplete, contradicts itself, or shares another one's name.
    """
    budgets: list[BudgetConfig] = []
    for index, node in enumerate(document.budgets()):
        budget = _Entry(document, node, f"{BUDGETS_KEY}[{index}].", tariff).budget()
        if any(earlier.name == budget.name for earlier in budgets):
            # Series and consumption on disk go by the name, so it can have one period at a time.
            raise document.error(
                node,
                f"{BUDGETS_KEY}[{index}].name",
                f"{budget.name!r} is taken",
                "another name, also for another period; or the same one once that period is over "
                "and no longer in the list",
            )
        budgets.append(budget)
    return tuple(budgets)


class _Entry:
    """One item of the list, while it is read."""

    def __init__(self, document: Document, node: yaml.Node, path: str, tariff: Tariff) -> None:
        self._document = document
        self._node = node
        self._path = path
        self._tariff = tariff
        self._entries = document.items(node, path)
        for key, value in self._entries.items():
            if key not in KEYS:
                raise unknown(path + key, shown(value), document.place(value), nearest(key, KEYS))

    def budget(self) -> BudgetConfig:
        start_seconds = self._read("start", _INSTANT)
        end_seconds = self._read("end", _INSTANT)
        if end_seconds <= start_seconds:
            raise self._wrong("end", "is not after start", "a later time")
        return BudgetConfig(
            name=self._read("name", _LABEL),
            team=self._read("team", _LABEL),
            joules=self._joules(),
            start_seconds=start_seconds,
            end_seconds=end_seconds,
        )

    def _joules(self) -> float:
        given = [key for key in AMOUNTS if key in self._entries]
        if len(given) != 1:
            raise self._document.error(
                self._node,
                self._path,
                f"has {len(given)} amounts" if given else "has no amount",
                "one of kilowatt-hours, joules and cost",
            )
        key = given[0]
        if key != "cost" and "currency" in self._entries:
            raise self._wrong("currency", f"stands beside {key}", "a currency beside cost alone")
        amount = self._read(key, _AMOUNT)
        match key:
            case "cost":
                joules = self._joules_for(amount)
            case "kilowatt-hours":
                joules = amount * JOULES_PER_KWH
            case _:
                joules = amount
        if joules == 0 or not math.isfinite(joules):
            raise self._wrong(key, "is no amount of energy", _ABOVE_0)
        return joules

    def _joules_for(self, money: float) -> float:
        tariff = self._tariff
        joules = tariff.joules_for(money)
        if joules is None:
            price = "no price" if tariff.price_per_kilowatt_hour is None else "a price of 0"
            raise self._wrong(
                "cost",
                f"cannot be turned into energy: the tariff has {price}",
                "tariff.price-per-kilowatt-hour above 0, or kilowatt-hours instead of cost",
            )
        if "currency" in self._entries:
            currency = self._read("currency", options.TARIFF_CURRENCY.kind)
            if currency != tariff.currency:
                raise self._wrong(
                    "currency",
                    f"is {currency}, and the tariff's price is in {tariff.currency}",
                    f"{tariff.currency}, the currency of the tariff",
                )
        return joules

    def _wrong(self, key: str, what: str, allowed: str) -> ConfigError:
        return self._document.error(self._entries[key], f"{self._path}{key}", what, allowed)

    def _read(self, key: str, kind: Kind[T]) -> T:
        path = f"{self._path}{key}"
        if key not in self._entries:
            raise self._document.error(self._node, path, "is missing", kind.allowed)
        node = self._entries[key]
        return parse(Given(path, self._document.text(node, path), self._document.place(node)), kind)
