"""Rows of history add up to the ledger's counters, whatever happens in whatever order."""

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from fakes.histories import sums
from fakes.node import a_snapshot
from joulestat.domain.run import Cell
from joulestat.domain.tariff import Tariff
from joulestat.runs.history.file import NodeIdentity
from joulestat.runs.history.keeper import HistoryKeeper
from joulestat.runs.history.reader import HistoryReader
from properties.test_conservation import Node

IDENTITY = NodeIdentity("node-1", "memory-1", Tariff())


class NodeWithHistory(Node):
    """The same node; each tick is looked at, and now and then written."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "history.sqlite"
        self.keeper = HistoryKeeper(self.path, IDENTITY, 30 * 86_400.0)

    def _tick(self, passed_ns: int, drawn_uj: list[int]) -> None:
        super()._tick(passed_ns, drawn_uj)
        shown = replace(a_snapshot([], self.ledger.run_states(self.wall)), wall_seconds=self.wall)
        # Endings are never hidden here: a restart finds all runs changed.
        self.keeper.note(shown, self.ledger.changed_states())
        if not self.path.exists():
            # The file begins with the node: what was there before it is no row.
            self.keeper.flush()

    @rule()
    def write(self) -> None:
        """Write, and compare with what the ledger shows."""
        self._tick(0, [0, 0, 0])
        self.keeper.flush()
        reader = HistoryReader(self.path)
        for run in self.ledger.runs.values():
            page = reader.history(run.name, 0.0, self.wall + 1)
            assert page.run is not None
            rows, totals = sums(page), {}
            for total in page.totals:
                key = total.phase, total.power_limit_watts
                totals[key] = tuple(
                    getattr(total, name)
                    for name in ("steps", "duration_ns", "energy_uj", "samples", "tokens")
                )
            assert {key: parts for key, parts in totals.items() if any(parts)} == rows
            if page.run.start_seconds * 1000 == round(run.start_seconds * 1000):
                counters = {
                    (phase.value, label): cell for (phase, label), cell in run.cells.items()
                }
                assert totals == {key: _parts(cell) for key, cell in counters.items()}

    @precondition(lambda self: len(self.processes) > 2)
    @rule(same_boot=st.booleans())
    def crash(self, same_boot: bool) -> None:
        """Lose all looks that were not written; the ledger's documents were."""
        self.keeper._close_file()
        self.keeper = HistoryKeeper(self.path, IDENTITY, 30 * 86_400.0)
        if same_boot:
            self._restart(same_boot=True)
            self._tick(0, [0, 0, 0])

    def teardown(self) -> None:
        try:
            self.write()
        finally:
            self.keeper.close()
            self.folder.cleanup()


def _parts(cell: Cell) -> tuple[int, ...]:
    counts = cell.counts
    return counts.steps, cell.duration_ns, cell.energy_uj, counts.samples, counts.tokens


TestHistoryProperties = NodeWithHistory.TestCase
TestHistoryProperties.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
