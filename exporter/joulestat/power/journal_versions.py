"""What a journal's file holds, version by version, and how an older one becomes the present one."""

import sqlite3

from joulestat.domain.errors import StateError
from joulestat.power.journal_rows import digest

APPLICATION_ID = 0x4A4C5354
"""``JLST`` in the header of the file: no other program's database is taken for ours."""

SCHEMA_VERSION = 2
_WITHOUT_NUMBERS = 1
"""The version before devices had fencing tokens and revisions."""

_NUMBERS = """
CREATE TABLE numbers (
    device_uuid TEXT PRIMARY KEY, fencing_token INTEGER NOT NULL, revision INTEGER NOT NULL,
    boot_id TEXT NOT NULL, writes_until_ns INTEGER NOT NULL
);
"""
SCHEMA = f"""
CREATE TABLE leases (device_uuid TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE answers (
    scope TEXT PRIMARY KEY, boot_id TEXT NOT NULL, boottime_ns INTEGER NOT NULL,
    wall_seconds REAL NOT NULL, body TEXT NOT NULL, sha256 TEXT NOT NULL
);
CREATE TABLE seal (id INTEGER PRIMARY KEY, generation INTEGER NOT NULL, sha256 TEXT NOT NULL);
{_NUMBERS}
"""


def version_of(database: sqlite3.Connection) -> int:
    """Return the version of a journal that can be read.

    Raises:
        StateError: It is no journal, or of a version that this program does not know.
        sqlite3.Error: It cannot be looked at.
    """
    (application_id,) = database.execute("PRAGMA application_id").fetchone()
    if application_id != APPLICATION_ID:
        raise StateError("it is not a joulestat journal, or damaged")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version not in (_WITHOUT_NUMBERS, SCHEMA_VERSION):
        raise StateError(f"its version is {version}, this program writes version {SCHEMA_VERSION}")
    return int(version)


def digest_of(database: sqlite3.Connection, generation: int, version: int) -> str:
    """Return the hash over all that the journal must not get wrong.

    That is every lease, every device's numbers, and how many answers are kept: each of those has
    a hash of its own.

    Args:
        database: The journal.
        generation: Number of the commit.
        version: Of the file.

    Raises:
        sqlite3.Error: It cannot be read.
    """
    leases = sorted(database.execute("SELECT device_uuid, body FROM leases").fetchall())
    ((n_answers,),) = database.execute("SELECT count(*) FROM answers").fetchall()
    if version == _WITHOUT_NUMBERS:
        return digest(generation, leases, n_answers)
    numbers = sorted(database.execute("SELECT * FROM numbers").fetchall())
    return digest(generation, leases, n_answers, numbers)


def seal(database: sqlite3.Connection) -> int:
    """Count this commit and seal what the journal then holds; return the count.

    Raises:
        sqlite3.Error: It cannot be written.
    """
    ((generation,),) = database.execute("SELECT generation + 1 FROM seal").fetchall()
    sha256 = digest_of(database, generation, SCHEMA_VERSION)
    database.execute("UPDATE seal SET generation = ?, sha256 = ?", (generation, sha256))
    return int(generation)


def bring_up_to_date(database: sqlite3.Connection) -> int:
    """Turn a journal that was examined into one of the present version, in one commit.

    Leases of the older version are still to be ended, so they stay; no token was ever given out.

    Returns:
        The number of the last commit.

    Raises:
        sqlite3.Error: It cannot be written; it is as before.
    """
    if version_of(database) == SCHEMA_VERSION:
        ((generation,),) = database.execute("SELECT generation FROM seal").fetchall()
        return int(generation)
    database.execute("BEGIN IMMEDIATE")
    try:
        database.execute(_NUMBERS)
        # Part of the transaction, as the tables are.
        database.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        generation = seal(database)
        database.execute("COMMIT")
    except sqlite3.Error:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
    return generation
