"""A host's AMD GPUs: one file of state that all processes share, and what the hardware does.

The energy runs on with CLOCK_MONOTONIC, whoever looks; nothing but a written cap, or the test,
changes the file. The three ways to see it are the packages ``amdsmi`` and ``pyrsmi`` beside this
file, and the tree of ``kernel.py``.
"""

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STATE = "FAKE_AMD_STATE"
"""Environment variable: the state file."""

NOT_SUPPORTED, NO_PERM, NOT_FOUND, NOT_INIT, DRIVER_NOT_LOADED = 2, 10, 31, 32, 34
"""Statuses of amdsmi."""

ENODEV, EACCES = errno.ENODEV, errno.EACCES
"""What the driver's files fail with."""

CARD: dict[str, Any] = {
    # What the card is.
    "bdf": "0000:03:00.0",
    "unique_id": "e7f04c2d9a1b0001",
    "device_id": 0x740F,
    "name": "AMD Instinct Stand-in",
    "partition": None,  # number, or None where the card cannot be partitioned
    "tells_current": True,  # else it tells the average power alone
    "bits": 64,
    "vram_mb": 65_536,
    # Its cap, as amdsmi and the kernel tell it.
    "cap_uw": 300_000_000,
    "default_uw": 300_000_000,
    "min_uw": 100_000_000,
    "max_uw": 300_000_000,
    "cap_sticks": True,
    # What it does.
    "demand_mw": 50_000,
    "energy_uj": 5_000_000_000,
    "since_ns": 0,
    "frozen_ticks": None,
    "shift_ticks": 0,  # a dip or a jump, as long as it stands
}


@contextmanager
def changed_state(path: Path | None = None) -> Iterator[dict[str, Any]]:
    """Hold the state alone, and write it back."""
    file = path or Path(os.environ[STATE])
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = json.loads(file.read_text())
        yield state
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(state))
        draft.replace(file)  # in one step: who is killed here leaves the old one


def state_now(path: Path | None = None) -> dict[str, Any]:
    """Return the state as it is."""
    state: dict[str, Any] = json.loads((path or Path(os.environ[STATE])).read_text())
    return state


def power_mw(card: dict[str, Any]) -> int:
    """What the card draws: its demand, as far as the cap lets it."""
    return int(min(card["demand_mw"], card["cap_uw"] // 1_000))


def energy_uj(card: dict[str, Any]) -> int:
    """What it has drawn since the driver was loaded."""
    return int(
        card["energy_uj"] + power_mw(card) * (time.monotonic_ns() - card["since_ns"]) // 1_000_000
    )


def settle(card: dict[str, Any]) -> None:
    """Count the energy up to now, before what it draws changes."""
    card["energy_uj"], card["since_ns"] = energy_uj(card), time.monotonic_ns()


def accumulator(card: dict[str, Any]) -> int:
    """The energy register: units of 2^-16 J."""
    if card["frozen_ticks"] is not None:
        return int(card["frozen_ticks"])
    ticks = energy_uj(card) * 65_536 // 1_000_000 + card["shift_ticks"]
    return int(ticks % (1 << card["bits"]))


def set_cap(index: int, cap_uw: int, path: Path | None = None) -> bool:
    """Set a card's cap as amdgpu does, in whole watts; False where it is out of range."""
    with changed_state(path) as state:
        card = state["cards"][index]
        if not card["min_uw"] <= cap_uw <= card["max_uw"]:
            return False
        settle(card)
        if card["cap_sticks"]:
            card["cap_uw"] = cap_uw // 1_000_000 * 1_000_000
    return True


def fault(call: str, index: int | None) -> dict[str, Any]:
    """Return what is planned for a call on a card, after the wait that is planned for it.

    Keys: ``seconds`` to wait, ``status`` to answer, ``errno`` to fail with, ``na`` fields.
    """
    with Path(os.environ[STATE]).with_suffix(".calls").open("a") as calls:
        calls.write(f"{call} {index}\n")
    merged: dict[str, Any] = {}
    for planned in state_now()["faults"]:
        if planned["call"] in {"*", call} and planned["gpu"] in {None, index}:
            merged |= planned
    time.sleep(merged.get("seconds", 0.0))
    return merged
