"""Granting: checked, written, read back, renewed, changed, taken over; or refused, and why."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.host import BASELINE_WATTS, GPU, Host
from joulestat.domain.errors import (
    InvalidLease,
    LeaseHeld,
    LimitWriteFailed,
    TooManyWrites,
    UnknownDevice,
)
from joulestat.domain.limit import GrantOutcome, LeaseRequest
from joulestat.domain.units import seconds_to_ns


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.stop()


def test_a_grant_sets_the_limit_and_says_what_was_read_back(host: Host) -> None:
    host.card.enforced = 240.0
    grant = host.grant(250.0, ttl=60.0)
    assert (GrantOutcome.GRANTED, 250.0, 240.0, False) == (
        grant.outcome,
        grant.applied_watts,
        grant.enforced_watts,
        grant.dry_run,
    )
    assert 250.0 == host.card.limit_watts
    lease = grant.lease
    assert ("optimizer", "alice", "because") == (lease.holder, lease.principal, lease.reason)
    assert (250.0, BASELINE_WATTS) == (lease.target_watts, lease.baseline_watts)
    assert host.clock.boottime_ns() + seconds_to_ns(60.0) == lease.expires_boottime_ns
    assert host.clock.wall_seconds() + 60.0 == lease.expires_seconds
    assert lease == host.governor.lease(GPU) == host.governor.controls()[GPU].lease
    assert {"applied": 1} == host.counts()


def test_an_attempt_is_audited_before_and_after(host: Host) -> None:
    host.grant(250.0, key="k1")
    intent, result = host.audited()
    assert ("intent", "grant", GPU, 250.0, 300.0, 300.0) == (
        intent["phase"],
        intent["action"],
        intent["gpu_uuid"],
        intent["asked_watts"],
        intent["before_watts"],
        intent["baseline_watts"],
    )
    assert ("result", 1, "granted", 250.0) == (
        result["phase"],
        result["intent_seq"],
        result["outcome"],
        result["applied_watts"],
    )
    assert "k1" not in intent["idempotency_key_sha256"]


def test_the_sampler_is_told_right_before_each_write(host: Host) -> None:
    told_before: list[int] = []
    host.card.before_write = lambda _: told_before.append(len(host.announced))
    host.grant(250.0)
    host.grant(250.0)
    host.governor.release(GPU, principal="alice")
    assert [1, 2] == told_before
    assert [GPU, GPU] == host.announced


def test_a_listener_that_fails_keeps_nothing_from_happening(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: str) -> None:
        raise RuntimeError("no sampler")

    host.stop()
    host.options["on_write"] = fail
    host.start()
    host.grant(250.0)
    assert 250.0 == host.card.limit_watts
    assert "event=limit_write_listener_failed" in caplog.text


def test_the_holder_renews_without_a_write(host: Host) -> None:
    host.grant(250.0, ttl=60.0)
    host.clock.advance(30.0)
    grant = host.grant(250.4, ttl=60.0)
    assert (GrantOutcome.RENEWED, 250.0) == (grant.outcome, grant.lease.target_watts)
    assert host.clock.boottime_ns() + seconds_to_ns(60.0) == grant.lease.expires_boottime_ns
    assert [250.0] == host.card.written
    assert {"applied": 1, "unchanged": 1} == host.counts()


def test_the_holder_changes_and_the_baseline_stays(host: Host) -> None:
    host.grant(250.0)
    grant = host.grant(200.0)
    assert (GrantOutcome.CHANGED, 200.0, 300.0) == (
        grant.outcome,
        grant.lease.target_watts,
        grant.lease.baseline_watts,
    )
    assert 200.0 == host.card.limit_watts


def test_a_limit_that_stands_already_is_leased_without_a_write(host: Host) -> None:
    grant = host.grant(300.6)
    assert (GrantOutcome.GRANTED, 300.0) == (grant.outcome, grant.applied_watts)
    assert [] == host.card.written
    assert {"unchanged": 1} == host.counts()


def test_another_holder_waits_or_takes_over_with_the_same_baseline(host: Host) -> None:
    host.grant(250.0, ttl=60.0)
    host.clock.advance(20.0)
    with pytest.raises(LeaseHeld) as error:
        host.grant(200.0, holder="another")
    assert ("optimizer", 40.0) == (error.value.holder, error.value.expires_in_seconds)
    grant = host.grant(200.0, holder="another", takeover=True)
    assert (GrantOutcome.GRANTED, "another", 300.0) == (
        grant.outcome,
        grant.lease.holder,
        grant.lease.baseline_watts,
    )
    with pytest.raises(LeaseHeld):
        host.grant(250.0)


def test_two_clients_of_one_name_are_two_holders(host: Host) -> None:
    host.grant(250.0, principal="alice")
    with pytest.raises(LeaseHeld, match="token of 'alice'"):
        host.grant(250.0, principal="bob")


def test_a_lease_that_is_over_binds_nobody_even_before_the_loop_comes(host: Host) -> None:
    host.grant(250.0, ttl=60.0)
    host.clock.advance(60.0)
    grant = host.grant(200.0, holder="another")
    assert (GrantOutcome.GRANTED, 300.0) == (grant.outcome, grant.lease.baseline_watts)


def test_an_unknown_device_is_refused(host: Host) -> None:
    with pytest.raises(UnknownDevice, match="GPU-zzz"):
        host.grant(250.0, gpu="GPU-zzz\x1b[2J")
    with pytest.raises(UnknownDevice):
        host.governor.release("GPU-zzz", principal="alice")
    assert (None, None) == (host.governor.lease("GPU-zzz"), host.governor.range_watts("GPU-zzz"))


def test_what_is_wrong_is_said_in_a_fixed_order(host: Host) -> None:
    host.grant(250.0, holder="another")

    def field(request: LeaseRequest) -> str:
        with pytest.raises(InvalidLease) as error:
            host.governor.grant(GPU, request, principal="alice")
        return error.value.field

    assert "power_limit_watts" == field(LeaseRequest(9_999.0, 0.0, "", ""))
    assert "ttl_seconds" == field(LeaseRequest(250.0, 0.0, "", ""))
    assert "holder" == field(LeaseRequest(250.0, 60.0, "", ""))
    assert "reason" == field(LeaseRequest(250.0, 60.0, "x", ""))


def test_too_many_writes_are_refused_but_renewals_and_ends_are_not(host: Host) -> None:
    for watts in (250.0, 240.0, 230.0):
        host.grant(watts)
    with pytest.raises(TooManyWrites) as error:
        host.grant(220.0)
    assert 10.0 == error.value.retry_after_seconds
    assert GrantOutcome.RENEWED is host.grant(230.0).outcome
    host.clock.advance(10.0)
    assert GrantOutcome.CHANGED is host.grant(220.0).outcome
    host.governor.release(GPU, principal="alice")
    assert BASELINE_WATTS == host.card.limit_watts


def test_refused_requests_are_audited_and_counted_at_a_bounded_rate(host: Host) -> None:
    for _ in range(30):
        with pytest.raises(InvalidLease):
            host.grant(9_999.0)
    host.clock.advance(1.0)
    with pytest.raises(InvalidLease):
        host.grant(9_999.0)
    records = host.audited()
    assert ["refused"] * 11 == [record["outcome"] for record in records]
    assert 20 == records[-1]["unrecorded_refusals"]
    assert "InvalidLease" == records[-1]["error"]
    assert {"refused": 31} == host.counts()


def test_a_dry_run_says_what_would_become_of_it_and_does_nothing(host: Host) -> None:
    grant = host.grant(250.0, dry_run=True, key="k")
    assert (GrantOutcome.GRANTED, None, None, True) == (
        grant.outcome,
        grant.applied_watts,
        grant.enforced_watts,
        grant.dry_run,
    )
    assert 300.0 == grant.lease.baseline_watts
    assert ([], None, {}) == (host.card.written, host.governor.lease(GPU), host.counts())
    assert GrantOutcome.GRANTED is host.grant(250.0, key="k").outcome
    with pytest.raises(LeaseHeld):
        host.grant(250.0, holder="another", dry_run=True)
    assert {"applied": 1} == host.counts()


def test_the_range_is_asked_once(host: Host) -> None:
    assert (100.0, 400.0) == host.governor.range_watts(GPU)
    host.card.fault = "lost"
    assert (100.0, 400.0) == host.governor.range_watts(GPU)


def test_a_driver_that_cannot_be_asked_has_no_range_and_takes_no_lease(host: Host) -> None:
    host.card.fault = "lost"
    assert host.governor.range_watts(GPU) is None
    with pytest.raises(LimitWriteFailed, match="cannot be asked"):
        host.grant(250.0)
    assert {"failed": 1} == host.counts()


@pytest.mark.parametrize("fault", ["lost", "garbage"])
def test_a_limit_that_cannot_be_read_is_not_overwritten(host: Host, fault: str) -> None:
    host.governor.range_watts(GPU)
    host.card.fault = fault
    with pytest.raises(LimitWriteFailed):
        host.grant(250.0)
    assert [] == host.card.written


def test_a_limit_that_could_not_be_put_back_is_not_overwritten(host: Host) -> None:
    host.card.limit_watts = 450.0
    with pytest.raises(LimitWriteFailed, match="could not be put back"):
        host.grant(250.0)
    assert [] == host.card.written


def test_controls_cannot_be_changed_by_their_readers(host: Host) -> None:
    controls = host.governor.controls()
    with pytest.raises(TypeError):
        controls[GPU] = controls[GPU]  # type: ignore[index]
    with pytest.raises(TypeError):
        controls[GPU].changes["applied"] = 9  # type: ignore[index]
    host.grant(250.0)
    assert controls[GPU].lease is None
