"""SIGKILL at every step and at random moments: a limit is leased, or back where it was."""

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fakes.card_on_disk import CardOnDisk
from fakes.host import BASELINE_WATTS as OLD_BASELINE_WATTS
from fakes.quick_disk import quick_folder
from joulestat.power import chain
from servers.lives import Life, Lives

KILLS = int(os.environ.get("KILLS", "60"))
EVERY_STEP = "KILLS" in os.environ
LONGEST_LIFE_SECONDS = 0.03
LIVES_ON_ONE_FOLDER = 100
BASELINES_WATTS = {"GPU-a": 283.5, "GPU-b": 301.125}

Measured = Callable[[str, object], None]


@pytest.fixture(scope="module")
def lives() -> Iterator[Lives]:
    with Lives() as lives:
        yield lives


@contextmanager
def host() -> Iterator[Path]:
    """Give a fresh folder with the cards at their baselines."""
    with quick_folder() as folder:
        for uuid, watts in BASELINES_WATTS.items():
            put(folder, uuid, watts)
        yield folder


def put(folder: Path, uuid: str, watts: float) -> None:
    card = CardOnDisk(folder / uuid)
    card.write_watts(watts)
    card.close()


def assert_all_is_back(life: Life) -> None:
    """Check what the first start after a kill found, as soon as it was over."""
    found = next(line for line in life.told if "limits" in line)
    assert (BASELINES_WATTS, 0, None) == (found["limits"], found["records"], found["read_only"])


def last_asked(life: Life) -> dict[str, Any] | None:
    """Return the last request of a life, answered or not."""
    asked = life.all("asking")
    return asked[-1] if asked else None


def n_steps(lives: Lives, what: str, folder: Path) -> int:
    """Return how many steps there are, by living it to the end."""
    steps = lives.live(what, folder, die_at=None).one("steps")
    assert isinstance(steps, int)
    return steps


def some(steps: int, chance: random.Random, count: int) -> list[int]:
    """Return the steps to die at: all of them in the long version."""
    every = list(range(steps))
    return every if EVERY_STEP else sorted(chance.sample(every, min(count, steps)))


@pytest.mark.promise("lease-kill", "lease-baseline", "retried-write", "audit")
def test_killed_at_any_step_of_a_leases_life_the_next_start_puts_the_limit_back(
    lives: Lives, record_property: Measured
) -> None:
    with host() as whole:
        steps = n_steps(lives, "scenario", whole)
    died: Counter[str] = Counter()
    for step in some(steps, random.Random(1), 16):
        with host() as folder:
            life = lives.live("scenario", folder, die_at=step)
            assert life.killed
            died[life.one("died_before")] += 1
            after = lives.live("recovery", folder, repeat=last_asked(life))
            assert_all_is_back(after)
            assert [[]] == after.all("chain")
            assert_answered_or_done_anew(life, after)
    assert len(died) > 4, "the steps are not what they should be"
    record_property("measured", f"0 of {died.total()} kills at the {steps} steps left an orphan")


def assert_answered_or_done_anew(life: Life, after: Life) -> None:
    """Check what the repetition of the last request was answered."""
    asked = last_asked(life)
    if asked is None:
        return
    again = after.one("acked")
    answered = {each["key"]: each for each in life.all("acked")}
    assert again == answered.get(asked["key"], again)
    first, last = (line for line in after.told if "limits" in line)
    is_old = again["token"] <= first["tokens"].get(asked["gpu"], 0)
    # Of an old answer nothing is done again, and the lease is over.
    assert (BASELINES_WATTS if is_old else {asked["gpu"]: asked["watts"]})[
        asked["gpu"]
    ] == after.one("stands_at")
    assert is_old or asked["key"] not in answered
    assert BASELINES_WATTS == last["limits"]


@pytest.mark.promise("lease-kill")
@pytest.mark.parametrize("what", ["recovery", "offline"])
def test_killed_at_any_step_of_the_recovery_itself_the_next_one_ends_it(
    lives: Lives, what: str, record_property: Measured
) -> None:
    with host() as folder:
        hold(lives, folder)
        steps = n_steps(lives, what, folder)
    chosen = some(steps, random.Random(2), 6)
    for step in chosen:
        with host() as folder:
            hold(lives, folder)
            assert lives.live(what, folder, die_at=step).killed
            assert_all_is_back(lives.live(what, folder))
            assert chain.verify(folder / "state" / "audit.jsonl").ok
    record_property("measured", f"0 of {len(chosen)} kills within {what} left an orphan")


def hold(lives: Lives, folder: Path) -> None:
    """Let a life be killed when a card has just taken its limit."""
    assert lives.live("scenario", folder, die_at="the card was written").killed
    card = CardOnDisk(folder / "GPU-a")
    assert 150.0 == card.read_watts()
    card.close()


@pytest.mark.promise("lease-kill")
def test_killed_at_any_step_of_an_upgrade_no_lease_of_the_older_version_is_lost(
    lives: Lives, record_property: Measured
) -> None:
    with host() as folder:
        leave_old(lives, folder)
        steps = n_steps(lives, "recovery", folder)
    chosen = some(steps, random.Random(3), 6)
    for step in chosen:
        with host() as folder:
            leave_old(lives, folder)
            assert lives.live("recovery", folder, die_at=step).killed
            after = lives.live("recovery", folder)
            found = next(line for line in after.told if "limits" in line)
            assert (OLD_BASELINE_WATTS, 0, None) == (
                found["limits"]["GPU-a"],
                found["records"],
                found["read_only"],
            )
    record_property("measured", f"0 of {len(chosen)} kills within an upgrade lost a lease")


def leave_old(lives: Lives, folder: Path) -> None:
    """Leave what a killed service of the older version left."""
    assert not lives.live("old_version", folder, watts=250.0).killed


class Memory:
    """What lives before the present one were answered, and so must not be forgotten."""

    def __init__(self) -> None:
        self.tokens = dict.fromkeys(BASELINES_WATTS, 0)
        self.revisions = dict.fromkeys(BASELINES_WATTS, 0)
        self.last: dict[str, Any] | None = None
        self.answered: dict[str, Any] | None = None
        self.kills = Counter[str]()
        self.slowest_seconds = 0.0

    def take(self, life: Life) -> None:
        """Check a life against those before it, and remember its answers."""
        found = next((line for line in life.told if "limits" in line), None)
        self.kills["in recovery" if found is None else "at work"] += 1
        if found is None:
            return
        assert_all_is_back(life)
        self.slowest_seconds = max(self.slowest_seconds, found["age_seconds"])
        assert all(found["tokens"].get(gpu, 0) >= token for gpu, token in self.tokens.items())
        before = dict(found["tokens"])
        for granted in life.all("acked"):
            self._note(granted, before)
        asked = last_asked(life)
        answered = {each["key"] for each in life.all("acked")}
        if asked is not None and asked["key"] not in answered:
            self.kills["while somebody asked"] += 1
        self.last = asked

    def _note(self, granted: dict[str, Any], before: dict[str, int]) -> None:
        gpu, repeated = granted["gpu"], self.last
        known = self.answered
        self.answered = granted
        if repeated is not None and granted["key"] == repeated["key"]:
            if known is not None and granted["key"] == known["key"]:
                assert known == granted, "an answer was forgotten"
            if granted["token"] <= before.get(gpu, 0):
                return
        assert granted["token"] > before.get(gpu, 0), "a token was given out twice"
        assert granted["revision"] > self.revisions[gpu]
        self.tokens[gpu], self.revisions[gpu] = granted["token"], granted["revision"]


@pytest.mark.promise("lease-kill", "lease-baseline", "retried-write", "audit")
def test_killed_at_random_moments_nothing_is_left_behind_and_no_answer_forgotten(
    lives: Lives, record_property: Measured
) -> None:
    chance, total = random.Random(4), Counter[str]()
    slowest_seconds, n_stranded = 0.0, 0
    for first in range(0, KILLS, LIVES_ON_ONE_FOLDER):
        memory = Memory()
        with host() as folder:
            for n in range(first, min(KILLS, first + LIVES_ON_ONE_FOLDER)):
                life = lives.live(
                    "busy",
                    folder,
                    seed=n,
                    repeat=memory.last,
                    once_started=chance.random() < 0.6,
                    kill_after_seconds=chance.uniform(0.0, LONGEST_LIFE_SECONDS),
                )
                assert life.killed
                memory.take(life)
                n_stranded += stands_elsewhere(folder)
            assert_all_is_back(
                lives.live("offline" if chance.random() < 0.5 else "recovery", folder)
            )
            assert chain.verify(folder / "state" / "audit.jsonl").ok
        total += memory.kills
        slowest_seconds = max(slowest_seconds, memory.slowest_seconds)
    assert total["in recovery"], "no kill came while limits were put back"
    assert n_stranded, "no kill came while a limit was held: the test is not worth its name"
    record_property(
        "measured",
        f"0 of {KILLS} random kills left an orphan ({n_stranded} came while a limit was held, "
        f"{total['in recovery']} in recovery itself, {total['while somebody asked']} before an "
        f"answer); slowest return {slowest_seconds:.2f} s after the start",
    )


def stands_elsewhere(folder: Path) -> bool:
    """Tell whether a limit is not the one from before."""
    for uuid, watts in BASELINES_WATTS.items():
        card = CardOnDisk(folder / uuid)
        stands_at = card.read_watts()
        card.close()
        if stands_at != watts:
            return True
    return False
