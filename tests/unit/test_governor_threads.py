"""Many threads, and a driver that hangs: one call at a time, and no card waits for another."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fakes.host import BASELINE_WATTS, GPU, Host
from fakes.limiter import FakeLimiter
from joulestat.domain.errors import LeaseError, LeaseHeld, LimitWriteFailed
from joulestat.domain.limit import Grant, RevertOutcome
from joulestat.power.leases import LeasePolicy

IMPATIENT = LeasePolicy(driver_timeout_seconds=0.05, write_burst=1_000)
OTHER = "GPU-b"


class Threads:
    """Starts threads as the exporter does, and waits for them at the end of a test."""

    def __init__(self) -> None:
        self._started: list[threading.Thread] = []

    def spawn(self, job: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=job, daemon=True)
        self._started.append(thread)
        thread.start()
        return thread

    def join(self) -> None:
        for thread in self._started:
            thread.join(10)
            assert not thread.is_alive()


@pytest.fixture
def threads() -> Threads:
    return Threads()


@pytest.fixture
def host(tmp_path: Path, threads: Threads) -> Iterator[Host]:
    made = Host(tmp_path, IMPATIENT, n_cards=2)
    made.stop()
    made.options["spawn"] = threads.spawn
    made.start()
    yield made
    wake(made.card)
    threads.join()
    made.stop()


def hang(card: FakeLimiter) -> None:
    card.hanging.clear()
    card.wake.clear()
    card.fault = "hang"


def wake(card: FakeLimiter) -> None:
    card.fault = None
    card.wake.set()


def hang_in_a_grant(host: Host, threads: Threads, watts: float) -> None:
    hang(host.card)
    threads.spawn(lambda: host.grant(watts, takeover=True) and None)
    assert host.card.hanging.wait(10)


def test_a_hanging_driver_blocks_no_other_card(host: Host, threads: Threads) -> None:
    hang_in_a_grant(host, threads, 250.0)
    assert 250.0 == host.grant(250.0, gpu=OTHER).applied_watts
    with pytest.raises(LimitWriteFailed, match="has not answered an earlier call"):
        host.grant(250.0)
    assert {"failed": 1} == host.counts()
    host.pass_time(60.0)
    threads_left = threading.active_count()
    for _ in range(3):
        host.pass_time(60.0)
    # One waits in line, for as long as a request would.
    assert threads_left + 1 >= threading.active_count()
    wait_until(lambda: BASELINE_WATTS == host.cards[OTHER].limit_watts)


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for what another thread does, up to 10 s."""
    event = threading.Event()
    for _ in range(1_000):
        if true():
            return
        event.wait(0.01)
    raise AssertionError("it did not happen within 10 s")


def test_a_revert_that_hangs_keeps_no_other_lease_from_ending(host: Host) -> None:
    host.grant(250.0)
    host.grant(250.0, gpu=OTHER)
    hang(host.card)
    host.pass_time(60.0)
    wait_until(lambda: BASELINE_WATTS == host.cards[OTHER].limit_watts)
    assert 250.0 == host.card.limit_watts
    wake(host.card)
    wait_until(lambda: BASELINE_WATTS == host.card.limit_watts)


def test_closing_waits_for_a_hanging_driver_no_longer_than_agreed(host: Host) -> None:
    host.grant(250.0)
    host.grant(250.0, gpu=OTHER)
    hang(host.card)
    outcomes = {uuid: revert.outcome for uuid, revert in host.governor.close().items()}
    assert {GPU: RevertOutcome.FAILED, OTHER: RevertOutcome.RESTORED} == outcomes
    assert BASELINE_WATTS == host.cards[OTHER].limit_watts


def test_a_lease_that_was_reverted_in_vain_ends_when_the_driver_wakes_up(
    host: Host, threads: Threads
) -> None:
    hang_in_a_grant(host, threads, 250.0)
    assert RevertOutcome.FAILED is host.governor.release(GPU, principal="alice").outcome
    wake(host.card)
    threads.join()
    host.pass_time(0.25)
    threads.join()
    assert (BASELINE_WATTS, None) == (host.card.limit_watts, host.governor.lease(GPU))


class TellingLock:
    """A lock that tells when somebody wants it."""

    def __init__(self, lock: threading.Lock, wanted: threading.Event) -> None:
        self._lock, self._wanted = lock, wanted
        self.release, self.locked = lock.release, lock.locked

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        self._wanted.set()
        return self._lock.acquire(blocking, 10 if timeout > 0 else timeout)


def test_a_release_that_waited_out_a_takeover_does_not_end_it(host: Host, threads: Threads) -> None:
    host.grant(250.0)
    wanted, refused = threading.Event(), threading.Event()
    device = host.governor._devices[GPU]
    device.lock = TellingLock(device.lock, wanted)  # type: ignore[assignment]

    def release() -> None:
        try:
            host.governor.release(GPU, principal="alice", holder="optimizer")
        except LeaseHeld:
            refused.set()

    def release_meanwhile(_: float) -> None:
        host.card.before_write = None
        wanted.clear()
        threads.spawn(release)
        assert wanted.wait(10)

    host.card.before_write = release_meanwhile
    host.grant(200.0, holder="another", takeover=True)
    threads.join()
    assert refused.is_set()
    assert 200.0 == host.card.limit_watts


def test_an_end_waits_in_line_with_requests_that_never_cease(
    tmp_path: Path, threads: Threads
) -> None:
    host = Host(tmp_path, LeasePolicy(driver_timeout_seconds=10.0))
    host.stop()
    host.options["spawn"] = threads.spawn
    host.start()
    host.grant(200.0, ttl=60.0)
    host.clock.advance(61.0)
    hang(host.card)
    threads.spawn(lambda: host.grant(210.0, dry_run=True) and None)
    assert host.card.hanging.wait(10)
    before = threading.active_count()
    for _ in range(3):
        host.governor.expire()
    waiting = threading.active_count() - before
    wake(host.card)
    threads.join()

    assert (1, BASELINE_WATTS) == (waiting, host.card.limit_watts)
    host.stop()


def test_reading_the_controls_waits_for_no_driver(host: Host, threads: Threads) -> None:
    host.grant(250.0)
    hang_in_a_grant(host, threads, 200.0)
    lease = host.governor.lease(GPU)
    assert lease is not None
    assert 250.0 == lease.target_watts
    assert {GPU, OTHER} == set(host.governor.controls())


def test_a_range_that_cannot_be_had_in_time_is_none(host: Host, threads: Threads) -> None:
    hang_in_a_grant(host, threads, 200.0)
    assert host.governor.range_watts(GPU) is None


def test_one_request_sent_many_times_at_once_is_done_once(host: Host) -> None:
    start = threading.Barrier(20)

    def send(_: int) -> Grant:
        start.wait(10)
        while True:
            try:
                return host.grant(250.0, key="k1")
            except LimitWriteFailed:  # the others are at it; a client asks again
                continue

    with ThreadPoolExecutor(20) as pool:
        answers = set(pool.map(send, range(20)))
    assert 1 == len(answers)
    assert [250.0] == host.card.written


def test_two_writers_never_both_hold_a_card(host: Host) -> None:
    """Each client checks, while it holds the card, that the hardware stands at its own limit."""
    start = threading.Barrier(6)
    wrong: list[str] = []
    n_held = 0

    def client(number: int) -> None:
        nonlocal n_held
        start.wait(10)
        watts = 200.0 + 10 * number
        for _ in range(20):
            try:
                host.grant(watts, holder=f"client-{number}")
                n_held += 1
                if host.card.limit_watts != watts:
                    wrong.append(f"{number}: {host.card.limit_watts}")
                host.governor.release(GPU, principal="alice", holder=f"client-{number}")
            except LeaseError:
                continue

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(client, range(6)))
    assert [] == wrong
    assert n_held > 0
    assert 1 == host.card.most_calls_at_once
    host.governor.revert_all(principal="alice", cause="revert-all")
    assert BASELINE_WATTS == host.card.limit_watts
    assert host.audit.verify().ok


def no_thread(_: Callable[[], None]) -> None:
    """Answer as Python does where the system gives it no more threads."""
    raise RuntimeError("can't start new thread")


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[Host]:
    """A host on which no thread can be had."""
    made = Host(tmp_path, IMPATIENT, n_cards=2)
    made.stop()
    made.options["spawn"] = no_thread
    made.start()
    for gpu in made.cards:
        made.grant(200.0, gpu=gpu)
    yield made
    made.stop()


@pytest.mark.promise("lease-end")
@pytest.mark.parametrize(
    "end",
    [
        lambda host: host.pass_time(61.0),
        lambda host: host.governor.revert_all(principal="alice"),
        lambda host: host.governor.close(),
    ],
    ids=["expiry", "revert-all", "stop"],
)
def test_leases_end_also_where_no_thread_can_be_had(
    crowded: Host, end: Callable[[Host], object]
) -> None:
    end(crowded)

    assert {BASELINE_WATTS} == {card.limit_watts for card in crowded.cards.values()}


def test_a_device_that_is_busy_holds_up_no_other_where_no_thread_can_be_had(crowded: Host) -> None:
    with crowded.governor._devices[GPU].held():
        crowded.pass_time(61.0)

        assert BASELINE_WATTS == crowded.cards[OTHER].limit_watts
    crowded.pass_time(1.0)
    assert BASELINE_WATTS == crowded.card.limit_watts
