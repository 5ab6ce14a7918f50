"""Energy budgets: the one part of the file that is a list."""

import datetime as dt
import math
from typing import TypeVar

import yaml

from joulestat.config.document import BUDGETS_KEY, Document, shown
from joulestat.config.kinds import Kind, nearest, number, word
from joulestat.config.model import BudgetConfig
from joulestat.config.sources import Given, parse, unknown
from joulestat.domain.units import JOULES_PER_KWH

T = TypeVar("T")

KEYS = ("name", "team", "kilowatt-hours", "joules", "start", "end")
"""What a budget consists of; exactly one of the two energies."""

_LABEL = word(r"[A-Za-z0-9][A-Za-z0-9 ._/-]{0,63}", "1 to 64 letters, digits, spaces or . _ - /")


def _instant(text: str) -> float:
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return moment.timestamp()


_INSTANT = Kind("time", "a date or time, such as 2026-11-01 or 2026-11-01T06:00:00+01:00", _instant)
_ENERGY = number(0)


def read_budgets(document: Document) -> tuple[BudgetConfig, ...]:
    """Return the file's budgets, in its order. A time without a zone is UTC.

    Raises:
        ConfigError: A budget is incomplete, contradicts itself, or shares another one's name.
    """
    budgets: list[BudgetConfig] = []
    for index, node in enumerate(document.budgets()):
        budget = _Entry(document, node, f"{BUDGETS_KEY}[{index}].").budget()
        if any(earlier.name == budget.name for earlier in budgets):
            # The name is the identity under which consumption is kept on disk.
            raise document.error(
                node, f"{BUDGETS_KEY}[{index}].name", f"{budget.name!r} is taken", "another name"
            )
        budgets.append(budget)
    return tuple(budgets)


class _Entry:
    """One item of the list, while it is read."""

    def __init__(self, document: Document, node: yaml.Node, path: str) -> None:
        self._document = document
        self._node = node
        self._path = path
        self._entries = document.items(node, path)
        for key, value in self._entries.items():
            if key not in KEYS:
                raise unknown(path + key, shown(value), document.place(value), nearest(key, KEYS))

    def budget(self) -> BudgetConfig:
        start_seconds = self._read("start", _INSTANT)
        end_seconds = self._read("end", _INSTANT)
        if end_seconds <= start_seconds:
            raise self._document.error(
                self._entries["end"], f"{self._path}end", "is not after start", "a later time"
            )
        return BudgetConfig(
            name=self._read("name", _LABEL),
            team=self._read("team", _LABEL),
            joules=self._joules(),
            start_seconds=start_seconds,
            end_seconds=end_seconds,
        )

    def _joules(self) -> float:
        if ("joules" in self._entries) == ("kilowatt-hours" in self._entries):
            raise self._document.error(
                self._node, self._path, "has no energy or two", "one of kilowatt-hours and joules"
            )
        if "joules" in self._entries:
            key, joules = "joules", self._read("joules", _ENERGY)
        else:
            key = "kilowatt-hours"
            joules = self._read(key, _ENERGY) * JOULES_PER_KWH
        if joules == 0 or not math.isfinite(joules):
            raise self._document.error(
                self._entries[key],
                f"{self._path}{key}",
                "is no amount of energy",
                "a number above 0",
            )
        return joules

    def _read(self, key: str, kind: Kind[T]) -> T:
        path = f"{self._path}{key}"
        if key not in self._entries:
            raise self._document.error(self._node, path, "is missing", kind.allowed)
        node = self._entries[key]
        return parse(Given(path, self._document.text(node, path), self._document.place(node)), kind)
