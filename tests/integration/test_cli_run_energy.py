"""``joulestat run`` against a real exporter: what it says a command took, and what it took."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from fakes.patience import eventually
from joulestat.demo.trainer import WORKLOAD
from joulestat.loops.system_clock import SystemClock
from servers.exporter import Exporter

REPORTS_ITSELF = """
import sys, time
import joulestat
time.sleep(0.7)
with joulestat.init({name}gpus=[0], url=sys.argv[1]) as run:
    for _ in range(12):
        time.sleep(0.05)
        run.step()
print(run.name)
"""


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    """An exporter with two GPUs, both of them at work."""
    with Exporter(tmp_path_factory.mktemp("exporter")) as exporter:
        world = exporter.world()
        for uuid in world.uuids:
            world.occupy(uuid, WORKLOAD)
        yield exporter
        world.close()


class Truth:
    """What the first GPU took from here on, by the simulator's own account."""

    def __init__(self, exporter: Exporter) -> None:
        self._world = exporter.world()
        self._uuid = self._world.uuids[0]
        self._began_ns = SystemClock().monotonic_ns()

    def joules(self) -> float:
        world, now_ns = self._world, SystemClock().monotonic_ns()
        taken_uj = world.energy_uj(self._uuid, now_ns) - world.energy_uj(self._uuid, self._began_ns)
        return taken_uj / 1e6

    def joules_in(self, seconds: float) -> float:
        return self._world.draw_watts(self._uuid, self._began_ns) * seconds


def run(exporter: Exporter, name: str, *command: str) -> tuple[str, str]:
    """Run a command under ``joulestat run``; return its output and the line at the end."""
    done = subprocess.run(
        [sys.executable, "-m", "joulestat", "run", "--run", name, "--gpus", "0", "--", *command],
        env={"JOULESTAT_URL": exporter.url, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout, done.stderr.strip()


def said_joules(line: str) -> float:
    found = re.fullmatch(r"joulestat: run \S+ took ([0-9.]+) J \(.*\) on 1 GPU in .*", line)
    assert found, line
    return float(found[1])


def booked_joules(exporter: Exporter, name: str) -> float:
    return exporter.value("run_energy_joules_total", run=name)


def test_the_energy_of_a_command_that_knows_nothing_of_it(exporter: Exporter) -> None:
    truth = Truth(exporter)
    _, line = run(exporter, "sleeps", "sleep", "1.5")
    upper_joules = truth.joules()

    assert said_joules(line) == pytest.approx(booked_joules(exporter, "sleeps"), abs=0.1)
    assert 0.98 * truth.joules_in(1.5) < said_joules(line) < upper_joules
    assert {"other"} == {
        dict(labels)["phase"]
        for metric, labels in exporter.samples()
        if metric == "joulestat_run_energy_joules_total" and ("run", "sleeps") in labels
    }
    assert 0 == exporter.value("run_steps_total", run="sleeps")


def test_a_second_command_of_a_run_is_told_apart_from_the_first(exporter: Exporter) -> None:
    _, first = run(exporter, "twice", "sleep", "0.4")
    _, second = run(exporter, "twice", "sleep", "0.4")

    total = said_joules(first) + said_joules(second)
    assert total == pytest.approx(booked_joules(exporter, "twice"), abs=0.2)


def test_a_command_shorter_than_a_tick_has_its_energy_too(exporter: Exporter) -> None:
    _, line = run(exporter, "short", "true")

    assert said_joules(line) > 0


@pytest.mark.parametrize("named", [False, True], ids=["same run", "a name of its own"])
def test_a_command_that_reports_itself_takes_over_and_nothing_counts_twice(
    named: bool, exporter: Exporter
) -> None:
    truth = Truth(exporter)
    script = REPORTS_ITSELF.format(name="run='own', " if named else "")
    wrapped = f"wrapped-{named}"
    stdout, line = run(exporter, wrapped, sys.executable, "-c", script, exporter.url)
    own = stdout.strip()
    assert ("own" if named else wrapped) == own
    end = "joulestat_run_end_timestamp_seconds", frozenset({("run", own)})
    assert eventually(lambda: end in exporter.samples())

    joules = sum(booked_joules(exporter, name) for name in {own, wrapped})
    assert said_joules(line) == pytest.approx(booked_joules(exporter, wrapped), abs=0.1)
    # 0.7 s of the stand-in and 0.6 s of its own, each at the full power of the one GPU.
    assert 0.98 * truth.joules_in(1.3) < joules < truth.joules()
    assert 12 == exporter.value("run_steps_total", run=own)
    assert 0 == exporter.value("gpu_unattributed_energy_joules_total", gpu="0", reason="stale")


def test_two_gpus_are_two_gpus(exporter: Exporter) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "joulestat", "run", "--gpus", "all", "--", "sleep", "0.3"],
        env={"JOULESTAT_URL": exporter.url, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert " on 2 GPUs in " in done.stderr
