"""``joulestat run`` around ``torchrun``: a stand-in for the launcher, then a claim per rank."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from joulestat.demo.trainer import WORKLOAD
from servers.exporter import Exporter

pytestmark = pytest.mark.frameworks("torch")

TRAIN = """
import time
import joulestat
with joulestat.init() as run:
    for _ in range(30):
        time.sleep(0.02)
        run.step(n_samples=4)
    run.flush()
    print(run.name, run.rank, sorted(run.power_limit_watts()), flush=True)
"""


def test_each_rank_takes_its_gpu_over_from_the_launchers_stand_in(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    with Exporter(tmp_path / "exporter") as exporter:
        world = exporter.world()
        for uuid in world.uuids:
            world.occupy(uuid, WORKLOAD)
        done = subprocess.run(
            [
                *[sys.executable, "-m", "joulestat", "run", "--run", "r", "--gpus", "0,1", "--"],
                *[sys.executable, "-m", *launch],
            ],
            env={"JOULESTAT_URL": exporter.url, "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert 0 == done.returncode, done.stderr
        # Each rank has the limit of its own GPU from the answer, so that it holds that one alone.
        said = sorted(line for line in done.stdout.splitlines() if line.startswith("r "))
        assert [f"r {rank} ['{world.uuids[rank]}']" for rank in (0, 1)] == said
        world.close()

        line = done.stderr.splitlines()[-1]
        told = re.fullmatch(r"joulestat: run r took ([0-9.]+) (k?)J \(.*\) on 2 GPUs in .*", line)
        assert told, done.stderr
        joules = float(told[1]) * (1_000 if told[2] else 1)
        assert joules == pytest.approx(exporter.value("run_energy_joules_total", run="r"), rel=0.05)
        assert 240 == exporter.value("run_samples_total", run="r")
        stale = exporter.value("gpu_unattributed_energy_joules_total", reason="stale")
        assert 0 == stale
