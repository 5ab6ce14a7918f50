"""A journal of the version before fencing tokens is brought up to date; nothing in it is lost."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes.clock import FakeClock
from fakes.host import BASELINE_WATTS, GPU, Host
from fakes.old_journal import GENERATION, write_version_1
from joulestat.domain.errors import StateError
from joulestat.power.journal import Journal
from joulestat.power.journal_file import asides
from joulestat.power.journal_rows import DeviceNumbers


class HostOfVersion1(Host):
    """A host whose service was killed just before it was upgraded."""

    def start(self) -> None:
        if not (self.state / "leases.db").exists():
            write_version_1(self.state / "leases.db", self.clock)
            self.card.limit_watts = 250.0
        super().start()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = HostOfVersion1(tmp_path)
    yield made
    made.stop()


def test_a_lease_of_the_older_version_is_ended_and_its_baseline_is_back(host: Host) -> None:
    assert BASELINE_WATTS == host.card.limit_watts
    assert (None, 1) == (host.governor.lease(GPU), host.governor.controls()[GPU].revision)
    assert host.journal.read_only_reason is None
    assert [] == list(asides(host.state / "leases.db"))


def test_numbers_begin_after_what_the_older_version_left(host: Host) -> None:
    grant = host.grant(200.0)
    assert (1, 2) == (grant.lease.fencing_token, grant.revision)
    host.clock.advance(60.0)
    host.kill()
    host.start()
    grant = host.grant(200.0)
    assert (2, 4) == (grant.lease.fencing_token, grant.revision)


def test_a_request_that_the_older_version_answered_is_answered_alike(host: Host) -> None:
    grant = host.grant(250.0, key="k1")

    assert (250.0, 0, 0) == (grant.applied_watts, grant.lease.fencing_token, grant.revision)
    assert BASELINE_WATTS == host.card.limit_watts


def test_what_is_brought_up_to_date_is_sealed_and_opens_again(tmp_path: Path) -> None:
    clock = FakeClock()
    path = tmp_path / "state" / "leases.db"
    write_version_1(path, clock)
    for _ in range(2):
        journal = Journal(path, clock)
        assert journal.read_only_reason is None
        (record,) = journal.records()
        assert (250.0, 0) == (record.lease.target_watts, record.lease.fencing_token)
        assert {} == journal.numbers()
        journal.close()
    with closing(sqlite3.connect(path)) as database:
        assert [(2,)] == database.execute("PRAGMA user_version").fetchall()
        assert [(GENERATION + 1,)] == database.execute("SELECT generation FROM seal").fetchall()


def test_a_damaged_journal_of_the_older_version_is_not_brought_up_to_date(tmp_path: Path) -> None:
    clock = FakeClock()
    path = tmp_path / "state" / "leases.db"
    write_version_1(path, clock)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE leases SET body = replace(body, '300.0', '380.0')")
    journal = Journal(path, clock)
    assert "its hash does not fit" in str(journal.read_only_reason)
    journal.close()
    (aside,) = asides(path)
    with closing(sqlite3.connect(aside)) as database:
        assert [(1,)] == database.execute("PRAGMA user_version").fetchall()


def test_an_upgrade_that_cannot_be_written_leaves_the_older_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    path = tmp_path / "state" / "leases.db"
    write_version_1(path, clock)

    def full(_: Any) -> int:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("joulestat.power.journal_versions.seal", full)
        journal = Journal(path, clock)
    assert "disk is full" in str(journal.read_only_reason)
    with pytest.raises(StateError):
        journal.delete(GPU)
    journal.close()
    journal = Journal(path, clock)
    assert (None, 1) == (journal.read_only_reason, len(journal.records()))
    journal.close()


# The numbers themselves


NUMBERS = DeviceNumbers(GPU, 7, 12, "boot-1", 99)


def test_numbers_outlive_the_lease_and_never_fall(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "leases.db", FakeClock())
    journal.delete(GPU, NUMBERS)
    journal.delete(GPU, replace(NUMBERS, fencing_token=3, revision=2, writes_until_ns=98))

    assert {GPU: replace(NUMBERS, writes_until_ns=98)} == journal.numbers()
    journal.close()


def test_a_changed_number_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "state" / "leases.db"
    journal = Journal(path, FakeClock())
    journal.delete(GPU, NUMBERS)
    journal.close()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE numbers SET fencing_token = 6")

    journal = Journal(path, FakeClock())
    assert "its hash does not fit" in str(journal.read_only_reason)
    journal.close()


def test_a_device_that_is_away_keeps_its_numbers(tmp_path: Path) -> None:
    host = Host(tmp_path)
    first = host.grant(200.0)
    host.clock.reboot("boot-2")
    cards, host.cards = host.cards, {}
    host.kill()
    host.start()
    host.governor.adopt(cards)
    host.card.limit_watts = BASELINE_WATTS
    assert 2 == host.governor.controls()[GPU].revision
    again = host.grant(200.0)

    assert (1, 1) == (first.lease.fencing_token, first.revision)
    assert (2, 3) == (again.lease.fencing_token, again.revision)
    host.stop()
