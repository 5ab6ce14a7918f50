"""Requests repeated under a key, and books that cannot be written."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.host import BASELINE_WATTS, GPU, Host
from joulestat.domain.errors import ControlReadOnly, InvalidLease, StateError
from joulestat.domain.limit import GrantOutcome
from joulestat.power.bookkeeping import LOOK_AGAIN_SECONDS


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.stop()


def test_a_repeated_request_is_answered_alike_and_done_once(host: Host) -> None:
    first = host.grant(250.0, key="k1")
    host.clock.advance(5.0)
    assert first == host.grant(250.0, key="k1")
    assert [250.0] == host.card.written
    assert {"applied": 1} == host.counts()


def test_a_repeated_request_is_answered_alike_after_a_kill(host: Host) -> None:
    first = host.grant(250.0, key="k1")
    host.kill()
    host.start()
    assert first == host.grant(250.0, key="k1")
    assert [250.0, BASELINE_WATTS] == host.card.written


def test_a_key_is_for_one_request_of_one_client(host: Host) -> None:
    host.grant(250.0, key="k1")
    with pytest.raises(InvalidLease) as error:
        host.grant(240.0, key="k1")
    assert "Idempotency-Key" == error.value.field
    grant = host.grant(240.0, key="k1", principal="bob", takeover=True)
    assert GrantOutcome.GRANTED is grant.outcome


def test_a_key_is_forgotten_after_a_day(host: Host) -> None:
    host.grant(250.0, key="k1")
    host.pass_time(86_401.0)
    host.grant(240.0, key="k1")
    assert 240.0 == host.card.limit_watts


def test_a_refused_request_may_be_repeated_under_its_key(host: Host) -> None:
    host.card.limit_watts = 450.0
    with pytest.raises(Exception, match="could not be put back"):
        host.grant(250.0, key="k1")
    host.card.limit_watts = 300.0
    assert GrantOutcome.GRANTED is host.grant(250.0, key="k1").outcome


@pytest.mark.parametrize("key", ["", "a b", "ключ", "x" * 129, "a\nb"])
def test_a_key_that_is_none_is_refused(host: Host, key: str) -> None:
    with pytest.raises(InvalidLease) as error:
        host.grant(250.0, key=key)
    assert "Idempotency-Key" == error.value.field


# Books that cannot be written


def test_without_an_audit_log_no_lease_is_granted_but_leases_end(host: Host) -> None:
    host.grant(250.0)
    host.audit.close()
    (host.state / "audit.jsonl").unlink()
    (host.state / "audit.jsonl").mkdir()
    with pytest.raises(ControlReadOnly, match="audit log"):
        host.grant(240.0)
    assert [250.0] == host.card.written
    host.pass_time(60.0)
    assert BASELINE_WATTS == host.card.limit_watts
    (host.state / "audit.jsonl").rmdir()
    assert GrantOutcome.GRANTED is host.grant(240.0).outcome


def test_without_a_journal_no_lease_is_granted(host: Host) -> None:
    host.stop()
    (host.state / "leases.db").write_bytes(b"not a journal")
    host.start()
    assert "aside" in str(host.governor.read_only_reason)
    for dry_run in (True, False):
        with pytest.raises(ControlReadOnly, match="aside"):
            host.grant(250.0, dry_run=dry_run)
    assert [] == host.card.written
    assert (100.0, 400.0) == host.governor.range_watts(GPU)
    assert {GPU} == set(host.governor.revert_all(principal="alice", cause="revert-all"))


@pytest.mark.parametrize("nth", [1, 2])
def test_a_lease_that_cannot_be_recorded_is_undone(
    host: Host, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    real = host.journal.put
    calls = 0

    def full(*args: object) -> None:
        nonlocal calls
        calls += 1
        if calls == nth:
            raise StateError("disk full")
        real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(host.journal, "put", full)
    with pytest.raises(ControlReadOnly, match="disk full"):
        host.grant(250.0)
    assert BASELINE_WATTS == host.card.limit_watts
    assert [] == list(host.journal.records())
    assert host.governor.lease(GPU) is None
    assert host.audit.verify().ok
    assert ([] if nth == 1 else [250.0, BASELINE_WATTS]) == host.card.written


def test_an_end_that_cannot_be_recorded_still_happens_once(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.grant(250.0)
    real = host.journal.delete

    def full(*_: object) -> None:
        raise StateError("disk full")

    monkeypatch.setattr(host.journal, "delete", full)
    host.pass_time(60.0)
    assert BASELINE_WATTS == host.card.limit_watts
    # Somebody else sets what was once our target: it is theirs, although the row is still there.
    host.card.limit_watts = 250.0
    host.pass_time(60.0)
    assert 250.0 == host.card.limit_watts
    assert 250.0 == host.grant(200.0, dry_run=True).lease.baseline_watts
    monkeypatch.setattr(host.journal, "delete", real)
    host.pass_time(60.0)
    assert [] == list(host.journal.records())
    assert {"applied": 1, "reverted": 1} == host.counts()


def test_a_disk_that_fills_up_grants_nothing_and_reverts(host: Host) -> None:
    host.grant(250.0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (host.state / "audit.jsonl").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
    try:
        with pytest.raises(ControlReadOnly):
            host.grant(200.0)
        host.pass_time(60.0)
        assert [250.0, BASELINE_WATTS] == host.card.written
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    host.pass_time(60.0)
    assert BASELINE_WATTS == host.card.limit_watts
    assert [] == list(host.journal.records())
    assert host.governor.lease(GPU) is None
    assert host.audit.verify().ok


@pytest.mark.promise("state")
def test_that_the_disk_is_full_is_told_until_it_has_room_again_without_anybody_asking(
    host: Host,
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(ControlReadOnly):
            host.grant(250.0)
        assert "audit" in str(host.governor.read_only_reason)
        host.pass_time(LOOK_AGAIN_SECONDS)
        assert host.governor.read_only_reason is not None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    host.pass_time(LOOK_AGAIN_SECONDS)

    assert host.governor.read_only_reason is None
    assert ["recorded_again"] == [each["action"] for each in host.audited()]
    host.pass_time(LOOK_AGAIN_SECONDS)
    assert 1 == len(host.audited())
