"""What is lived in ``lives.py``: governors that are killed, and what the next one finds.

A step is whatever a kill may come before or after: a statement of the journal, a write or a sync of
a file, a read or a write of a card. None of it is in the program itself: a life that is to die at a
step puts itself between the program and the system.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from fakes.card_on_disk import CardOnDisk, CardsOnDisk
from fakes.old_journal import write_version_1
from joulestat.actuator.offline import put_back
from joulestat.actuator.own_limits import AUDIT_NAME, JOURNAL_NAME, OwnLimits
from joulestat.domain.limit import LeaseRequest
from joulestat.loops.system_clock import SystemClock
from joulestat.power import journal_file
from joulestat.power.audit import Audit
from joulestat.power.governor import Governor
from joulestat.power.journal import Journal
from joulestat.power.policy import LeasePolicy

GPUS = ("GPU-a", "GPU-b")
POLICY = LeasePolicy(write_interval_seconds=0.0, min_ttl_seconds=0.001)
CLOCK = SystemClock()

_REAL = {name: getattr(os, name) for name in ("write", "pwrite", "fdatasync", "ftruncate")}


def tell(**line: object) -> None:
    """Say something in one write: a life may end anywhere, but not in the middle of a line."""
    _REAL["write"](1, (json.dumps(line) + "\n").encode())


class Steps:
    """Counts steps, and ends this life before the one that it is to end at."""

    def __init__(self, die_at: int | str | None) -> None:
        """Take the step's number, or the name of the first one."""
        self.count = 0
        self._die_at = die_at

    def __call__(self, name: str) -> None:
        if self._die_at in (self.count, name):
            tell(died_before=name)
            os.kill(os.getpid(), signal.SIGKILL)
        self.count += 1

    def put_between(self) -> None:
        """Be told of every step of the journal and the audit log from now on."""
        for name, real in _REAL.items():
            setattr(os, name, self._told_of(f"os.{name}", real))
        connect = journal_file.connect

        def connected(path: Path) -> Any:
            database = connect(path)
            database.set_trace_callback(
                lambda sql: self(f"the journal's {' '.join(sql.split()[:3])}")
            )
            return database

        journal_file.connect = connected

    def _told_of(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def told(*arguments: Any) -> Any:
            self(name)
            return real(*arguments)

        return told


class Service:
    """One governor on a folder, single-threaded, as it is after its recovery."""

    def __init__(self, folder: Path, steps: Steps) -> None:
        self.cards = cards(folder, steps)
        state = folder / "state"
        self.journal = Journal(state / JOURNAL_NAME, CLOCK)
        self.audit = Audit(state / AUDIT_NAME, CLOCK)
        self.governor = Governor(self.cards, self.journal, self.audit, CLOCK, POLICY)
        self.governor.recover()

    def grant(self, key: str, watts: float, ttl_seconds: float = 60.0) -> None:
        """Lease the first GPU, and tell of it before and after."""
        grant(self.governor, GPUS[0], key, watts, ttl_seconds)


def cards(folder: Path, steps: Steps | None = None) -> dict[str, CardOnDisk]:
    """Return the cards of a folder."""
    return {uuid: CardOnDisk(folder / uuid, steps or (lambda _: None)) for uuid in GPUS}


def grant(governor: Any, gpu: str, key: str, watts: float, ttl_seconds: float) -> None:
    """Lease a GPU, and tell of it before and after."""
    asked = {"gpu": gpu, "key": key, "watts": watts, "ttl": ttl_seconds}
    tell(asking=asked)
    request = LeaseRequest(watts, ttl_seconds, "optimizer", "why")
    granted = governor.grant(gpu, request, principal="alice", idempotency_key=key)
    numbers = {"token": granted.lease.fencing_token, "revision": granted.revision}
    tell(acked={**asked, **numbers, "outcome": granted.outcome.value})


def scenario(folder: Path, steps: Steps, **_: object) -> None:
    """Everything that can happen to a lease, once, always alike."""
    service = Service(folder, steps)
    service.grant("k1", 150.0)
    service.grant("k2", 200.0)
    service.grant("k3", 200.0)
    service.governor.release(GPUS[0], principal="alice")
    service.grant("k4", 180.0, 0.001)
    time.sleep(0.002)
    service.governor.expire()
    service.grant("k5", 160.0)
    service.governor.close()
    service.journal.close()
    service.audit.close()


def recovery(folder: Path, steps: Steps, *, repeat: Any = None, **_: object) -> None:
    """Start after whatever it was, tell what is found, and ask again what was asked last."""
    service = Service(folder, steps)
    look(service.journal, service.cards)
    tell(chain=service.audit.verify().breaks)
    if repeat is not None:
        grant(service.governor, repeat["gpu"], repeat["key"], repeat["watts"], repeat["ttl"])
        tell(stands_at=service.cards[repeat["gpu"]].read_watts())
        service.governor.release(repeat["gpu"], principal="alice")
        look(service.journal, service.cards)


def upgrade(folder: Path, steps: Steps, **_: object) -> None:
    """Start on the journal of an older version."""
    service = Service(folder, steps)
    look(service.journal, service.cards)


def old_version(folder: Path, _steps: Steps, *, watts: float, **_: object) -> None:
    """Leave what a killed service of the older version left."""
    write_version_1(folder / "state" / JOURNAL_NAME, CLOCK)
    cards(folder)[GPUS[0]].write_watts(watts)


def offline(folder: Path, steps: Steps, **_: object) -> None:
    """Put limits back with no service running."""
    found = cards(folder, steps)
    state = folder / "state"
    done = put_back(state, lambda: CardsOnDisk(found), CLOCK, patience_seconds=5.0)
    assert done is None or not done.left, done
    journal = Journal(state / JOURNAL_NAME, CLOCK)
    look(journal, found)


def look(journal: Journal, found: dict[str, CardOnDisk]) -> None:
    """Tell what is there once a start is over."""
    tell(
        limits={uuid: card.read_watts() for uuid, card in found.items()},
        records=len(journal.records()),
        read_only=journal.read_only_reason,
        tokens={uuid: each.fencing_token for uuid, each in journal.numbers().items()},
        age_seconds=time.monotonic() - BORN[0],
    )


def busy(folder: Path, _steps: Steps, *, seed: int, repeat: Any = None, **_: object) -> None:
    """Be the limits of a real service, threads and all, and never rest."""
    chance = random.Random(seed)
    with ExitStack() as closing:
        limits = OwnLimits(folder / "state", POLICY, CLOCK, closing)
        found = cards(folder)
        limits.adopt(found, {})
        look(limits.governor._journal, found)
        os.close(STARTED[0])
        limits.start()
        if repeat is not None:
            grant(limits.governor, repeat["gpu"], repeat["key"], repeat["watts"], repeat["ttl"])
        while True:
            act(limits.governor, chance)


def act(governor: Governor, chance: random.Random) -> None:
    """Do one of the things that are asked of a governor."""
    gpu, watts = chance.choice(GPUS), chance.choice([150.0, 200.0, 250.0, 350.0])
    match chance.choice("ggggerex"):
        case "g":
            grant(governor, gpu, f"{chance.random()}", watts, chance.choice([0.002, 60.0]))
        case "e":
            governor.expire()
        case "r":
            governor.release(gpu, principal="alice")
        case "x":
            governor.revert_all(principal="alice")


BORN = [0.0]
"""CLOCK_MONOTONIC of this life's beginning, s."""

STARTED = [-1]
"""What a life closes when its start is over: whoever is to kill it then waits for that."""

_LIVES = {each.__name__: each for each in (scenario, recovery, upgrade, old_version, offline, busy)}


@contextmanager
def _born(command: dict[str, Any]) -> Iterator[Steps]:
    BORN[0] = time.monotonic()
    steps = Steps(command.get("die_at"))
    if "die_at" in command:
        steps.put_between()
    yield steps
    tell(steps=steps.count)


def main() -> None:
    """Fork a life for every line, and see it end."""
    for line in sys.stdin:
        command = json.loads(line)
        started, STARTED[0] = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(started)
            with _born(command) as steps:
                _LIVES[command.pop("what")](Path(command.pop("folder")), steps, **command)
            os._exit(0)
        os.close(STARTED[0])
        if command.get("once_started"):
            os.read(started, 1)
        if (seconds := command.get("kill_after_seconds")) is not None:
            time.sleep(seconds)
            os.kill(pid, signal.SIGKILL)
        os.close(started)
        _, status = os.waitpid(pid, 0)
        tell(ended=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
