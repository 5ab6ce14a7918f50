"""Two writers cannot both believe that they hold a GPU: tokens, revisions, late requests."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes.host import BASELINE_WATTS, GPU, Host
from fakes.limiter import Crash
from joulestat.domain.errors import (
    ControlReadOnly,
    LeaseHeld,
    LeaseLost,
    LimitWriteFailed,
    StateError,
)
from joulestat.domain.limit import LeaseRequest, RevertOutcome
from joulestat.power.leases import LeasePolicy

QUICK = LeasePolicy(write_interval_seconds=0.0)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path, QUICK)
    yield made
    made.stop()


def ask(host: Host, watts: float = 150.0, **how: Any) -> int:
    """Ask for a lease and return its token."""
    asked = {"token": None, "if_match": None, "holder": "optimizer", "takeover": False, **how}
    request = LeaseRequest(
        watts, 60.0, asked["holder"], "because", asked["takeover"], asked["token"]
    )
    grant = host.governor.grant(GPU, request, principal="alice", if_match=asked["if_match"])
    return grant.lease.fencing_token


def revision(host: Host) -> int:
    return host.governor.controls()[GPU].revision


def restart(host: Host) -> None:
    host.kill()
    host.start()


def end_by_release(host: Host) -> None:
    host.governor.release(GPU, principal="alice")


def end_by_expiry(host: Host) -> None:
    host.pass_time(61.0)


def end_by_reboot(host: Host) -> None:
    host.clock.reboot(f"boot-{host.clock.wall_seconds()}")
    host.clock.advance(60.0)
    host.card.limit_watts = BASELINE_WATTS
    restart(host)


def end_by_stop(host: Host) -> None:
    host.governor.close()
    restart(host)


ENDS: list[Callable[[Host], None]] = [
    end_by_release,
    end_by_expiry,
    restart,
    end_by_reboot,
    end_by_stop,
]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_numbers_never_fall_nor_repeat_however_leases_end(
    host: Host, end: Callable[[Host], None]
) -> None:
    tokens, revisions = [], [revision(host)]
    for _ in range(3):
        tokens.append(ask(host))
        revisions.append(revision(host))
        assert tokens[-1] == ask(host, 200.0)
        revisions.append(revision(host))
        end(host)
        revisions.append(revision(host))
        assert host.governor.lease(GPU) is None

    assert [1, 2, 3] == tokens
    assert list(range(10)) == revisions


@pytest.mark.parametrize("crash", ["crash_before", "crash_after"])
def test_a_token_that_may_have_been_given_out_is_not_given_again(host: Host, crash: str) -> None:
    host.card.fault = crash
    with pytest.raises(Crash):
        ask(host)
    host.card.fault = None
    before = revision(host)
    restart(host)

    assert 2 == ask(host)
    assert revision(host) > before


def test_a_failed_takeover_leaves_the_lease_its_token(host: Host) -> None:
    mine = ask(host)
    before = revision(host)
    host.card.fault = "refuse"
    with pytest.raises(LimitWriteFailed):
        ask(host, 200.0, holder="other", takeover=True)
    host.card.fault = None

    assert (mine, before) == (ask(host, token=mine), before)
    assert 3 == ask(host, 200.0, holder="other", takeover=True)


def test_a_token_and_a_revision_that_are_current_are_let_through(host: Host) -> None:
    mine = ask(host, if_match=0)
    assert mine == ask(host, 200.0, token=mine, if_match=1)
    other = ask(host, 180.0, holder="other", takeover=True, token=mine, if_match=2)
    assert mine + 1 == other
    released = host.governor.release(GPU, principal="alice", fencing_token=other, if_match=3)
    assert RevertOutcome.RESTORED is released.outcome


@pytest.mark.parametrize(
    "late",
    [
        lambda host: ask(host, 150.0, token=1),
        lambda host: ask(host, 150.0, token=1, holder="other"),
        lambda host: ask(host, 150.0, token=1, takeover=True),
        lambda host: ask(host, 150.0, if_match=1, holder="other"),
        lambda host: ask(host, 9_999.0, if_match=2, takeover=True),
        lambda host: ask(host, 150.0, token=2, if_match=1, holder="other"),
        lambda host: host.governor.release(GPU, principal="alice", fencing_token=1),
        lambda host: host.governor.release(GPU, principal="alice", if_match=2),
        lambda host: host.governor.release(GPU, principal="alice", fencing_token=1, holder="other"),
    ],
)
def test_a_paused_client_that_wakes_up_after_its_lease_calls_no_driver(
    host: Host, late: Callable[[Host], object]
) -> None:
    ask(host)
    host.pass_time(61.0)
    ask(host, 220.0, holder="other")
    restart_free = host.card.calls

    with pytest.raises(LeaseLost, match="nothing was changed"):
        late(host)

    assert (restart_free, 220.0) == (host.card.calls, host.card.limit_watts)
    held = host.governor.lease(GPU)
    assert held is not None
    assert ("other", 2) == (held.holder, held.fencing_token)
    assert {"applied": 2, "reverted": 1, "refused": 1} == host.counts()
    assert ("refused", "LeaseLost") == (
        host.audited()[-1]["outcome"],
        host.audited()[-1]["error"],
    )


def test_a_lease_whose_time_is_over_is_over_before_its_baseline_is_back(host: Host) -> None:
    mine = ask(host)
    read = revision(host)
    host.clock.advance(60.0)

    with pytest.raises(LeaseLost, match="nobody holds one now"):
        ask(host, token=mine)
    with pytest.raises(LeaseLost, match=f"no longer at {read}"):
        ask(host, if_match=read)
    with pytest.raises(LeaseLost):
        host.governor.release(GPU, principal="alice", fencing_token=mine)
    assert (read + 1, None) == (revision(host), host.governor.lease(GPU))
    host.governor.expire()
    assert (read + 1, BASELINE_WATTS) == (revision(host), host.card.limit_watts)


def test_a_release_that_waited_for_a_takeover_does_not_end_it(host: Host) -> None:
    """The driver hangs in a takeover; the old holder's release comes too late for it."""
    host.policy = LeasePolicy(write_interval_seconds=0.0, driver_timeout_seconds=0.05)
    restart(host)
    mine = ask(host)
    host.card.fault = "hang"
    taken: list[int] = []
    taker = threading.Thread(
        target=lambda: taken.append(ask(host, 200.0, holder="other", takeover=True))
    )
    taker.start()
    assert host.card.hanging.wait(30)
    with pytest.raises(LimitWriteFailed):
        ask(host, token=mine)
    waited = host.governor.release(GPU, principal="alice", fencing_token=mine)
    assert RevertOutcome.FAILED is waited.outcome
    host.card.wake.set()
    taker.join()
    host.card.fault = None
    host.pass_time(1.0)

    held = host.governor.lease(GPU)
    assert held is not None
    assert (taken, "other", 200.0) == ([held.fencing_token], held.holder, host.card.limit_watts)


def test_a_release_without_conditions_ends_what_comes_into_force_meanwhile(host: Host) -> None:
    host.policy = LeasePolicy(write_interval_seconds=0.0, driver_timeout_seconds=0.05)
    restart(host)
    host.card.fault = "hang"
    asking = threading.Thread(target=lambda: ask(host, 200.0))
    asking.start()
    assert host.card.hanging.wait(30)
    assert RevertOutcome.FAILED is host.governor.release(GPU, principal="alice").outcome
    host.card.wake.set()
    asking.join()
    host.card.fault = None
    host.pass_time(1.0)

    assert (None, BASELINE_WATTS) == (host.governor.lease(GPU), host.card.limit_watts)


def test_another_holder_with_the_right_token_still_has_to_ask_for_takeover(host: Host) -> None:
    mine = ask(host)
    with pytest.raises(LeaseHeld):
        ask(host, holder="other", token=mine)


def test_a_repeated_key_is_answered_as_before_across_a_restart(host: Host) -> None:
    def put() -> Any:
        request = LeaseRequest(150.0, 60.0, "optimizer", "because")
        return host.governor.grant(
            GPU, request, principal="alice", idempotency_key="k1", if_match=0
        )

    first = put()
    restart(host)
    n_calls = host.card.calls

    assert first == put()
    assert (n_calls, BASELINE_WATTS) == (host.card.calls, host.card.limit_watts)
    assert host.governor.lease(GPU) is None


def test_without_numbers_nothing_is_granted(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(host)
    host.governor.close()
    host.stop()

    def unreadable(journal: Any) -> Any:
        journal.read_only_reason = "the disk is ill"
        raise StateError(journal.read_only_reason)

    monkeypatch.setattr("joulestat.power.journal.Journal.numbers", unreadable)
    host.start()
    with pytest.raises(ControlReadOnly, match="the disk is ill"):
        ask(host)
