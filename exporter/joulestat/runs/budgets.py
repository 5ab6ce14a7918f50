"""Energy budgets from the config file, and what runs of their teams consumed on this node."""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from joulestat.domain.snapshot import BudgetState
from joulestat.domain.units import uj_to_joules

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BudgetTerms:
    """One budget as agreed: a team, an amount and the time it is for (Unix seconds)."""

    name: str
    team: str
    limit_joules: float
    start_seconds: float
    end_seconds: float


class Budgets:
    """What was consumed of each budget.

    Consumption belongs to a name, a team and a start: a budget that gets another start, or
    another team, begins at 0. One that gets another amount or end goes on. Outside of its time
    a budget is shown as it stands, and nothing is charged to it.
    """

    def __init__(self, terms: Iterable[BudgetTerms] = ()) -> None:
        self._terms = tuple(terms)
        self._consumed_uj = {each.name: 0 for each in self._terms}

    @property
    def record(self) -> Mapping[str, str]:
        """What to write to disk: a JSON document by name, the last one of a name counts."""
        return {
            terms.name: json.dumps(
                {
                    "team": terms.team,
                    "start_seconds": terms.start_seconds,
                    "consumed_uj": self._consumed_uj[terms.name],
                }
            )
            for terms in self._terms
        }

    def restore(self, record: Mapping[str, str]) -> None:
        """Take over what was consumed of these very budgets before a restart."""
        for terms in self._terms:
            if terms.name in record:
                self._consumed_uj[terms.name] = _consumed_uj_of(terms, record[terms.name])

    def spend(self, team: str, energy_uj: int, wall_seconds: float) -> None:
        """Charge credited energy to every budget of a team whose time it is."""
        for terms in self._terms:
            if terms.team == team and terms.start_seconds <= wall_seconds < terms.end_seconds:
                self._consumed_uj[terms.name] += energy_uj

    def states(self) -> tuple[BudgetState, ...]:
        """Return terms and consumption, in the order of the config file."""
        return tuple(
            BudgetState(
                name=terms.name,
                team=terms.team,
                limit_joules=terms.limit_joules,
                start_seconds=terms.start_seconds,
                end_seconds=terms.end_seconds,
                consumed_uj=self._consumed_uj[terms.name],
            )
            for terms in self._terms
        )


def _consumed_uj_of(terms: BudgetTerms, text: str) -> int:
    """Return what a record says was consumed of a budget; 0 where it is of another one."""
    record = json.loads(text)
    if isinstance(record, int):
        # Written before records said whose they are.
        return record
    if (record["team"], record["start_seconds"]) == (terms.team, terms.start_seconds):
        return int(record["consumed_uj"])
    log.info(
        "event=budget_begins_anew budget=%r team=%r consumed_before_joules=%.0f",
        terms.name,
        terms.team,
        uj_to_joules(record["consumed_uj"]),
    )
    return 0
