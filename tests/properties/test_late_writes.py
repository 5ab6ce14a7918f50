"""Clients that stop for a while and wake up after their lease: no late write reaches a driver."""

import random
from collections.abc import Callable
from http import HTTPStatus

import pytest

from fakes.host import GPU, Host
from fakes.quick_disk import quick_folder
from joulestat.domain.errors import LeaseLost
from joulestat.power.leases import LeasePolicy
from joulestat.server.problems import STATUS

N_PAUSED = 500
TTL_SECONDS = 60.0


def expires(host: Host) -> None:
    host.pass_time(TTL_SECONDS + 1.0)


def is_taken_over(host: Host) -> None:
    host.grant(260.0, holder="other", takeover=True)


def is_released(host: Host) -> None:
    host.governor.release(GPU, principal="alice")


def ends_with_the_service(host: Host) -> None:
    host.kill()
    host.start()


ENDS: list[Callable[[Host], None]] = [expires, is_taken_over, is_released, ends_with_the_service]


@pytest.mark.promise("late-write")
def test_no_write_of_a_client_that_slept_over_the_end_of_its_lease_reaches_a_driver(
    record_property: Callable[[str, object], None],
) -> None:
    chance = random.Random(5)
    with quick_folder() as folder:
        host = Host(folder, LeasePolicy(write_interval_seconds=0.0))
        n_refused = n_held = 0
        for _ in range(N_PAUSED):
            mine = host.grant(150.0, ttl=TTL_SECONDS)
            chance.choice(ENDS)(host)
            if chance.random() < 0.5:
                # Somebody else's by now, or nobody's.
                host.grant(220.0, holder="other", ttl=TTL_SECONDS)
            n_held += host.governor.lease(GPU) is not None
            stands_watts, n_calls = host.card.limit_watts, host.card.calls
            by_token = chance.random() < 0.5
            with pytest.raises(LeaseLost):
                host.grant(
                    chance.choice([150.0, 180.0, 9_999.0]),
                    holder=chance.choice(["optimizer", "other"]),
                    takeover=chance.random() < 0.5,
                    token=mine.lease.fencing_token if by_token else None,
                    if_match=None if by_token else mine.revision,
                )
            assert (n_calls, stands_watts) == (host.card.calls, host.card.limit_watts)
            n_refused += 1
            host.governor.revert_all(principal="alice")
            host.clock.advance(1.0)
        host.stop()

    assert HTTPStatus.PRECONDITION_FAILED == STATUS[LeaseLost]
    record_property(
        "measured",
        f"{n_refused} late writes refused with 412, {n_held} of them while somebody else held the "
        "GPU; 0 calls of its driver",
    )
