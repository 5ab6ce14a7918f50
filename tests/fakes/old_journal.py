"""A journal as the version before fencing tokens wrote it, with a lease that a crash left."""

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path

from fakes.host import BASELINE_WATTS, GPU
from joulestat.domain.clock import Clock

TABLES = """
CREATE TABLE leases (device_uuid TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE answers (
    scope TEXT PRIMARY KEY, boot_id TEXT NOT NULL, boottime_ns INTEGER NOT NULL,
    wall_seconds REAL NOT NULL, body TEXT NOT NULL, sha256 TEXT NOT NULL
);
CREATE TABLE seal (id INTEGER PRIMARY KEY, generation INTEGER NOT NULL, sha256 TEXT NOT NULL);
PRAGMA application_id=1246516052;
PRAGMA user_version=1;
PRAGMA journal_mode=WAL;
"""
GENERATION = 41
LEASE = {
    "device_uuid": GPU,
    "holder": "optimizer",
    "principal": "alice",
    "reason": "because",
    "target_watts": 250.0,
    "baseline_watts": BASELINE_WATTS,
    "expires_boottime_ns": 5_900_000_000_000,
    "expires_seconds": 1_795_000_900.0,
}


def sha256(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()


def write_version_1(path: Path, clock: Clock) -> None:
    """Write a journal as the first version did, with a lease that a crash left and its answer."""
    path.parent.mkdir(parents=True)
    body = json.dumps(
        {"lease": LEASE, "state": "held", "boot_id": clock.boot_id(), "ours_watts": [250.0]}
    )
    request = {
        "power_limit_watts": 250.0,
        "ttl_seconds": 60.0,
        "holder": "optimizer",
        "reason": "because",
        "takeover": False,
    }
    answer = json.dumps(
        {
            "fingerprint": sha256(request),
            "outcome": "granted",
            "lease": LEASE,
            "applied_watts": 250.0,
            "enforced_watts": None,
        }
    )
    scope = sha256("alice", GPU, "k1")
    times = (clock.boot_id(), clock.boottime_ns(), clock.wall_seconds())
    row = (scope, *times, answer, sha256(scope, *times, answer))
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(TABLES)
        database.execute("INSERT INTO leases VALUES (?, ?)", (GPU, body))
        database.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?)", row)
        seal = sha256(GENERATION, [(GPU, body)], 1)
        database.execute("INSERT INTO seal VALUES (1, ?, ?)", (GENERATION, seal))
    path.with_name(f"{path.name}.lock").write_text(f"{GENERATION:020d}\n")
