"""The hardware cannot be worn out, by no client and no crash loop; reverts wait for nothing."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fakes.host import BASELINE_WATTS, GPU, Host
from joulestat.domain.errors import ControlReadOnly, StateError, TooManyWrites
from joulestat.domain.limit import RevertOutcome

N_PUTS = 10_000
SECONDS_PER_PUT = 0.003
INTERVAL_SECONDS = 10.0
BURST = 3


Measured = Callable[[str, object], None]

pytestmark = pytest.mark.promise("write-rate")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.stop()


def use_up_the_burst(host: Host) -> None:
    for watts in (150.0, 200.0, 250.0):
        host.grant(watts)


def test_ten_thousand_puts_are_a_write_every_ten_seconds_and_a_burst(
    host: Host, record_property: Measured
) -> None:
    waits_seconds = []
    for n in range(N_PUTS):
        try:
            host.grant(150.0 + 2 * (n % 50), ttl=900.0)
        except TooManyWrites as error:
            waits_seconds.append(error.retry_after_seconds)
        host.clock.advance(SECONDS_PER_PUT)

    allowed = N_PUTS * SECONDS_PER_PUT / INTERVAL_SECONDS + BURST
    assert allowed - 1 <= len(host.card.written) <= allowed
    # Every 50th asks for what is held already, which is a renewal.
    assert len(waits_seconds) > N_PUTS * 0.9
    assert 0.0 < min(waits_seconds) <= max(waits_seconds) <= INTERVAL_SECONDS
    record_property(
        "measured",
        f"{len(host.card.written)} writes for {N_PUTS:,} requests in "
        f"{N_PUTS * SECONDS_PER_PUT:g} s",
    )


def test_an_unchanged_target_is_no_write(host: Host) -> None:
    for _ in range(50):
        host.grant(150.0)
    host.governor.release(GPU, principal="alice")
    host.clock.advance(60.0)
    host.grant(BASELINE_WATTS)
    host.governor.release(GPU, principal="alice")

    assert [150.0, BASELINE_WATTS] == host.card.written


def test_taking_and_releasing_is_no_way_around_it(host: Host) -> None:
    for n in range(150):
        with suppress(TooManyWrites):
            host.grant(150.0 + n % 50)
            host.governor.release(GPU, principal="alice")
        host.clock.advance(1.0)

    # A revert is never put off, so the burst may be exceeded by one.
    assert len(host.card.written) <= 150.0 / INTERVAL_SECONDS + BURST + 1


def test_a_crash_loop_is_no_way_around_it(host: Host, record_property: Measured) -> None:
    n_crashes = 60
    for n in range(n_crashes):
        with suppress(TooManyWrites):
            host.grant(150.0 + n % 50)
        host.kill()
        host.start()
        assert BASELINE_WATTS == host.card.limit_watts
        host.clock.advance(1.0)

    assert len(host.card.written) <= n_crashes / INTERVAL_SECONDS + BURST + 1
    record_property(
        "measured", f"{len(host.card.written)} writes in {n_crashes} s with a crash every second"
    )


def test_a_revert_is_not_held_up_by_writes_before_it(host: Host) -> None:
    use_up_the_burst(host)
    with pytest.raises(TooManyWrites):
        host.grant(180.0)

    assert RevertOutcome.RESTORED is host.governor.release(GPU, principal="alice").outcome
    assert BASELINE_WATTS == host.card.limit_watts


def test_an_expiry_is_not_held_up_by_writes_before_it(host: Host) -> None:
    for watts in (150.0, 200.0, 250.0):
        host.grant(watts, ttl=5.0)
    host.pass_time(5.0)

    assert BASELINE_WATTS == host.card.limit_watts


def test_another_boot_begins_with_the_whole_burst(host: Host) -> None:
    use_up_the_burst(host)
    host.clock.reboot("boot-2")
    host.card.limit_watts = BASELINE_WATTS
    host.kill()
    host.start()

    use_up_the_burst(host)


def test_a_request_that_could_not_be_recorded_used_nothing_up(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StateError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(host.journal, "put", full)
        for _ in range(5):
            with pytest.raises(ControlReadOnly):
                host.grant(150.0)

    use_up_the_burst(host)
