"""The history file: its tables and its version, for whoever writes it and whoever reads it.

Times are whole milliseconds of Unix time, energies uJ and durations ns, so that sums are exact.
A *span* is a row whose end is moved on as long as what it says stays true; where nobody looked,
there is no span.
"""

SCHEMA = 1
"""Kept as ``user_version``."""

FILE_NAME = "history.sqlite"

ROW_MS = 15_000
"""Rows of one run, phase and limit begin anew at whole multiples of this, on every node alike."""

FLUSH_SECONDS = 5.0
"""How often looks are written."""

TABLES = """
CREATE TABLE IF NOT EXISTS node (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    name TEXT NOT NULL, instance TEXT NOT NULL, begun_ms INTEGER NOT NULL,
    price_per_kilowatt_hour REAL, currency TEXT NOT NULL,
    carbon_grams_per_kilowatt_hour REAL, zone TEXT NOT NULL, pue_ratio REAL
);
-- Spans in which the exporter looked.
CREATE TABLE IF NOT EXISTS uptime (start_ms INTEGER PRIMARY KEY, end_ms INTEGER NOT NULL);
-- A run that the exporter forgot and saw again has another birth, and counters born anew.
CREATE TABLE IF NOT EXISTS run (
    run_id INTEGER PRIMARY KEY,
    name TEXT NOT NULL, birth_ms INTEGER NOT NULL,
    job TEXT NOT NULL, user TEXT NOT NULL, team TEXT NOT NULL, framework TEXT NOT NULL,
    planned_steps INTEGER, energy_budget_joules REAL, last_push_ms INTEGER NOT NULL,
    UNIQUE (name, birth_ms)
);
-- Spans in which a run was not over; "over" says that it then was, not merely out of sight.
CREATE TABLE IF NOT EXISTS spell (
    run_id INTEGER NOT NULL, start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL,
    is_over INTEGER NOT NULL, PRIMARY KEY (run_id, start_ms)
) WITHOUT ROWID;
-- The counters themselves, as of the last write.
CREATE TABLE IF NOT EXISTS cell (
    cell_id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL, phase TEXT NOT NULL, power_limit TEXT NOT NULL,
    energy_uj INTEGER NOT NULL, duration_ns INTEGER NOT NULL,
    steps INTEGER NOT NULL, samples INTEGER NOT NULL, tokens INTEGER NOT NULL,
    UNIQUE (run_id, phase, power_limit)
);
-- What a cell grew by. Heat: of "watched_ms", a GPU of the run was slowed for "slowed_ms".
CREATE TABLE IF NOT EXISTS interval (
    cell_id INTEGER NOT NULL, start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL,
    energy_uj INTEGER NOT NULL, duration_ns INTEGER NOT NULL,
    steps INTEGER NOT NULL, samples INTEGER NOT NULL, tokens INTEGER NOT NULL,
    slowed_ms INTEGER NOT NULL, watched_ms INTEGER NOT NULL,
    PRIMARY KEY (cell_id, start_ms)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS device (
    device_id INTEGER PRIMARY KEY,
    gpu_uuid TEXT NOT NULL UNIQUE, model TEXT NOT NULL,
    default_watts REAL, min_watts REAL, max_watts REAL
);
-- Spans in which a run held a device.
CREATE TABLE IF NOT EXISTS claim (
    run_id INTEGER NOT NULL, device_id INTEGER NOT NULL,
    start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL,
    PRIMARY KEY (run_id, device_id, start_ms)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS claim_by_device ON claim (device_id, end_ms);
-- Spans in which a device stood at a limit, and in which a lease held one (else NULL).
CREATE TABLE IF NOT EXISTS limit_span (
    device_id INTEGER NOT NULL, start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL,
    enforced_watts REAL NOT NULL, target_watts REAL,
    PRIMARY KEY (device_id, start_ms)
) WITHOUT ROWID;
"""
