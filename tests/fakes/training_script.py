"""Training scripts that run in a process of their own."""

import subprocess
import sys
import time
from dataclasses import dataclass

from fakes.scripted_server import Json

BEGIN = """
import os, signal, sys, threading, time
import joulestat
run = joulestat.init(run="r", gpus=[0])
run.flush()
run.set_phase("train")
for _ in range(7):
    run.step(n_samples=2)
"""

END = """
print("ended", time.monotonic(), flush=True)
"""


@dataclass
class Ended:
    """How a script ended.

    Attributes:
        returncode: As of ``subprocess``.
        seconds_after_end: From the script's last line to the process's end.
        stderr: What it complained of.
    """

    returncode: int
    seconds_after_end: float
    stderr: str


def start(script: str, url: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script],
        env={"JOULESTAT_URL": url, "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: "subprocess.Popen[str]") -> Ended:
    stdout, stderr = process.communicate(timeout=30)
    now = time.monotonic()  # CLOCK_MONOTONIC is one for all processes of a host
    last = [float(line.split()[1]) for line in stdout.splitlines() if line.startswith("ended")]
    return Ended(process.returncode, now - last[-1] if last else 0.0, stderr)


def total_steps(push: Json) -> int:
    return sum(int(counts["steps"]) for counts in push["totals"].values())
