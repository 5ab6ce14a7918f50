"""Eight clients at once on one GPU: every history is one that a single register could have had."""

import os
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.host import BASELINE_WATTS, GPU, Host
from fakes.quick_disk import quick_folder
from joulestat.power.leases import LeasePolicy
from joulestat.power.meant import Meant
from properties.lease_clients import N_CALLS, N_CLIENTS, TTL_SECONDS, Client, InProcess, all_at_once
from properties.lease_clients import moment as now
from properties.lease_register import LEASE_REGISTER, Lapse, Leased, Put, Read, Release, Restart
from properties.linearizability import Operation, is_linearizable

HISTORIES = int(os.environ.get("HISTORIES", "20"))
YEAR_SECONDS = 365.0 * 86_400.0
POLICY = LeasePolicy(write_interval_seconds=0.0, driver_timeout_seconds=60.0)


@pytest.fixture
def often_switched() -> Iterator[None]:
    """Let threads take turns within a call, not after it."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


def a_history(folder: Path, seed: int) -> list[Operation]:
    """Let clients race through two lives of a governor, while time passes and clocks step."""
    host = Host(folder, POLICY)
    clients = [Client(f"client-{n}", random.Random(seed * 100 + n)) for n in range(N_CLIENTS)]
    apart: list[Operation] = []

    def let_time_pass() -> None:
        host.clock.step_wall(YEAR_SECONDS if seed % 2 else -YEAR_SECONDS)
        # Noticed by the loop or by the next request; by nobody where nothing is held.
        apart.append(Operation(Lapse(), None, now()))
        host.pass_time(TTL_SECONDS + 1.0)

    all_at_once(clients, InProcess(host.governor, GPU), N_CALLS, let_time_pass)
    invoked = now()
    host.kill()
    host.start()
    revision = host.governor.controls()[GPU].revision
    apart.append(Operation(Restart(), (revision,), invoked, now()))
    assert BASELINE_WATTS == host.card.limit_watts
    all_at_once(clients, InProcess(host.governor, GPU), N_CALLS, let_time_pass)
    held = host.governor.lease(GPU)
    assert host.card.limit_watts == (BASELINE_WATTS if held is None else held.target_watts)
    assert 1 == host.card.most_calls_at_once
    host.stop()
    return [*apart, *(each for client in clients for each in client.history)]


@pytest.mark.promise("one-holder")
@pytest.mark.parametrize("seed", range(HISTORIES))
def test_a_history_of_eight_clients_is_linearizable(often_switched: None, seed: int) -> None:
    with quick_folder() as folder:
        history = a_history(folder, seed)

    assert is_linearizable(history, LEASE_REGISTER)


@pytest.mark.promise("one-holder")
def test_the_histories_hold_what_they_are_made_for(
    often_switched: None, record_property: Callable[[str, object], None]
) -> None:
    with quick_folder() as folder:
        histories = [a_history(folder / str(seed), seed) for seed in range(4)]

    every = [each for history in histories for each in history]
    puts = {each.answer[0] for each in every if each.answer and isinstance(each.call, Put)}
    ends = {each.answer[0] for each in every if each.answer and isinstance(each.call, Release)}
    assert {"ok", "held", "lost"} == puts
    assert {"restored", "none", "lost"} >= ends > {"restored"}
    assert any(
        not is_linearizable([each for each in history if each.call != Lapse()], LEASE_REGISTER)
        for history in histories
    ), "no lease ended by itself"
    assert any(
        one.invoked < other.invoked < one.returned
        for one in every
        for other in every
        if one.answer is not None and isinstance(one.call, Put) and isinstance(other.call, Put)
    ), "no two clients asked at once"
    answered = [each.answer[0] for each in every if each.answer]
    record_property(
        "measured",
        f"{len(every) // len(histories)} calls in a history, among them "
        f"{answered.count('held') // len(histories)} that came upon another holder and "
        f"{answered.count('lost') // len(histories)} that came too late",
    )


@pytest.mark.promise("one-holder")
def test_a_governor_without_fencing_is_found_out(
    often_switched: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted bug: requests that come too late are let through."""
    monkeypatch.setattr(Meant, "check_current", lambda *_: None)
    with quick_folder() as folder:
        found = [
            seed
            for seed in range(3)
            if not is_linearizable(a_history(folder / str(seed), seed), LEASE_REGISTER)
        ]

    assert found


# The checker itself

GRANTED = Operation(Put("a", 200.0, False, None, None), ("ok", "granted", 1, 1), 0, 10)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (
            [GRANTED, Operation(Put("b", 150.0, False, None, None), ("ok", "granted", 2, 1), 1, 9)],
            "two holders at once",
        ),
        (
            [GRANTED, Operation(Put("b", 150.0, True, None, None), ("ok", "granted", 1, 2), 1, 9)],
            "one token twice",
        ),
        (
            [GRANTED, Operation(Read(), (None, None, None, 0), 11, 12)],
            "a read of what was over before it began",
        ),
        (
            [
                GRANTED,
                Operation(Read(), ("a", 1, 200.0, 1), 1, 2),
                Operation(Read(), (None, None, None, 0), 3, 4),
            ],
            "a read that goes back in time",
        ),
        (
            [
                GRANTED,
                Operation(Put("b", 150.0, True, None, None), ("ok", "granted", 2, 2), 11, 12),
                Operation(Put("a", 250.0, True, 1, None), ("ok", "granted", 3, 3), 13, 14),
            ],
            "a delayed write of a lost lease",
        ),
        (
            [
                GRANTED,
                Operation(Put("a", 250.0, False, None, 0), ("ok", "changed", 1, 2), 11, 12),
            ],
            "a write upon a revision that is over",
        ),
        (
            [GRANTED, Operation(Restart(), (1,), 11, 12)],
            "an end that is no new revision",
        ),
        (
            [
                GRANTED,
                Operation(Restart(), (2,), 11, 12),
                Operation(Put("b", 150.0, False, None, None), ("ok", "granted", 1, 3), 13, 14),
            ],
            "a token given again after a restart",
        ),
        (
            [Operation(Put("b", 150.0, False, None, None), ("held",), 11, 12)],
            "a refusal by nobody",
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_history_that_no_register_could_have_had_is_refused(
    wrong: list[Operation], why: str
) -> None:
    assert not is_linearizable(wrong, LEASE_REGISTER), why


@pytest.mark.parametrize(
    "history",
    [
        [],
        [GRANTED],
        [GRANTED, Operation(Read(), (None, None, None, 0), 1, 2)],
        [GRANTED, Operation(Read(), ("a", 1, 200.0, 1), 1, 2)],
        [GRANTED, Operation(Put("b", 150.0, False, None, None), ("held",), 1, 9)],
        [replace(GRANTED, answer=None), Operation(Read(), ("a", 1, 200.0, 1), 1, 2)],
        [replace(GRANTED, answer=None), Operation(Read(), (None, None, None, 0), 11, 12)],
        [GRANTED, Operation(Lapse(), None, 5), Operation(Read(), (None, None, None, 2), 90, 91)],
        [GRANTED, Operation(Lapse(), None, 5), Operation(Read(), ("a", 1, 200.0, 1), 90, 91)],
    ],
)
def test_a_history_that_a_register_could_have_had_is_let_through(history: list[Operation]) -> None:
    assert is_linearizable(history, LEASE_REGISTER)


def test_any_answer_that_is_put_in_for_another_is_found_out(often_switched: None) -> None:
    with quick_folder() as folder:
        history = a_history(folder, 1)
    chance = random.Random(1)
    granted = [n for n, each in enumerate(history) if each.answer and each.answer[0] == "ok"]
    for n in chance.sample(granted, 3):
        _, outcome, token, revision = history[n].answer or ()
        for wrong in (
            ("held",),
            ("ok", outcome, int(str(token)) + 1, revision),
            ("ok", outcome, token, int(str(revision)) + 1),
        ):
            forged = [*history[:n], replace(history[n], answer=wrong), *history[n + 1 :]]
            assert not is_linearizable(forged, LEASE_REGISTER), (history[n], wrong)


def test_a_register_begins_without_a_lease() -> None:
    assert Leased(None, None, None, 0, 0, unrestored=False) == LEASE_REGISTER.initial
