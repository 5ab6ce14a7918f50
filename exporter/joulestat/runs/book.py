"""One run on this node: its ranks, and what it spent by phase and limit."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from joulestat.domain.run import Cell, Claim, Counts, Phase, Push, RunLabels, RunState
from joulestat.runs.rank import RankBook

LABELS_KEPT = 32
"""Distinct limits per run; beyond it further ones are booked as a transition."""


@dataclass(slots=True)
class RunBook:
    """A run's mutable record; the ledger alone changes it.

    Attributes:
        name: The run's name.
        labels: Whose run it is.
        start_seconds: Unix time of the first push.
        end_seconds: Unix time of the end, None while it runs.
        ranks: By rank.
        cells: By (phase, value of the label ``power_limit_watts``).
        device_energy_uj: Credited energy by device.
        closed_ns: Up to when the lead rank's intervals are booked, None before its first push.
        lead: The rank whose steps are counted: the lowest live one.
        disturbed: Claims came or went since ``closed_ns``: the interval has no clean J/step.
    """

    name: str
    start_seconds: float
    labels: RunLabels = field(default_factory=RunLabels)
    end_seconds: float | None = None
    energy_budget_joules: float | None = None
    planned_steps: int | None = None
    ranks: dict[int, RankBook] = field(default_factory=dict)
    cells: dict[tuple[Phase, str], Cell] = field(default_factory=dict)
    device_energy_uj: dict[str, int] = field(default_factory=dict)
    closed_ns: int | None = None
    lead: int | None = None
    disturbed: bool = True

    def live_ranks(self) -> list[int]:
        """Return the ranks that hold, or are about to hold, devices; lowest first."""
        return sorted(rank for rank, book in self.ranks.items() if book.live)

    def open_claims(self) -> Iterable[tuple[int, str]]:
        """Yield (rank, device UUID) of every claim that is open now."""
        for rank in sorted(self.ranks):
            settled = self.ranks[rank].settled
            if settled is not None:
                for gpu in settled.gpus:
                    yield rank, gpu

    def gpus(self) -> set[str]:
        """Return the devices that are claimed now."""
        return {gpu for _, gpu in self.open_claims()}

    def make_room_for(self, rank: int, most: int) -> None:
        """Forget the ended ranks that were heard of longest ago, to stay below ``most`` ranks."""
        if rank in self.ranks or len(self.ranks) < most:
            return
        ended = sorted(
            (number for number, book in self.ranks.items() if not book.live),
            key=lambda number: self.ranks[number].pushed_ns,
        )
        for number in ended[: len(self.ranks) - most + 1]:
            del self.ranks[number]

    def describe(self, push: Push) -> None:
        """Take over what a push says about the run; what it leaves out stays."""
        said = {key: value for key, value in _label_items(push.labels) if value}
        self.labels = replace(self.labels, **said)
        if push.energy_budget_joules is not None:
            self.energy_budget_joules = push.energy_budget_joules
        if push.planned_steps is not None:
            self.planned_steps = push.planned_steps

    def add(
        self,
        key: tuple[Phase, str],
        *,
        energy_uj: int = 0,
        duration_ns: int = 0,
        counts: Counts | None = None,
    ) -> None:
        """Add to a cell; with nothing to add the cell is made to exist, at 0."""
        cell = self.cells.get(key, Cell())
        self.cells[key] = Cell(
            energy_uj=cell.energy_uj + energy_uj,
            duration_ns=cell.duration_ns + duration_ns,
            counts=cell.counts + counts if counts else cell.counts,
        )

    def has_room_for(self, label: str) -> bool:
        """Tell whether a limit may still become a label value of this run."""
        known = {known_label for _, known_label in self.cells}
        return label in known or len(known) < LABELS_KEPT

    def state(self) -> RunState:
        """Return the frozen state for the snapshot."""
        return RunState(
            name=self.name,
            labels=self.labels,
            claims=tuple(
                Claim(rank, gpu, settled.phase)
                for rank, gpu in self.open_claims()
                if (settled := self.ranks[rank].settled)
            ),
            cells=MappingProxyType(dict(self.cells)),
            device_energy_uj=MappingProxyType(dict(self.device_energy_uj)),
            start_seconds=self.start_seconds,
            end_seconds=self.end_seconds,
            last_push_seconds=MappingProxyType(
                {rank: book.pushed_seconds for rank, book in sorted(self.ranks.items())}
            ),
            energy_budget_joules=self.energy_budget_joules,
            planned_steps=self.planned_steps,
        )


def _label_items(labels: RunLabels) -> list[tuple[str, str]]:
    return [
        ("job", labels.job),
        ("user", labels.user),
        ("team", labels.team),
        ("framework", labels.framework),
    ]
