"""Whatever is done, in whatever order, with whatever faults and crashes: no limit is stranded.

The model knows the card's owner in one word: nobody (the baseline stands), a holder, or somebody
else. The real thing works on real files that outlive each crash.
"""

from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from fakes.host import GPU, Host
from fakes.limiter import Crash
from fakes.quick_disk import quick_folder
from joulestat.domain.errors import LeaseError, LeaseLost
from joulestat.domain.limit import RevertOutcome
from joulestat.power.leases import LeasePolicy

WATTS = st.sampled_from([100.0, 150.0, 200.5, 250.0, 320.0, 400.0, 99.0])
FOREIGN_WATTS = st.sampled_from([111.0, 222.0, 333.0])
HOLDERS = st.sampled_from(["anna", "ben"])
FAULTS = st.sampled_from(["refuse", "permission", "sticky", "coarse", "lost", "late_error"])
CRASHES = st.sampled_from(["crash_before", "crash_after"])
POLICY = LeasePolicy(write_interval_seconds=0.001)


class LeaseModel(RuleBasedStateMachine):
    """The governor against a model of what the card must stand at."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = ExitStack()
        self.host = Host(self.disk.enter_context(quick_folder()), POLICY)
        self.baseline_watts = self.host.card.limit_watts
        self.foreign_watts: float | None = None
        self.faulty = False
        self.tokens: list[int] = []
        self.revisions: list[int] = [0]

    def teardown(self) -> None:
        self.host.stop()
        self.disk.close()

    # What clients do

    @rule(
        watts=WATTS,
        ttl=st.sampled_from([5.0, 60.0, 900.0]),
        holder=HOLDERS,
        takeover=st.booleans(),
        key=st.sampled_from([None, None, "k1", "k2"]),
    )
    def grant(self, watts: float, ttl: float, holder: str, takeover: bool, key: str | None) -> None:
        lease = self.host.governor.lease(GPU)
        n_writes = len(self.host.card.written)
        foreign = self.is_foreign()
        try:
            grant = self.host.grant(watts, ttl=ttl, holder=holder, takeover=takeover, key=key)
        except LeaseError:
            return
        if self.host.governor.lease(GPU) == grant.lease != lease:
            if foreign and n_writes != len(self.host.card.written):
                self.adopt_foreign()
            assert self.baseline_watts == grant.lease.baseline_watts
        elif self.host.governor.lease(GPU) != grant.lease:
            assert key is not None, "only a repeated answer may differ from what is held"

    @precondition(lambda self: self.tokens)
    @rule(data=st.data(), watts=WATTS, holder=HOLDERS, takeover=st.booleans())
    def write_late(self, data: st.DataObject, watts: float, holder: str, takeover: bool) -> None:
        """A client wakes up and writes for a lease, or upon a revision, that is over."""
        lease = self.host.governor.lease(GPU)
        token = data.draw(st.sampled_from(self.tokens))
        if_match = None
        if lease is not None and lease.fencing_token == token:
            token, if_match = None, data.draw(st.sampled_from(self.revisions))
            if if_match == self.revisions[-1]:
                return
        n_calls, stands_watts = self.host.card.calls, self.host.card.limit_watts
        with pytest.raises(LeaseLost):
            self.host.grant(watts, holder=holder, takeover=takeover, token=token, if_match=if_match)
        with pytest.raises(LeaseLost):
            self.host.governor.release(
                GPU, principal="alice", fencing_token=token, if_match=if_match
            )
        assert (n_calls, stands_watts) == (self.host.card.calls, self.host.card.limit_watts)

    @rule(watts=WATTS, holder=HOLDERS)
    def write_in_time(self, watts: float, holder: str) -> None:
        """A client writes upon what it has just read; whatever is refused, it is not too late."""
        lease = self.host.governor.lease(GPU)
        token = None if lease is None else lease.fencing_token
        foreign, n_writes = self.is_foreign(), len(self.host.card.written)
        try:
            grant = self.host.grant(
                watts, holder=holder, takeover=True, token=token, if_match=self.revisions[-1]
            )
        except LeaseLost as error:
            raise AssertionError("refused as too late") from error
        except LeaseError:
            return
        assert self.revisions[-1] + 1 == grant.revision
        own = lease is not None and lease.holder == holder
        assert own == (token == grant.lease.fencing_token)
        if foreign and n_writes != len(self.host.card.written):
            self.adopt_foreign()

    @rule()
    def release(self) -> None:
        self.ended(self.host.governor.release(GPU, principal="alice").outcome)

    @rule()
    def revert_all(self) -> None:
        outcomes = self.host.governor.revert_all(principal="alice", cause="revert-all")
        self.ended(outcomes[GPU].outcome)

    # What time and the world do

    @rule(seconds=st.sampled_from([0.25, 4.0, 30.0, 61.0, 1_000.0]))
    def tick(self, seconds: float) -> None:
        self.host.pass_time(seconds)
        self.settle_foreign()

    @rule(days=st.sampled_from([-400.0, 400.0]))
    def step_wall_clock(self, days: float) -> None:
        self.host.clock.step_wall(days * 86_400.0)

    @precondition(lambda self: not self.faulty)
    @rule(watts=FOREIGN_WATTS)
    def foreign_change(self, watts: float) -> None:
        self.host.card.limit_watts = watts
        self.foreign_watts = watts
        if self.host.governor.lease(GPU) is None and not self.pending():
            self.adopt_foreign()

    @precondition(lambda self: not self.is_foreign())
    @rule(fault=FAULTS)
    def break_card(self, fault: str) -> None:
        self.host.card.fault = fault
        self.faulty = True

    @precondition(lambda self: self.faulty)
    @rule()
    def mend_card(self) -> None:
        self.host.card.fault = None
        self.faulty = False
        self.host.pass_time(31.0)
        self.settle_foreign()

    @rule()
    def kill_and_start(self) -> None:
        self.restart()

    @precondition(lambda self: not self.faulty)
    @rule(watts=WATTS, holder=HOLDERS, crash=CRASHES)
    def kill_within_a_grant(self, watts: float, holder: str, crash: str) -> None:
        foreign = self.is_foreign()
        n_writes = len(self.host.card.written)
        self.host.card.fault = crash
        try:
            self.host.grant(watts, holder=holder)
        except (Crash, LeaseError):
            pass
        finally:
            self.host.card.fault = None
        if foreign and len(self.host.card.written) != n_writes:
            self.adopt_foreign()
        self.restart()

    @precondition(lambda self: not self.faulty)
    @rule(crash=CRASHES)
    def kill_within_an_end(self, crash: str) -> None:
        self.host.card.fault = crash
        try:
            self.host.governor.release(GPU, principal="alice")
        except Crash:
            pass
        finally:
            self.host.card.fault = None
        self.restart()

    # The model

    def restart(self) -> None:
        self.host.kill()
        self.host.start()
        self.settle_foreign()

    def pending(self) -> bool:
        return bool(self.host.journal.records())

    def is_foreign(self) -> bool:
        return self.foreign_watts is not None

    def ended(self, outcome: RevertOutcome) -> None:
        if outcome is RevertOutcome.FOREIGN:
            assert self.is_foreign()
        self.settle_foreign()

    def settle_foreign(self) -> None:
        """After an end, somebody else's limit is what the next lease starts from."""
        if self.is_foreign() and not self.pending():
            self.adopt_foreign()

    def adopt_foreign(self) -> None:
        assert self.foreign_watts is not None
        self.baseline_watts = self.foreign_watts
        self.foreign_watts = None

    @invariant()
    def the_card_stands_where_it_must(self) -> None:
        lease = self.host.governor.lease(GPU)
        stands_watts = self.host.card.limit_watts
        if self.is_foreign():
            assert self.foreign_watts == stands_watts
        elif lease is not None and lease.expires_boottime_ns > self.host.clock.boottime_ns():
            assert abs(lease.target_watts - stands_watts) <= 1.0
            assert self.baseline_watts == lease.baseline_watts
        elif not self.faulty and not self.pending():
            assert self.baseline_watts == stands_watts

    @invariant()
    def numbers_never_fall_and_no_acquisition_has_that_of_another(self) -> None:
        control = self.host.governor.controls()[GPU]
        assert control.revision >= self.revisions[-1]
        if control.revision != self.revisions[-1]:
            self.revisions.append(control.revision)
        if control.lease is not None:
            token = control.lease.fencing_token
            assert token >= max(self.tokens, default=1)
            if token not in self.tokens:
                self.tokens.append(token)

    @invariant()
    def the_baseline_is_never_lost(self) -> None:
        """While the card stands elsewhere, the disk knows where it has to go."""
        if self.host.card.limit_watts in (self.baseline_watts, self.foreign_watts):
            return
        (record,) = self.host.journal.records()
        assert self.baseline_watts == record.lease.baseline_watts

    @invariant()
    def a_mended_card_comes_back_within_a_tick(self) -> None:
        if not self.faulty and self.host.governor.lease(GPU) is None:
            self.host.pass_time(31.0)
            assert not self.pending()
            self.settle_foreign()
            assert self.baseline_watts == self.host.card.limit_watts

    @invariant()
    def the_audit_log_is_whole(self) -> None:
        assert self.host.audit.verify().ok


LeaseModel.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestLeaseModel = LeaseModel.TestCase
