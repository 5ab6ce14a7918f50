"""A rank that cannot name its GPU, an exporter that asks the driver whose process is on which."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from fakes.nvml.standin import StandIn
from fakes.patience import eventually
from servers.exporter import Exporter

TRAIN = """
import os, subprocess, sys, time
import joulestat
run = joulestat.init(run="r", gpus={gpus!r}, url=sys.argv[1])
worker = subprocess.Popen(["sleep", "60"])
print(worker.pid, flush=True)
sys.stdin.read()
worker.kill()
"""


@pytest.fixture
def exporter(nvml_standin: StandIn, tmp_path: Path) -> Iterator[Exporter]:
    """``joulestat serve`` over TCP and over a Unix socket, with two NVIDIA GPUs."""
    socket = f"unix:{tmp_path}/push.sock"
    exporter = Exporter(tmp_path / "exporter", "--web.listen-address", socket, backend="auto")
    exporter.environment = nvml_standin.environment()
    with exporter:
        yield exporter


class Trainer:
    """A process that pushes, and a process that it started."""

    def __init__(self, url: str, gpus: object = "auto") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", TRAIN.format(gpus=gpus), url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin"},
            text=True,
        )
        assert self.process.stdout is not None
        self.worker_pid = int(self.process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate("")
        assert 0 == self.process.returncode


def claims(exporter: Exporter) -> list[str]:
    """Return the indices of the GPUs that run r holds."""
    return sorted(
        dict(labels)["gpu"]
        for name, labels in exporter.samples()
        if name == "joulestat_run_gpu" and ("run", "r") in labels
    )


def is_known(exporter: Exporter) -> bool:
    return any(name == "joulestat_run_info" for name, _ in exporter.samples())


def test_over_a_unix_socket_the_driver_tells_whose_gpu_it_is(
    exporter: Exporter, nvml_standin: StandIn, tmp_path: Path
) -> None:
    with Trainer(f"unix:{tmp_path}/push.sock") as trainer:
        assert eventually(lambda: is_known(exporter))
        assert [] == claims(exporter)

        nvml_standin.change(1, pid=trainer.process.pid)
        assert eventually(lambda: claims(exporter) == ["1"])
        # A launcher's child may be the one that computes.
        nvml_standin.change(1, pid=0)
        nvml_standin.change(0, pid=trainer.worker_pid)
        assert eventually(lambda: claims(exporter) == ["0"])


def test_a_command_that_knows_nothing_of_it_is_found_on_its_gpu(
    exporter: Exporter, nvml_standin: StandIn, tmp_path: Path
) -> None:
    url = f"unix:{tmp_path}/push.sock"
    command = ["joulestat", "run", "--run", "r", "--url", url, "--", "sh", "-c"]
    with subprocess.Popen(
        [sys.executable, "-m", *command, "sh -c 'echo $$; cat'; true"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        # Of the command's own child: launchers are commands, too.
        nvml_standin.change(1, pid=int(process.stdout.readline()))
        assert eventually(lambda: claims(exporter) == ["1"])
        process.communicate("")
    assert 0 == process.returncode


def test_a_claim_that_names_its_gpu_is_never_overridden(
    exporter: Exporter, nvml_standin: StandIn, tmp_path: Path
) -> None:
    with Trainer(f"unix:{tmp_path}/push.sock", gpus=[0]) as trainer:
        nvml_standin.change(1, pid=trainer.process.pid)
        assert eventually(lambda: claims(exporter) == ["0"])
        pushed = exporter.value("run_pushes_total", result="accepted")
        assert eventually(
            lambda: exporter.value("run_pushes_total", result="accepted") > pushed + 1
        )
        assert ["0"] == claims(exporter)


def test_over_tcp_nobody_is_given_a_gpu_by_guess(exporter: Exporter, nvml_standin: StandIn) -> None:
    with Trainer(exporter.url) as trainer:
        nvml_standin.change(1, pid=trainer.process.pid)
        assert eventually(lambda: is_known(exporter))
        pushed = exporter.value("run_pushes_total", result="accepted")
        assert eventually(
            lambda: exporter.value("run_pushes_total", result="accepted") > pushed + 1
        )
        assert [] == claims(exporter)
        calls = {function for function, _, _ in nvml_standin.calls()}
        assert "nvmlDeviceGetComputeRunningProcesses_v3" not in calls


def test_all_gpus_have_a_name_and_what_fits_two_gpus_is_none(exporter: Exporter) -> None:
    uuids = sorted(
        dict(labels)["gpu_uuid"]
        for name, labels in exporter.samples()
        if name == "joulestat_gpu_up"
    )
    # The stand-in's GPUs differ in their last character, so all of it but that fits both.
    for name, held in (("all", ["0", "1"]), (uuids[1], ["1"])):
        push = {"run": "r", "rank": 0, "incarnation": name, "at_ns": 1, "phase": "other"}
        assert 200 == exporter.push(**push, seq=1, gpus=[name])[0]
        assert eventually(lambda held=held: claims(exporter) == held)
    assert 422 == exporter.push(**push, seq=2, gpus=[uuids[1][:-1]])[0]
