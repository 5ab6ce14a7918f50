"""One batch of history as SQL: rows are added to, spans are moved on, facts are replaced."""

import sqlite3
from collections.abc import Mapping

from joulestat.domain.run import Cell, RunState
from joulestat.runs.history.looks import MS_PER_SECOND, Batch, DeviceFacts
from joulestat.runs.history.merging import CellKey, Row, RowKey, RunKey

_RUN = (
    "INSERT INTO run (name, birth_ms, job, user, team, framework, planned_steps,"
    " energy_budget_joules, last_push_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (name, birth_ms) DO UPDATE SET job = excluded.job, user = excluded.user,"
    " team = excluded.team, framework = excluded.framework,"
    " planned_steps = excluded.planned_steps,"
    " energy_budget_joules = excluded.energy_budget_joules, last_push_ms = excluded.last_push_ms"
)
_CELL = (
    "INSERT INTO cell (run_id, phase, power_limit, energy_uj, duration_ns, steps, samples, tokens)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run_id, phase, power_limit) DO UPDATE SET"
    " energy_uj = excluded.energy_uj, duration_ns = excluded.duration_ns, steps = excluded.steps,"
    " samples = excluded.samples, tokens = excluded.tokens"
)
# Added to, not replaced: whatever the clock did, nothing is lost and nothing is counted twice.
_INTERVAL = (
    "INSERT INTO interval SELECT cell_id, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM cell"
    " WHERE run_id = ? AND phase = ? AND power_limit = ? ON CONFLICT (cell_id, start_ms)"
    " DO UPDATE SET end_ms = max(end_ms, excluded.end_ms),"
    " energy_uj = energy_uj + excluded.energy_uj,"
    " duration_ns = duration_ns + excluded.duration_ns, steps = steps + excluded.steps,"
    " samples = samples + excluded.samples, tokens = tokens + excluded.tokens,"
    " slowed_ms = slowed_ms + excluded.slowed_ms, watched_ms = watched_ms + excluded.watched_ms"
)
_DEVICE = (
    "INSERT INTO device (gpu_uuid, model, default_watts, min_watts, max_watts)"
    " VALUES (?, ?, ?, ?, ?) ON CONFLICT (gpu_uuid) DO UPDATE SET model = excluded.model,"
    " default_watts = excluded.default_watts, min_watts = excluded.min_watts,"
    " max_watts = excluded.max_watts"
)
_UPTIME = (
    "INSERT INTO uptime VALUES (?, ?) ON CONFLICT (start_ms) DO UPDATE SET end_ms = excluded.end_ms"
)
_SPELL = (
    "INSERT INTO spell VALUES (?, ?, ?, 0) ON CONFLICT (run_id, start_ms)"
    " DO UPDATE SET end_ms = excluded.end_ms"
)
_OVER = (
    "UPDATE spell SET is_over = 1 WHERE run_id = ?1"
    " AND start_ms = (SELECT max(start_ms) FROM spell WHERE run_id = ?1)"
)
_CLAIM = (
    "INSERT INTO claim VALUES (?, ?, ?, ?) ON CONFLICT (run_id, device_id, start_ms)"
    " DO UPDATE SET end_ms = excluded.end_ms"
)
_LIMIT = (
    "INSERT INTO limit_span VALUES (?, ?, ?, ?, ?) ON CONFLICT (device_id, start_ms)"
    " DO UPDATE SET end_ms = excluded.end_ms, enforced_watts = excluded.enforced_watts,"
    " target_watts = excluded.target_watts"
)


class Writing:
    """Writes batches within a transaction of the caller's."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def batch(self, batch: Batch) -> None:
        """Write one batch."""
        run_ids = self._runs(batch)
        self._cells(batch.cells, run_ids)
        self._rows(batch.rows, run_ids)
        device_ids = self._devices(batch)
        execute = self._connection.executemany
        execute(_UPTIME, ((start, end) for (_, start), (end, _) in batch.uptime.items()))
        self._spells(batch, run_ids)
        execute(
            _CLAIM,
            (
                (run_ids[run], device_ids[uuid], start, end)
                for ((run, uuid), start), (end, _) in batch.claims.items()
                if uuid in device_ids
            ),
        )
        execute(
            _LIMIT,
            (
                (device_ids[uuid], start, end, *limits)
                for (uuid, start), (end, limits) in batch.limits.items()
            ),
        )

    def _runs(self, batch: Batch) -> dict[RunKey, int]:
        self._connection.executemany(_RUN, (_run(key, run) for key, run in batch.runs.items()))
        named = {key for key, _, _ in batch.rows} | {key for key, _ in batch.spells}
        named |= batch.runs.keys() | {run for (run, _), _ in batch.claims}
        ids: dict[RunKey, int] = {}
        for key in named:
            found = self._connection.execute(
                "SELECT run_id FROM run WHERE name = ? AND birth_ms = ?", key
            ).fetchone()
            ids[key] = found[0]
        return ids

    def _cells(
        self, cells: Mapping[RunKey, Mapping[CellKey, Cell]], run_ids: Mapping[RunKey, int]
    ) -> None:
        self._connection.executemany(
            _CELL,
            (
                (
                    run_ids[key],
                    phase.value,
                    label,
                    cell.energy_uj,
                    cell.duration_ns,
                    cell.counts.steps,
                    cell.counts.samples,
                    cell.counts.tokens,
                )
                for key, of_run in cells.items()
                for (phase, label), cell in of_run.items()
            ),
        )

    def _rows(self, rows: Mapping[RowKey, Row], run_ids: Mapping[RunKey, int]) -> None:
        self._connection.executemany(
            _INTERVAL,
            (
                (
                    start_ms,
                    row.end_ms,
                    row.energy_uj,
                    row.duration_ns,
                    row.steps,
                    row.samples,
                    row.tokens,
                    row.slowed_ms,
                    row.watched_ms,
                    run_ids[run],
                    phase.value,
                    label,
                )
                for (run, (phase, label), start_ms), row in rows.items()
            ),
        )

    def _devices(self, batch: Batch) -> dict[str, int]:
        self._connection.executemany(
            _DEVICE, (_device(uuid, facts) for uuid, facts in batch.devices.items())
        )
        return dict(self._connection.execute("SELECT gpu_uuid, device_id FROM device"))

    def _spells(self, batch: Batch, run_ids: Mapping[RunKey, int]) -> None:
        execute = self._connection.executemany
        execute(
            _SPELL,
            ((run_ids[run], start, end) for (run, start), (end, _) in batch.spells.items()),
        )
        over = [
            (key, round(run.end_seconds * MS_PER_SECOND))
            for key, run in batch.runs.items()
            if run.end_seconds is not None
        ]
        # A run that came and went between two looks has no spell yet.
        execute(
            "INSERT INTO spell SELECT ?1, ?2, max(?2, ?3), 1"
            " WHERE NOT EXISTS (SELECT 1 FROM spell WHERE run_id = ?1)",
            ((run_ids[key], key[1], end_ms) for key, end_ms in over),
        )
        execute(_OVER, ((run_ids[key],) for key, _ in over))


def _run(key: RunKey, run: RunState) -> tuple[str | float | None, ...]:
    labels = run.labels
    pushed_seconds = max(run.last_push_seconds.values(), default=run.start_seconds)
    return (
        *key,
        labels.job,
        labels.user,
        labels.team,
        labels.framework,
        run.planned_steps,
        run.energy_budget_joules,
        round(pushed_seconds * MS_PER_SECOND),
    )


def _device(uuid: str, facts: DeviceFacts) -> tuple[str | float | None, ...]:
    return uuid, facts.model, facts.default_watts, facts.min_watts, facts.max_watts
