"""A host with AMD GPUs as tests handle it, and the real AmdBackend in a process on it."""

import json
import os
import subprocess
import sys
import tempfile
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from fakes.amd import host, kernel
from fakes.nvml.remote import RemoteNvml

FOLDER = Path(__file__).parent
TESTS = FOLDER.parents[1]

AMDSMI_SYSFS = ("amdsmi", "sysfs")
PYRSMI_SYSFS = ("pyrsmi", "sysfs")
SYSFS = ("sysfs",)


class AmdHost:
    """Cards, their driver, and which ways to it this host has."""

    def __init__(self, folder: Path, *, sources: tuple[str, ...], cards: int = 2) -> None:
        own = Path(tempfile.mkdtemp(dir=folder))  # a test may have several hosts
        self._state = own / "amd.state"
        self.root = own / "sys"
        self.root.mkdir()
        self.sources = sources
        self.plug(*({} for _ in range(cards)))

    def plug(self, *changes: dict[str, Any]) -> None:
        """Have these cards and no others: each a ``host.CARD`` but for the changes."""
        cards = [
            {
                **host.CARD,
                "bdf": f"0000:{3 + 16 * index:02x}:00.0",
                "unique_id": f"e7f04c2d9a1b{index + 1:04x}",
                **change,
            }
            for index, change in enumerate(changes)
        ]
        for card in cards:
            card["since_ns"] = card["since_ns"] or host.time.monotonic_ns()
        self._state.write_text(json.dumps({"cards": cards, "faults": []}))
        if "sysfs" in self.sources:
            kernel.build(self.root, cards)

    def environment(self) -> dict[str, str]:
        """Return what a process must find in its environment when it starts."""
        ways = [str(FOLDER / f"with_{source}") for source in self.sources if source != "sysfs"]
        return {
            host.STATE: str(self._state),
            "PYTHONPATH": os.pathsep.join([*ways, str(TESTS)]),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def missing(self) -> list[str]:
        """Return the packages that are not installed here, whatever this machine has."""
        return [package for package in ("amdsmi", "pyrsmi") if package not in self.sources]

    def fault(self, call: str = "*", gpu: int | None = None, **what: Any) -> None:
        """Plan a fault: seconds, status, errno, na, raises; see ``host.fault``."""
        with host.changed_state(self._state) as state:
            state["faults"].append({"call": call, "gpu": gpu, **what})

    def heal(self) -> None:
        """Forget all faults."""
        with host.changed_state(self._state) as state:
            state["faults"] = []

    def change(self, index: int, **changes: Any) -> None:
        """Change a card from now on, behind everybody's back."""
        self._take_caps()
        with host.changed_state(self._state) as state:
            card = state["cards"][index]
            host.settle(card)
            card.update(changes)
            if "sysfs" in self.sources and not card["partition"]:
                kernel.write(self.root, index, card)

    def card(self, index: int) -> dict[str, Any]:
        """Return one card as it is now."""
        self._take_caps()
        card: dict[str, Any] = host.state_now(self._state)["cards"][index]
        host.settle(card)
        return card

    def asked(self, call: str) -> int:
        """Return how often a call was made so far."""
        calls = self._state.with_suffix(".calls").read_text().splitlines()
        return sum(line.split()[0] == call for line in calls)

    def advance(self, seconds: float) -> None:
        """Let all cards have drawn what they draw for ``seconds`` longer than they did."""
        self._take_caps()
        with host.changed_state(self._state) as state:
            for card in state["cards"]:
                card["energy_uj"] += round(host.power_mw(card) * seconds * 1e3)

    def _take_caps(self) -> None:
        """Let the driver take up what was written to its files."""
        if "sysfs" in self.sources:
            for index, card in enumerate(host.state_now(self._state)["cards"]):
                if not card["partition"]:
                    kernel.take_cap(self.root, index, self._state)

    def reload_driver(self) -> None:
        """Unload the driver and load it: energy at zero, default caps, other hwmon numbers."""
        with host.changed_state(self._state) as state:
            for card in state["cards"]:
                card.update(energy_uj=0, since_ns=host.time.monotonic_ns())
                card.update(cap_uw=card["default_uw"])
            if "sysfs" in self.sources:
                kernel.build(self.root, state["cards"])


class RemoteAmd(RemoteNvml):
    """Fulfils ``Backend`` by asking a process of its own; ``kill`` it after use."""

    name = "amd"
    serial = True

    def __init__(self, amd: AmdHost) -> None:
        self._connection, theirs = Pipe()
        self._process = subprocess.Popen(
            [sys.executable, FOLDER / "gpu_process.py", str(theirs.fileno()), str(amd.root)],
            env={**os.environ, **amd.environment()},
            pass_fds=[theirs.fileno()],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        theirs.close()
        self._number = 0
        self._replies = {}
        self.ask("uninstall", *amd.missing())

    def open(self) -> None:
        self.ask("open")

    def log(self) -> str:
        """End the process and return what it logged."""
        return self._end()[1]

    def printed(self) -> str:
        """End the process and return what it printed."""
        return self._end()[0]

    def kill(self) -> None:
        self._end()
        self._connection.close()

    def _end(self) -> tuple[str, str]:
        if self._process.poll() is None:
            self._process.kill()
            self._said = self._process.communicate()
        return self._said
