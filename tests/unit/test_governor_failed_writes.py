"""Writes that go wrong: the hardware is as before, or on its way back, and the client is told."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.host import BASELINE_WATTS, GPU, Host
from joulestat.domain.errors import LimitWriteFailed
from joulestat.domain.limit import GrantOutcome


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.stop()


@pytest.mark.parametrize(
    ("fault", "counted"),
    [
        ("refuse", "refused"),
        ("permission", "refused"),
        ("sticky", "failed"),
        ("late_error", "failed"),
    ],
)
def test_a_write_that_goes_wrong_leaves_the_baseline_and_no_lease(
    host: Host, fault: str, counted: str
) -> None:
    def only_once(_: float) -> None:
        host.card.fault = fault if not host.card.written else None

    host.card.before_write = only_once
    with pytest.raises(LimitWriteFailed, match="300 W is back"):
        host.grant(250.0)
    assert BASELINE_WATTS == host.card.limit_watts
    assert host.governor.lease(GPU) is None
    assert [] == list(host.journal.records())
    assert {counted: 1} == host.counts()
    assert counted == host.audited()[-1]["outcome"]
    host.card.before_write, host.card.fault = None, None
    host.pass_time(60.0)
    assert GrantOutcome.GRANTED is host.grant(250.0).outcome


def test_a_change_that_goes_wrong_leaves_the_former_target_held(host: Host) -> None:
    host.grant(250.0)
    host.card.before_write = lambda watts: setattr(
        host.card, "fault", "coarse" if watts == 200.0 else None
    )
    with pytest.raises(LimitWriteFailed, match=r"reads back 207 W.*'optimizer' at 250 W goes on"):
        host.grant(200.0)
    assert 250.0 == host.card.limit_watts
    lease = host.governor.lease(GPU)
    assert lease is not None
    assert 250.0 == lease.target_watts
    host.pass_time(60.0)
    assert BASELINE_WATTS == host.card.limit_watts


def test_a_takeover_that_goes_wrong_leaves_the_lease_with_its_holder(host: Host) -> None:
    host.grant(250.0)
    host.card.fault = "refuse"
    with pytest.raises(LimitWriteFailed):
        host.grant(200.0, holder="another", takeover=True)
    host.card.fault = None
    assert GrantOutcome.RENEWED is host.grant(250.0).outcome


def test_what_cannot_be_put_back_at_once_is_no_lease_and_is_put_back_later(host: Host) -> None:
    host.grant(250.0)
    host.card.fault = "coarse"
    with pytest.raises(LimitWriteFailed, match="could not be put back yet"):
        host.grant(200.0)
    assert host.governor.lease(GPU) is None
    host.card.fault = None
    host.pass_time(1.0)
    assert BASELINE_WATTS == host.card.limit_watts
    assert [] == list(host.journal.records())


def test_a_device_that_may_not_be_set_is_not_writable_until_it_was(host: Host) -> None:
    assert host.governor.controls()[GPU].writable
    host.card.fault = "permission"
    with pytest.raises(LimitWriteFailed, match="needs root"):
        host.grant(250.0)
    assert not host.governor.controls()[GPU].writable
    host.card.fault = None
    host.grant(250.0)
    assert host.governor.controls()[GPU].writable


def test_what_was_seen_once_is_known_as_ours_when_the_card_is_lost_right_after(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = host.card.read_watts
    n_reads = 0

    def lost_at_the_third() -> float:
        nonlocal n_reads
        n_reads += 1  # 1: before the write, 2: read back, 3: before putting back
        if n_reads == 3:
            host.card.fault = "lost"
        return real()

    monkeypatch.setattr(host.card, "read_watts", lost_at_the_third)
    host.card.fault = "coarse"
    with pytest.raises(LimitWriteFailed, match="could not be put back yet"):
        host.grant(250.0)
    assert 257.0 == host.card.limit_watts
    host.card.fault = None
    host.pass_time(1.0)
    assert BASELINE_WATTS == host.card.limit_watts


def test_a_limit_that_cannot_be_set_is_logged_once_and_so_is_its_end(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    host.card.fault = "permission"
    for _ in range(3):
        with pytest.raises(LimitWriteFailed):
            host.grant(250.0)
        host.pass_time(60.0)
    assert 1 == caplog.text.count("event=limit_not_set gpu_uuid=GPU-a asked_watts=250")
    host.card.fault = None
    host.grant(250.0)
    host.grant(240.0)

    assert 1 == caplog.text.count("event=limit_set_again gpu_uuid=GPU-a")


def test_a_leased_limit_that_cannot_be_read_is_logged_once(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    host.grant(250.0, ttl=600.0)
    for _ in range(2):
        host.card.fault = "lost"
        for _ in range(5):
            host.pass_time(10.0)
        host.card.fault = None
        host.pass_time(10.0)

    assert 2 == caplog.text.count("event=leased_limit_not_read gpu_uuid=GPU-a error=GPU_IS_LOST")
