"""Reads a history file while the exporter writes it, and after the exporter is gone."""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from joulestat.domain.errors import StateError
from joulestat.domain.tariff import Tariff
from joulestat.runs.history import queries
from joulestat.runs.history.looks import MS_PER_SECOND
from joulestat.runs.history.records import (
    DeviceRecord,
    HistoryPage,
    LimitRecord,
    NodeRecord,
    RowRecord,
    RunRecord,
    RunsPage,
    SpellRecord,
    TotalRecord,
)
from joulestat.runs.history.schema import ROW_MS, SCHEMA

ROWS_PER_PAGE = 10_000
RUNS_PER_PAGE = 500
LIMITS_PER_DEVICE = 2_000
"""The newest: a limit that was changed every ten minutes for two weeks."""

PATIENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class HistoryReader:
    """Each call opens the file, reads one state of it, and closes it. Any thread.

    Attributes:
        path: Where the file is.
        rows_per_page: How many rows an answer may have, at least 200.
    """

    path: Path
    rows_per_page: int = ROWS_PER_PAGE

    def runs(self, at_seconds: float, after: str = "") -> RunsPage:
        """Return the runs that had begun by a moment, from a name on.

        Raises:
            StateError: The file is missing, damaged or of another version.
        """
        at_ms = _ms(at_seconds)
        with self._opened() as connection:
            names = [
                name
                for (name,) in connection.execute(
                    queries.RUN_NAMES, (after, at_ms, RUNS_PER_PAGE + 1)
                )
            ]
            page = names[:RUNS_PER_PAGE]
            runs = tuple(_run(connection, name, at_ms) for name in page)
            return RunsPage(
                _node(connection, at_ms),
                tuple(run for run in runs if run is not None),
                page[-1] if len(names) > len(page) else None,
            )

    def history(
        self,
        run: str,
        start_seconds: float,
        end_seconds: float,
        window_seconds: float = ROW_MS / MS_PER_SECOND,
    ) -> HistoryPage:
        """Return one run as of ``end_seconds``, with its rows from ``start_seconds`` on.

        Args:
            run: Name of the run; any text is safe.
            start_seconds: Unix time; a row counts from here on if it ends here or later.
            end_seconds: Unix time; nothing later is looked at.
            window_seconds: Rows are added up within whole multiples of this.

        Raises:
            StateError: The file is missing, damaged or of another version.
        """
        start_ms, end_ms, window_ms = (
            _ms(start_seconds),
            _ms(end_seconds),
            max(_ms(window_seconds), 1),
        )
        with self._opened() as connection:
            node = _node(connection, end_ms)
            record = _run(connection, run, end_ms)
            beat_ms = 0 if node.beat_seconds is None else _ms(node.beat_seconds)
            held_ms, devices = _devices(connection, run, beat_ms, (start_ms, end_ms))
            rows, next_start_ms = _rows(
                connection, run, (start_ms, end_ms, window_ms), self.rows_per_page
            )
            others = connection.execute(
                queries.SHARED, {"run": run, "held": held_ms, "at": beat_ms}
            )
            return HistoryPage(
                node=node,
                run=record,
                is_held=held_ms is not None and held_ms == beat_ms,
                devices=devices,
                shared_with=tuple(name for (name,) in others),
                rows=rows,
                totals=tuple(
                    TotalRecord(*total)
                    for total in connection.execute(queries.TOTALS, {"run": run, "end": end_ms})
                ),
                next_start_seconds=None if next_start_ms is None else next_start_ms / MS_PER_SECOND,
            )

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(self._connect()) as connection:
                # One transaction, so that all answers are of one state of the file.
                connection.execute("BEGIN")
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                if version != SCHEMA:
                    msg = f"history file {self.path} is of schema {version}; this version knows"
                    raise StateError(f"{msg} {SCHEMA}")
                yield connection
        except sqlite3.Error as error:
            msg = (
                f"history file {self.path} cannot be read: {error}; is it the history.sqlite of "
                "an exporter's --state-path, and may this user read that folder?"
            )
            raise StateError(msg) from error

    def _connect(self) -> sqlite3.Connection:
        address = f"file:{quote(str(self.path))}?mode=ro"
        if not self.path.with_name(f"{self.path.name}-wal").exists():
            # Nobody writes it, and where the folder is read-only SQLite could make no -shm file.
            with contextlib.suppress(sqlite3.OperationalError):
                return _answering(address)
            address += "&immutable=1"
        return _answering(address)


def _answering(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        address, uri=True, isolation_level=None, timeout=PATIENCE_SECONDS, check_same_thread=False
    )
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema")
    except BaseException:
        connection.close()
        raise
    return connection


def _node(connection: sqlite3.Connection, at_ms: int) -> NodeRecord:
    found = connection.execute(queries.NODE).fetchone()
    if found is None:
        raise sqlite3.DatabaseError("it has no node")
    name, instance, begun_ms, price, currency, carbon, zone, pue = found
    (beat_ms,) = connection.execute(queries.BEAT, {"at": at_ms}).fetchone()
    tariff = Tariff(price, currency, carbon, zone, pue)
    beat_seconds = None if beat_ms is None else beat_ms / MS_PER_SECOND
    return NodeRecord(name, instance, begun_ms / MS_PER_SECOND, beat_seconds, tariff)


def _run(connection: sqlite3.Connection, name: str, at_ms: int) -> RunRecord | None:
    # Several where the exporter forgot the run and saw it again; the latest says whose it is.
    births = connection.execute(queries.RUN, (name, at_ms)).fetchall()
    if not births:
        return None
    job, user, team, framework, planned_steps, budget, pushed_ms, _ = births[-1]
    return RunRecord(
        run=name,
        job=job,
        user=user,
        team=team,
        framework=framework,
        start_seconds=births[0][-1] / MS_PER_SECOND,
        last_push_seconds=pushed_ms / MS_PER_SECOND,
        planned_steps=planned_steps,
        energy_budget_joules=budget,
        gpu_models=tuple(model for (model,) in connection.execute(queries.MODELS, (name,))),
        spells=tuple(
            SpellRecord(
                start / MS_PER_SECOND, min(end, at_ms) / MS_PER_SECOND, end <= at_ms and over == 1
            )
            for start, end, over in connection.execute(queries.SPELLS, (name, at_ms))
        ),
    )


def _rows(
    connection: sqlite3.Connection, run: str, grid: tuple[int, int, int], at_most: int
) -> tuple[tuple[RowRecord, ...], int | None]:
    """Return a page of rows, and where the next page starts, None after the last."""
    asked_ms, end_ms, window_ms = grid
    (first_ms,) = connection.execute(queries.FIRST_ROW, (run,)).fetchone()
    if first_ms is None:
        return (), None
    start_ms = max(asked_ms, first_ms)
    # A row for each window is usual, so this much time is about one page; sorting all that is
    # left for each page would take longer the longer the run is.
    page_end_ms = (start_ms // window_ms + at_most) * window_ms
    span = {"start": start_ms, "end": min(end_ms, page_end_ms - 1), "window": window_ms}
    found = connection.execute(queries.ROWS, {"run": run, **span, "most": at_most + 1}).fetchall()
    next_start_ms = page_end_ms if page_end_ms <= end_ms else None
    if len(found) > at_most:
        # Whole windows only: the last one may go on beyond the page.
        next_start_ms = found[-1][0]
        found = [row for row in found if row[0] != next_start_ms]
    rows = (
        RowRecord(window / MS_PER_SECOND, start / MS_PER_SECOND, end / MS_PER_SECOND, *rest)
        for window, start, end, *rest in found
    )
    return tuple(rows), next_start_ms


def _devices(
    connection: sqlite3.Connection, run: str, beat_ms: int, span: tuple[int, int]
) -> tuple[int | None, tuple[DeviceRecord, ...]]:
    """Return when the run last held devices, as of the newest look, and which."""
    (held_ms,) = connection.execute(queries.LAST_HELD, {"run": run, "at": beat_ms}).fetchone()
    if held_ms is None:
        return None, ()
    held = connection.execute(queries.HELD, {"run": run, "at": held_ms}).fetchall()
    return held_ms, tuple(
        DeviceRecord(uuid, model, default, lowest, highest, _limits(connection, device_id, span))
        for device_id, uuid, model, default, lowest, highest in held
    )


def _limits(
    connection: sqlite3.Connection, device_id: int, span: tuple[int, int]
) -> tuple[LimitRecord, ...]:
    start_ms, end_ms = span
    newest = connection.execute(
        queries.LIMITS,
        {"device": device_id, "start": start_ms, "end": end_ms, "most": LIMITS_PER_DEVICE},
    ).fetchall()
    return tuple(
        LimitRecord(
            max(start, start_ms) / MS_PER_SECOND, min(end, end_ms) / MS_PER_SECOND, enforced, target
        )
        for start, end, enforced, target in reversed(newest)
    )


def _ms(seconds: float) -> int:
    return round(seconds * MS_PER_SECOND)
