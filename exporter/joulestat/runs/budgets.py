"""Energy budgets from the config file, and what runs of their teams consumed on this node."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from joulestat.domain.snapshot import BudgetState


@dataclass(frozen=True, slots=True)
class BudgetTerms:
    """One budget as agreed: a team, an amount and the time it is for (Unix seconds)."""

    name: str
    team: str
    limit_joules: float
    start_seconds: float
    end_seconds: float


class Budgets:
    """What was consumed of each budget. A budget whose terms are gone is forgotten."""

    def __init__(self, terms: Iterable[BudgetTerms] = ()) -> None:
        self._terms = tuple(terms)
        self._consumed_uj = {each.name: 0 for each in self._terms}

    @property
    def record(self) -> Mapping[str, int]:
        """What to write to disk: consumption by name, uJ."""
        return dict(self._consumed_uj)

    def restore(self, record: Mapping[str, int]) -> None:
        """Take over what was consumed before a restart."""
        for name in self._consumed_uj:
            self._consumed_uj[name] = record.get(name, 0)

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
