"""Turns growing counters of runs into rows of history; not a microjoule is lost or made.

A row is what one (run, phase, limit) grew by within one window of ``ROW_MS``. Limits and phases
never share a row, and rows of one counter add up to that counter.
"""

from dataclasses import dataclass, field, fields

from joulestat.domain.run import Cell, Phase, RunState
from joulestat.runs.history.schema import ROW_MS

RunKey = tuple[str, int]
"""Name of a run, and its birth in Unix ms: after another birth its counters begin anew."""

CellKey = tuple[Phase, str]
"""Phase, and value of the label ``power_limit_watts``."""

RowKey = tuple[RunKey, CellKey, int]
"""Of which counter, and where the row starts, Unix ms."""

MOST_PENDING_ROWS = 20_000
"""While the disk takes none, rows beyond this many grow longer instead of more: some 10 MB."""

NO_CELL = Cell()


@dataclass(slots=True)
class Row:
    """What a counter grew by since the last write.

    Attributes:
        end_ms: Unix ms of the last look that is in it.
        energy_uj: Energy.
        duration_ns: Time that the steps took.
        steps: Steps.
        samples: Samples.
        tokens: Tokens.
        slowed_ms: How long a GPU of the run was slowed by heat or its power supply.
        watched_ms: Out of so long.
    """

    end_ms: int
    energy_uj: int = 0
    duration_ns: int = 0
    steps: int = 0
    samples: int = 0
    tokens: int = 0
    slowed_ms: int = 0
    watched_ms: int = 0

    def plus(self, later: "Row") -> "Row":
        """Return the sum of two parts of one row."""
        sums = {
            each.name: getattr(self, each.name) + getattr(later, each.name) for each in fields(Row)
        }
        return Row(**{**sums, "end_ms": max(self.end_ms, later.end_ms)})


@dataclass(slots=True)
class KnownRun:
    """One run as it was when it was last looked at.

    Attributes:
        cells: Its counters; what is in no cell is 0.
        grown_ms: Unix ms of the look that last saw one grow, or of the run's birth.
        rows: Row that each counter grows in: its start in Unix ms, and its window's number.
        slowed_ms: Heat since ``grown_ms``, as in ``Row``.
        watched_ms: Likewise.
    """

    cells: dict[CellKey, Cell]
    grown_ms: int
    rows: dict[CellKey, tuple[int, int]] = field(default_factory=dict)
    slowed_ms: int = 0
    watched_ms: int = 0


class Merger:
    """Rows to be written, and the counters that they lead to."""

    def __init__(self, runs: dict[RunKey, KnownRun]) -> None:
        """Go on from what is known of runs."""
        self.runs = runs
        self.pending: dict[RowKey, Row] = {}

    def grow(self, key: RunKey, state: RunState, now_ms: int) -> None:
        """Book what a known run's counters grew by since the last look.

        A counter below what is known comes from a ledger that was not written before a crash:
        its joules will be credited again, so nothing is booked until it has caught up.
        """
        run = self.runs[key]
        grown = {
            cell_key: _minus(cell, run.cells.get(cell_key, NO_CELL))
            for cell_key, cell in state.cells.items()
            if cell != run.cells.get(cell_key)
        }
        grown = {cell_key: delta for cell_key, delta in grown.items() if not _falls(delta)}
        rows = {cell_key: delta for cell_key, delta in grown.items() if delta != NO_CELL}
        for cell_key in grown:
            run.cells[cell_key] = state.cells[cell_key]
        if not rows:
            return
        for cell_key, delta in rows.items():
            self._add(key, cell_key, delta, now_ms)
        # Heat goes with the counter that most of the time went to.
        longest = max(rows, key=lambda cell_key: rows[cell_key].duration_ns)
        row = self.pending[key, longest, run.rows[longest][0]]
        row.slowed_ms += run.slowed_ms
        row.watched_ms += run.watched_ms
        run.slowed_ms = run.watched_ms = 0
        run.grown_ms = now_ms

    def take(self) -> dict[RowKey, Row]:
        """Return the rows to be written, and begin to gather anew."""
        rows, self.pending = self.pending, {}
        return rows

    def _add(self, key: RunKey, cell_key: CellKey, delta: Cell, now_ms: int) -> None:
        run = self.runs[key]
        start_ms, window = run.rows.get(cell_key, (0, -1))
        if window < 0 or (window != now_ms // ROW_MS and len(self.pending) < MOST_PENDING_ROWS):
            start_ms = min(run.grown_ms, now_ms)
            run.rows[cell_key] = (start_ms, now_ms // ROW_MS)
        row = self.pending.setdefault((key, cell_key, start_ms), Row(now_ms))
        row.end_ms = max(row.end_ms, now_ms)
        row.energy_uj += delta.energy_uj
        row.duration_ns += delta.duration_ns
        row.steps += delta.counts.steps
        row.samples += delta.counts.samples
        row.tokens += delta.counts.tokens


def _minus(cell: Cell, earlier: Cell) -> Cell:
    return Cell(
        cell.energy_uj - earlier.energy_uj,
        cell.duration_ns - earlier.duration_ns,
        cell.counts - earlier.counts,
    )


def _falls(delta: Cell) -> bool:
    return delta.energy_uj < 0 or delta.duration_ns < 0 or delta.counts.any_negative
