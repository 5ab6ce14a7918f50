"""PyTorch's DataLoader with workers of every kind, and a run that they inherit or are sent."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fakes.scripted_server import ScriptedExporter, ScriptedServer

pytestmark = pytest.mark.frameworks("torch")

TRAIN = """
import sys
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info
import joulestat

class Samples(Dataset):
    # A data set that holds the run, as one does whose owner logs from it.
    def __init__(self, run):
        self.run = run
    def __len__(self):
        return 24
    def __getitem__(self, index):
        assert get_worker_info() is not None
        assert not self.run.active
        self.run.step(n_samples=1000)
        with self.run.phase("eval"):
            self.run.add(1)
        self.run.flush()
        return torch.tensor(float(index))

if __name__ == "__main__":
    torch.set_num_threads(1)
    run = joulestat.init(run="r", gpus=[0])
    with run.phase("train"):
        for method in sys.argv[1:]:
            loader = DataLoader(
                Samples(run), batch_size=4, num_workers=2 if method == "fork" else 1,
                multiprocessing_context=method,
                persistent_workers=True,
            )
            for _ in range(2):
                for batch in loader:
                    run.step(n_samples=len(batch))
            del loader
    run.finish()
    print("trained", flush=True)
"""


def train(folder: Path, url: str, *methods: str) -> "subprocess.CompletedProcess[str]":
    script = folder / "train.py"
    script.write_text(TRAIN)
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", str(script), *methods],
        env={"JOULESTAT_URL": url, "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_workers_count_nothing_and_the_loop_counts_every_step(tmp_path: Path) -> None:
    exporter = ScriptedExporter()
    with ScriptedServer(exporter) as server:
        done = train(tmp_path, server.url, "fork", "spawn")

    assert (0, "trained\n", "") == (done.returncode, done.stdout, done.stderr)
    # Two methods of two epochs of six batches of four.
    assert {"train": {"steps": 24, "samples": 96, "tokens": 0}} == exporter.pushes[-1]["totals"]
    assert 1 == len({push["incarnation"] for push in exporter.pushes})
    assert [False] * (len(exporter.pushes) - 1) + [True] == [p["final"] for p in exporter.pushes]
