"""``joulestat demo``: it finds a limit, and it leaves nothing behind, however it ends."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from joulestat.devices.world import SimulatedWorld
from joulestat.loops.system_clock import SystemClock

pytestmark = pytest.mark.prometheus

DEFAULT_LIMIT_WATTS = 300.0
"""Of the V100 that the demo simulates."""


class Demo:
    """A running ``joulestat demo`` that keeps all its files in one folder."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "joulestat", "demo", "--gpus=2", "--seconds=40", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(folder)},
        )

    def children(self) -> list[str]:
        """Command lines of the processes that work on the demo's files."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = entry.read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if str(self.folder) in command:
                found.append(command)
        return found

    def limits_watts(self) -> set[float]:
        """The limits that the simulated hardware has; empty before there is any."""
        worlds = list(self.folder.glob("joulestat-demo-*/gpus"))
        if not worlds:
            return set()
        world = SimulatedWorld.join(worlds[0], clock=SystemClock())
        try:
            return {world.limit_watts(uuid) for uuid in world.uuids}
        finally:
            world.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A short path of its own: a Unix socket's must fit into 107 bytes."""
    folder = tmp_path / "demo"
    folder.mkdir()
    return folder


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Demo]]:
    started: list[Demo] = []

    def start(*arguments: str) -> Demo:
        started.append(Demo(folder, *arguments))
        return started[-1]

    yield start
    for demo in started:
        demo.process.kill()
        demo.process.communicate()


def wait_until(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.05)


def test_the_demo_finds_a_limit_that_saves_energy_and_puts_everything_back(
    start: Callable[..., Demo], folder: Path
) -> None:
    demo = start("--output=json")
    out, err = demo.process.communicate(timeout=200)

    assert 0 == demo.process.returncode, err
    result = json.loads(out)
    decision = result["decision"]
    assert "hold" == decision["decision"]
    assert 100 <= decision["power_limit_watts"] < DEFAULT_LIMIT_WATTS
    assert 300 == decision["reference_power_limit_watts"]
    # By hand from the card's model: at 1.05 times the step time about 15 % can be had.
    assert 0.05 < decision["expected"]["energy_saving_ratio"] < 0.25
    assert decision["expected"]["slowdown_ratio"] < 1.05
    assert len(decision["points"]) >= 3
    assert all(point["cost_joules_per_step"] > 0 for point in decision["points"])
    assert result["joules_in_training_code"] > 0
    assert {DEFAULT_LIMIT_WATTS} == set(result["baseline_watts"].values())
    assert result["limits_restored"] is True
    assert [] == demo.children()
    assert [] == list(folder.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("children", [0, 1, 3])
def test_the_demo_leaves_nothing_behind_when_it_is_stopped_early(
    start: Callable[..., Demo], folder: Path, children: int, number: signal.Signals
) -> None:
    demo = start()
    wait_until(lambda: any(folder.iterdir()) and len(demo.children()) >= children, seconds=30)

    demo.process.send_signal(number)
    out, err = demo.process.communicate(timeout=30)

    assert 130 == demo.process.returncode, out + err
    assert [] == demo.children()
    assert [] == list(folder.iterdir())


@pytest.mark.skipif(not shutil.which("setpriv"), reason="no setpriv (util-linux) on PATH")
def test_a_demo_that_is_killed_outright_leaves_no_process_and_no_limit(
    start: Callable[..., Demo],
) -> None:
    demo = start()
    wait_until(lambda: demo.limits_watts() not in (set(), {DEFAULT_LIMIT_WATTS}), seconds=60)

    demo.process.kill()
    demo.process.communicate()

    wait_until(lambda: demo.children() == [], seconds=20)
    assert {DEFAULT_LIMIT_WATTS} == demo.limits_watts()


def test_a_demo_without_prometheus_says_where_to_get_one(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "joulestat", "demo"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PATH": str(tmp_path)},
    )

    assert 1 == told.returncode
    assert "apt-get install" in told.stderr
    assert "Traceback" not in told.stderr
