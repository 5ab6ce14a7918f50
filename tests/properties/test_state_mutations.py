"""State that somebody or something has changed: control refuses to guess, and metrics go on."""

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fakes.changed_files import KINDS
from fakes.clock import FakeClock
from fakes.limiter import FakeLimiter
from fakes.quick_disk import quick_folder
from joulestat.actuator.own_limits import OwnLimits
from joulestat.domain.errors import ControlReadOnly
from joulestat.domain.limit import LeaseRequest
from joulestat.power import chain
from joulestat.power.governor import Governor
from joulestat.power.policy import LeasePolicy

MUTATIONS = int(os.environ.get("MUTATIONS", "60"))
BASELINE_WATTS, LEASED_WATTS = 277.125, 150.0
REQUEST = LeaseRequest(LEASED_WATTS, 600.0, "optimizer", "why")
POLICY = LeasePolicy(write_interval_seconds=0.0)

JOURNAL, AUDIT = "leases.sqlite", "audit.jsonl"
FILES = (JOURNAL, f"{JOURNAL}-wal", f"{JOURNAL}.lock", AUDIT, f"{AUDIT}.head")


class Node:
    """The limits of a service on a state folder, with a card that outlives it."""

    def __init__(self, state: Path, clock: FakeClock, card: FakeLimiter) -> None:
        self.state, self.card = state, card
        self._closing = ExitStack()
        self.limits = OwnLimits(state, POLICY, clock, self._closing)
        self.governor: Governor = self.limits.governor
        self.limits.adopt({"GPU-a": card}, {})

    def close(self) -> None:
        self._closing.close()


@pytest.fixture(scope="module")
def left() -> Iterator[tuple[Path, FakeClock]]:
    """What a service left that was killed while it held a limit."""
    with quick_folder() as home:
        clock, card = FakeClock(), FakeLimiter(BASELINE_WATTS)
        node = Node(home / "state", clock, card)
        for _ in range(3):
            node.governor.grant("GPU-a", REQUEST, principal="p", idempotency_key="k")
            node.governor.release("GPU-a", principal="p")
            node.governor.grant("GPU-a", REQUEST, principal="p")
        shutil.copytree(home / "state", home / "left")
        node.close()
        yield home / "left", clock


def asides(state: Path) -> list[str]:
    return [path.name for path in state.iterdir() if ".aside-" in path.name]


@pytest.mark.promise("state")
def test_changed_state_is_the_whole_truth_or_nothing_is_done_upon_it(
    left: tuple[Path, FakeClock], record_property: Callable[[str, object], None]
) -> None:
    whole, clock = left
    chance, became = random.Random(8), Counter[str]()
    for n in range(MUTATIONS):
        mutate, name = KINDS[n % len(KINDS)], FILES[n // len(KINDS) % len(FILES)]
        with quick_folder() as home:
            state = Path(shutil.copytree(whole, home / "state"))
            mutate(state / name, chance)
            became[judged(state, clock, f"{mutate.__name__} {name}")] += 1
    assert became["read-only"]
    assert became["whole"]
    record_property(
        "measured",
        f"{MUTATIONS} mutations: {became['read-only']} read-only, {became['whole']} found whole, "
        f"{became['audit anew']} with a new audit log beside the old one; 0 guessed",
    )


def judged(state: Path, clock: FakeClock, what: str) -> str:
    """Start on changed state, check what is done, and return what became of it."""
    card = FakeLimiter(LEASED_WATTS)
    node = Node(state, clock, card)
    try:
        if node.governor.read_only_reason is None:
            # Whole: the very lease was found, and its very baseline is back.
            assert BASELINE_WATTS == card.limit_watts, what
            assert 0 < node.governor.controls()["GPU-a"].revision, what
            return "whole" if chain.verify(state / AUDIT).ok and not asides(state) else "audit anew"
        assert [] == card.written or [BASELINE_WATTS] == card.written, what
        with pytest.raises(ControlReadOnly):
            node.governor.grant("GPU-a", REQUEST, principal="p")
        assert card.limit_watts in (LEASED_WATTS, BASELINE_WATTS), what
        return "read-only"
    finally:
        node.close()
