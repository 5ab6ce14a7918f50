"""Who renews, or asks for dry runs, without end fills no disk, and can always end its lease."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.admin import AdminRig, admin_rig, lease
from fakes.host import BASELINE_WATTS, GPU, Host
from joulestat.domain.errors import TooManyWrites
from joulestat.domain.limit import LeaseRequest, RevertOutcome
from joulestat.power.request_rate import REQUEST_BURST, REQUEST_INTERVAL_SECONDS

N_MORE = 500
MOST_REFUSALS_TOLD = 35
"""In the audit log: ten a second, and ten at once."""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path, n_cards=2)
    yield made
    made.stop()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[AdminRig]:
    with admin_rig(tmp_path) as made:
        yield made


def use_up_the_burst(host: Host) -> None:
    for _ in range(REQUEST_BURST):
        host.grant(250.0, dry_run=True)


def test_renewals_without_end_are_no_more_records_than_the_rate_lets_through(host: Host) -> None:
    use_up_the_burst(host)
    before = len(host.audited())
    waits_seconds = []
    for _ in range(N_MORE):
        host.clock.advance(REQUEST_INTERVAL_SECONDS / 10)
        try:
            host.grant(250.0)
        except TooManyWrites as error:
            waits_seconds.append(error.retry_after_seconds)

    records = host.audited()[before:]
    refused = [each for each in records if each.get("outcome") == "refused"]
    assert N_MORE * 9 / 10 == len(waits_seconds)
    assert 0.0 < min(waits_seconds) <= max(waits_seconds) <= REQUEST_INTERVAL_SECONDS
    # A grant is two records.
    assert 2 * N_MORE / 10 == len(records) - len(refused)
    assert MOST_REFUSALS_TOLD >= len(refused)


def test_the_time_that_is_told_is_the_time_to_wait(host: Host) -> None:
    use_up_the_burst(host)
    with pytest.raises(TooManyWrites) as refused:
        host.grant(250.0)

    host.clock.advance(refused.value.retry_after_seconds - 0.001)
    with pytest.raises(TooManyWrites):
        host.grant(250.0)
    host.clock.advance(0.001)

    assert 250.0 == host.grant(250.0).lease.target_watts


def test_requests_about_one_gpu_count_for_all(host: Host) -> None:
    use_up_the_burst(host)

    with pytest.raises(TooManyWrites):
        host.grant(250.0, gpu="GPU-b")


def test_no_end_of_a_lease_waits_for_it_and_none_uses_it_up(host: Host) -> None:
    host.grant(250.0)
    host.grant(250.0, gpu="GPU-b")
    for _ in range(REQUEST_BURST - 2):
        host.grant(250.0, dry_run=True)
    with pytest.raises(TooManyWrites):
        host.grant(250.0)

    released = host.governor.release(GPU, principal="alice")
    ended = [host.governor.revert_all(principal="alice") for _ in range(REQUEST_BURST)]
    host.clock.advance(REQUEST_INTERVAL_SECONDS)

    assert RevertOutcome.RESTORED is released.outcome
    assert RevertOutcome.RESTORED is ended[0]["GPU-b"].outcome
    assert BASELINE_WATTS == host.card.limit_watts
    assert 250.0 == host.grant(250.0, dry_run=True).lease.target_watts


def test_the_admin_api_says_when_to_ask_again(rig: AdminRig) -> None:
    rig.put(lease(250.0))
    request = LeaseRequest(250.0, 900.0, "optimizer", "because")
    for _ in range(REQUEST_BURST - 1):
        rig.governor.grant(rig.gpu, request, principal="kim", dry_run=True)

    answer = rig.put(lease(250.0), query="?dry_run=true")
    ended = rig.ask("POST", "/v1/revert-all")

    assert (429, "1") == (answer.status, answer.headers["retry-after"])
    assert 0 < answer.json()["retry_after_seconds"] <= REQUEST_INTERVAL_SECONDS
    assert (200, 300.0) == (ended.status, rig.limit_watts())
