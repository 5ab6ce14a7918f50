"""What goes when the history file has become too large: what is over before what goes on."""

import sqlite3

from joulestat.runs.history.spans import GAP_MS

ROOM_RATIO = 0.05
"""Of the size that is allowed, made free at once: so that this is seldom."""

MOST_PARTS = 256
"""Dropped without a pause for new looks; the rest goes after the next ones."""

_PARTS = 64
"""A part is so much of all runs, or of all the time: little goes beyond what must."""

# With max(), SQLite takes "is_over" from the very row that is the last one.
_ENDED = (
    "SELECT run_id FROM (SELECT run_id, max(end_ms) AS end_ms, is_over FROM spell GROUP BY run_id)"
    " WHERE is_over OR end_ms < (SELECT max(end_ms) FROM uptime) - ? ORDER BY end_ms LIMIT ?"
)
_OF_RUN = (
    "DELETE FROM interval WHERE cell_id IN (SELECT cell_id FROM cell WHERE run_id = ?)",
    "DELETE FROM cell WHERE run_id = ?",
    "DELETE FROM claim WHERE run_id = ?",
    "DELETE FROM spell WHERE run_id = ?",
    "DELETE FROM run WHERE run_id = ?",
)
_OLDEST_END = (
    "SELECT min(end_ms) FROM (SELECT min(end_ms) AS end_ms FROM interval"
    " UNION ALL SELECT min(end_ms) FROM claim UNION ALL SELECT min(end_ms) FROM limit_span)"
)
_OF_TIME = (
    "DELETE FROM interval WHERE end_ms < ?",
    "DELETE FROM claim WHERE end_ms < ?",
    "DELETE FROM limit_span WHERE end_ms < ?",
    "DELETE FROM uptime WHERE end_ms < ?",
)


def size_bytes(connection: sqlite3.Connection) -> int:
    """Return how much of the file is in use; what was deleted is free, and used again first."""
    pages = _number(connection, "PRAGMA page_count") - _number(connection, "PRAGMA freelist_count")
    return pages * _number(connection, "PRAGMA page_size")


def drop_part(connection: sqlite3.Connection) -> bool:
    """Delete the oldest part of what may go, within a transaction of the caller's.

    Runs that are over, or out of sight, go whole, those first that ended first. Only where there
    are none any more, the oldest rows of those that go on are deleted; their counters stay.

    Returns:
        Whether there was any.
    """
    most = max(1, _number(connection, "SELECT count(*) FROM run") // _PARTS)
    ended = connection.execute(_ENDED, (GAP_MS, most)).fetchall()
    if ended:
        for statement in _OF_RUN:
            connection.executemany(statement, ended)
        return True
    oldest_ms = _number(connection, _OLDEST_END)
    latest_ms = _number(connection, "SELECT max(end_ms) FROM uptime")
    if not 0 < oldest_ms < latest_ms:
        return False
    before_ms = oldest_ms + max(1, (latest_ms - oldest_ms) // _PARTS)
    for statement in _OF_TIME:
        connection.execute(statement, (before_ms,))
    return True


def _number(connection: sqlite3.Connection, question: str) -> int:
    return int(connection.execute(question).fetchone()[0] or 0)
