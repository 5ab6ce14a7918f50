"""Clients of one GPU's lease that ask all at once, and write down what they were answered."""

import itertools
import random
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from joulestat.domain.errors import LeaseHeld, LeaseLost
from joulestat.domain.limit import GrantOutcome, LeaseRequest, RevertOutcome
from joulestat.power.governor import Governor
from properties.lease_register import Put, Read, Release
from properties.linearizability import Operation

N_CLIENTS = 8
N_CALLS = 5
TTL_SECONDS = 60.0

Call = Put | Read | Release
Answer = tuple[object, ...]

_moments = itertools.count()


def moment() -> int:
    """Return a number that no earlier call of any thread got."""
    return next(_moments)


class Service(Protocol):
    """What answers calls about one GPU."""

    def answer(self, call: Call) -> Answer | None:
        """Return what a call is answered, as the register's model has it; None: nothing came."""


class InProcess:
    """The governor itself."""

    def __init__(self, governor: Governor, gpu: str) -> None:
        self._governor = governor
        self._gpu = gpu

    def answer(self, call: Call) -> Answer:
        try:
            return self._answer(call)
        except LeaseLost:
            return ("lost",)
        except LeaseHeld:
            return ("held",)

    def _answer(self, call: Call) -> Answer:
        match call:
            case Put():
                grant = self._governor.grant(
                    self._gpu,
                    LeaseRequest(
                        call.watts, TTL_SECONDS, call.holder, "race", call.takeover, call.token
                    ),
                    principal="alice",
                    if_match=call.revision,
                )
                assert isinstance(grant.outcome, GrantOutcome)
                return ("ok", grant.outcome.value, grant.lease.fencing_token, grant.revision)
            case Release():
                ended = self._governor.release(
                    self._gpu,
                    principal="alice",
                    fencing_token=call.token,
                    if_match=call.revision,
                )
                assert ended.outcome in (RevertOutcome.RESTORED, RevertOutcome.NONE)
                return (ended.outcome.value,)
            case Read():
                control = self._governor.controls()[self._gpu]
                lease = control.lease
                if lease is None:
                    return (None, None, None, control.revision)
                return (lease.holder, lease.fencing_token, lease.target_watts, control.revision)


class Client:
    """One holder: it remembers the token it was given and the revision it saw last."""

    def __init__(self, name: str, chance: random.Random) -> None:
        self._name = name
        self._chance = chance
        self._token: int | None = None
        self._revision: int | None = None
        self.history: list[Operation] = []

    def ask(self, service: Service, n_calls: int, on_answer: Callable[[], object]) -> None:
        """Ask so often, and write everything down; an unanswered call is the last one."""
        for _ in range(n_calls):
            call = self._call()
            invoked = moment()
            answer = service.answer(call)
            if answer is None:
                self.history.append(Operation(call, None, invoked))
                return
            self.history.append(Operation(call, answer, invoked, moment()))
            on_answer()
            if isinstance(call, Read):
                revision = answer[3]
                assert isinstance(revision, int)
                self._revision = revision
            elif answer[0] == "ok":
                assert isinstance(answer[2], int)
                assert isinstance(answer[3], int)
                self._token, self._revision = answer[2], answer[3]

    def _call(self) -> Call:
        chance = self._chance
        kind = chance.random()
        if kind < 0.3:
            return Read()
        token = self._token if chance.random() < 0.4 else None
        revision = self._revision if chance.random() < 0.4 else None
        if kind < 0.45:
            return Release(token, revision)
        watts = chance.choice([150.0, 200.0, 250.0])
        return Put(self._name, watts, chance.random() < 0.3, token, revision)


def all_at_once(
    clients: Sequence[Client],
    service: Service,
    n_calls: int,
    halfway: Callable[[], object],
) -> None:
    """Let every client ask from a thread of its own; return when all are done.

    Args:
        clients: Who asks.
        service: Whom.
        n_calls: How often each.
        halfway: Done once half of the answers are there, while the others are asked for.
    """
    failed: list[BaseException] = []
    start = threading.Barrier(len(clients))
    answered = threading.Semaphore(0)

    def run(client: Client) -> None:
        start.wait()
        try:
            client.ask(service, n_calls, answered.release)
        except BaseException as error:  # noqa: BLE001 - it is raised again, by the test's thread
            failed.append(error)
        finally:
            # Whoever waits for half of all answers must not wait for those of the dead.
            answered.release(n_calls)

    threads = [threading.Thread(target=run, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for _ in range(len(clients) * n_calls // 2):
        answered.acquire()
    halfway()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
