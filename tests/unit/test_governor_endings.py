"""Ending: on time, at the baseline found first, never over somebody else's limit, for ever."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.host import BASELINE_WATTS, GPU, Host
from joulestat.domain.errors import ControlReadOnly, LeaseHeld
from joulestat.domain.limit import Revert, RevertOutcome
from joulestat.power.controlled import MAX_RETRY_SECONDS

RESTORED = Revert(RevertOutcome.RESTORED, BASELINE_WATTS)
NONE = Revert(RevertOutcome.NONE, None)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path, n_cards=2)
    yield made
    made.stop()


def test_a_lease_ends_when_its_time_is_over_and_not_before(host: Host) -> None:
    host.grant(250.0, ttl=60.0)
    host.pass_time(59.9)
    assert 250.0 == host.card.limit_watts
    host.pass_time(0.1)
    assert BASELINE_WATTS == host.card.limit_watts
    assert host.governor.lease(GPU) is None
    assert [] == list(host.journal.records())
    assert {"applied": 1, "reverted": 1} == host.counts()
    assert ("restored", "expired") == (host.audited()[-1]["outcome"], host.audited()[-1]["cause"])


def test_a_stepped_wall_clock_changes_no_lease(host: Host) -> None:
    host.grant(250.0, ttl=60.0)
    for step in (365 * 86_400.0, -2 * 365 * 86_400.0):
        host.clock.step_wall(step)
        host.pass_time(1.0)
        assert 250.0 == host.card.limit_watts
    host.pass_time(58.0)
    assert BASELINE_WATTS == host.card.limit_watts


def test_the_baseline_is_what_was_found_not_the_factorys_default(host: Host) -> None:
    host.card.limit_watts = 217.3
    for watts in (350.0, 150.0, 216.5):
        host.grant(watts)
    host.governor.release(GPU, principal="alice")
    assert 217.3 == host.card.limit_watts


def test_a_release_restores_and_a_second_one_finds_nothing(host: Host) -> None:
    host.grant(250.0)
    assert RESTORED == host.governor.release(GPU, principal="bob")
    assert NONE == host.governor.release(GPU, principal="bob")
    assert "bob" == host.audited()[-2]["principal"]


def test_a_release_that_names_another_holder_is_refused(host: Host) -> None:
    host.grant(250.0, holder="optimizer")
    with pytest.raises(LeaseHeld):
        host.governor.release(GPU, principal="alice", holder="another")
    assert 250.0 == host.card.limit_watts
    assert "LeaseHeld" == host.audited()[-1]["error"]
    assert RESTORED == host.governor.release(GPU, principal="alice", holder=" optimizer\n")


def test_revert_all_ends_every_lease(host: Host) -> None:
    host.grant(250.0)
    answer = host.governor.revert_all(principal="alice", cause="revert-all")
    assert {GPU: RESTORED, "GPU-b": NONE} == answer
    assert host.grant(250.0).lease is not None


def test_closing_reverts_and_grants_no_more(host: Host) -> None:
    host.grant(250.0)
    assert host.governor.read_only_reason is None
    assert {GPU: RESTORED, "GPU-b": NONE} == host.governor.close()
    assert "the service is stopping" == host.governor.read_only_reason
    with pytest.raises(ControlReadOnly, match="stopping"):
        host.grant(250.0)
    assert BASELINE_WATTS == host.card.limit_watts
    assert {GPU: NONE, "GPU-b": NONE} == host.governor.close()


# Somebody else


def test_a_limit_that_somebody_else_set_is_left_alone(host: Host) -> None:
    host.grant(250.0)
    host.card.limit_watts = 280.0
    revert = host.governor.release(GPU, principal="alice")
    assert Revert(RevertOutcome.FOREIGN, 280.0) == revert
    assert 280.0 == host.card.limit_watts
    assert host.governor.controls()[GPU].drift
    assert {"applied": 1, "failed": 1} == host.counts()
    assert "foreign" == host.audited()[-1]["outcome"]
    assert [] == list(host.journal.records())


def test_a_foreign_change_shows_while_the_lease_is_held_and_is_audited_once(host: Host) -> None:
    host.grant(250.0)
    host.pass_time(5.0)
    assert not host.governor.controls()[GPU].drift
    host.card.limit_watts = 300.0
    for _ in range(3):
        host.pass_time(5.0)
    assert host.governor.controls()[GPU].drift
    assert 1 == [record["action"] for record in host.audited()].count("drift")
    host.card.limit_watts = 250.0
    host.pass_time(5.0)
    assert not host.governor.controls()[GPU].drift


def test_a_card_that_cannot_be_looked_at_is_looked_at_later(host: Host) -> None:
    host.grant(250.0)
    host.card.fault = "lost"
    host.pass_time(5.0)
    assert host.governor.lease(GPU) is not None


def test_a_renewal_does_not_fight_a_foreign_change_but_reports_it(host: Host) -> None:
    host.grant(250.0)
    host.card.limit_watts = 280.0
    grant = host.grant(250.0)
    assert 280.0 == grant.applied_watts
    assert host.governor.controls()[GPU].drift
    assert [250.0] == host.card.written


def test_after_a_foreign_change_a_changed_lease_goes_back_to_the_foreign_limit(host: Host) -> None:
    host.grant(250.0)
    host.card.limit_watts = 280.0
    assert 280.0 == host.grant(200.0).lease.baseline_watts
    assert not host.governor.controls()[GPU].drift
    host.pass_time(60.0)
    assert 280.0 == host.card.limit_watts


def test_a_foreign_limit_that_the_next_lease_finds_is_its_baseline(host: Host) -> None:
    host.grant(250.0, ttl=60.0)
    host.card.limit_watts = 280.0
    host.pass_time(60.0)
    assert host.governor.controls()[GPU].drift
    assert 280.0 == host.grant(250.0).lease.baseline_watts
    assert not host.governor.controls()[GPU].drift


def test_somebody_who_put_the_baseline_back_saves_the_write(host: Host) -> None:
    host.grant(250.0)
    host.card.limit_watts = BASELINE_WATTS
    assert RESTORED == host.governor.release(GPU, principal="alice")
    assert [250.0] == host.card.written
    assert {"applied": 1, "unchanged": 1} == host.counts()


# Reverts that fail


@pytest.mark.parametrize("fault", ["refuse", "permission", "sticky", "coarse", "lost", "surprise"])
def test_a_failed_revert_is_tried_again_until_it_succeeds(host: Host, fault: str) -> None:
    host.grant(250.0)
    host.card.fault = fault
    assert RevertOutcome.FAILED is host.governor.release(GPU, principal="alice").outcome
    assert host.governor.lease(GPU) is None
    assert 1 == len(host.journal.records())
    for _ in range(600):
        host.pass_time(1.0)
    attempts = host.counts()["failed"]
    assert 20 <= attempts <= 30, "600 s at 0.5, 1, 2, ... 30 s"
    host.card.fault = None
    host.pass_time(MAX_RETRY_SECONDS)
    assert BASELINE_WATTS == host.card.limit_watts
    assert [] == list(host.journal.records())


def test_a_failing_revert_fills_no_log(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.grant(250.0)
    host.card.fault = "refuse"
    host.governor.release(GPU, principal="alice")
    n_records, n_lines = len(host.audited()), len(caplog.records)
    for _ in range(600):
        host.pass_time(1.0)
    assert (n_records, n_lines) == (len(host.audited()), len(caplog.records))
    host.card.fault = None
    host.pass_time(MAX_RETRY_SECONDS)
    last = host.audited()[-1]
    assert ("restored", "released") == (last["outcome"], last["cause"])


def test_a_lease_granted_while_a_revert_fails_inherits_the_baseline(host: Host) -> None:
    host.grant(250.0)
    host.card.fault = "refuse"
    host.governor.release(GPU, principal="alice")
    host.card.fault = None
    assert BASELINE_WATTS == host.grant(200.0).lease.baseline_watts
    host.pass_time(30.0)
    assert 200.0 == host.card.limit_watts
    host.pass_time(30.0)
    assert BASELINE_WATTS == host.card.limit_watts


def test_a_write_that_answers_with_an_error_but_works_has_restored(host: Host) -> None:
    host.grant(250.0)
    host.card.fault = "late_error"
    assert RESTORED == host.governor.release(GPU, principal="alice")


def test_a_grant_that_died_of_a_surprise_is_undone_by_the_loop(host: Host) -> None:
    host.card.fault = "surprise"
    with pytest.raises(RuntimeError):
        host.grant(250.0)
    host.card.fault = None
    host.card.limit_watts = 250.0  # it may have come through
    host.pass_time(0.25)
    assert BASELINE_WATTS == host.card.limit_watts
    assert [] == list(host.journal.records())


def test_a_card_that_fails_keeps_no_other_card_from_its_baseline(host: Host) -> None:
    host.grant(250.0, ttl=60.0)
    host.grant(250.0, ttl=60.0, gpu="GPU-b")
    host.card.fault = "surprise"
    host.pass_time(60.0)
    assert BASELINE_WATTS == host.cards["GPU-b"].limit_watts


# What is shown of the limit from before


def shown_baseline_watts(host: Host) -> float | None:
    return host.governor.controls()[GPU].baseline_watts


def test_the_limit_from_before_is_shown_for_as_long_as_it_is_still_to_be_put_back(
    host: Host,
) -> None:
    before = shown_baseline_watts(host)
    host.grant(250.0)
    held = shown_baseline_watts(host)
    host.card.fault = "refuse"
    host.governor.release(GPU, principal="alice")
    owed = (host.governor.controls()[GPU].lease, shown_baseline_watts(host))
    host.card.fault = None
    host.pass_time(MAX_RETRY_SECONDS)

    assert (None, BASELINE_WATTS) == (before, held)
    assert (None, BASELINE_WATTS) == owed
    assert shown_baseline_watts(host) is None


def test_a_limit_that_is_somebody_elses_now_leaves_nothing_to_put_back(host: Host) -> None:
    host.grant(250.0)
    host.card.limit_watts = 280.0
    host.governor.release(GPU, principal="alice")

    assert shown_baseline_watts(host) is None


def test_after_a_crash_it_is_shown_until_the_card_takes_it(host: Host) -> None:
    host.grant(250.0)
    host.card.fault = "refuse"
    host.kill()
    host.start()
    owed = shown_baseline_watts(host)
    host.card.fault = None
    host.pass_time(MAX_RETRY_SECONDS)

    assert BASELINE_WATTS == owed
    assert shown_baseline_watts(host) is None
