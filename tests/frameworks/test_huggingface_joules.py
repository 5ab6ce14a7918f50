"""Joules of a killed and resumed training: checkpoint, results, exporter and simulator agree."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakes.patience import eventually
from servers.busy_exporter import BusyExporter
from servers.prometheus import PrometheusServer

Json = dict[str, Any]

TOLERANCE = 0.01
SAVED_STEP, KILLED_STEP, LAST_STEP = 30, 36, 60

pytestmark = pytest.mark.frameworks("torch", "transformers", "accelerate")


@dataclass
class Trained:
    """What one process, or the ranks of one job, left behind."""

    folder: Path
    exporter: BusyExporter

    @property
    def results(self) -> Json:
        results: Json = json.loads((self.folder / "train_results.json").read_text())
        return results

    def notes(self, rank: int = 0) -> list[Json]:
        lines = (self.folder / f"notes-{rank}.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def at_ns(self, what: str, rank: int = 0) -> int:
        """Return when something happened for the first time."""
        return next(note["at_ns"] for note in self.notes(rank) if note["what"] == what)

    def joules(self, begin: str, end: str, gpus: tuple[int, ...] = (0, 1)) -> list[float]:
        """Return what the simulator says that each of these GPUs took in between, J."""
        truth = self.exporter.true_joules(self.at_ns(begin), self.at_ns(end))
        return [truth[gpu] for gpu in gpus]

    def phase_joules(self, phase: str) -> float:
        begun = [note["at_ns"] for note in self.notes() if note["what"] == f"{phase} begins"]
        ended = [note["at_ns"] for note in self.notes() if note["what"] == f"{phase} ends"]
        return sum(
            sum(self.exporter.true_joules(start_ns, end_ns)[:2])
            for start_ns, end_ns in zip(begun, ended, strict=True)
        )


@dataclass
class Story:
    """A training that was killed and resumed, and one of two ranks resumed from the same."""

    exporter: BusyExporter
    killed: Trained
    resumed: Trained
    ranks: Trained
    prometheus_url: str

    def in_prometheus(self) -> float | None:
        """Return what Prometheus knows of the first run's joules, None where nothing."""
        query = {"query": 'sum(joulestat_run_energy_joules_total{run="ft"})'}
        answer = httpx.get(f"{self.prometheus_url}/api/v1/query", params=query, trust_env=False)
        found = answer.json()["data"]["result"]
        return float(found[0]["value"][1]) if found else None


def launch(
    exporter: BusyExporter, folder: Path, *asked: str, ranks: int = 1
) -> subprocess.Popen[str]:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "JOULESTAT_URL": exporter.url,
        "CUDA_VISIBLE_DEVICES": "0,1" if ranks == 1 else "2,3",
    }
    return subprocess.Popen(
        [sys.executable, *(torchrun if ranks > 1 else []), "-m",
         "frameworks.huggingface_training", str(folder), *asked],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


def ended(process: "subprocess.Popen[str]", status: int = 0) -> None:
    try:
        said, _ = process.communicate(timeout=150)
    finally:
        process.kill()
    assert process.returncode == status, said


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("joules")
    saved = folder / "killed" / f"checkpoint-{SAVED_STEP}"
    with BusyExporter(folder / "exporter", gpus=4) as exporter, ExitStack() as undo:
        prometheus_url = ""
        if shutil.which("prometheus"):
            target = exporter.url.removeprefix("http://")
            prometheus = PrometheusServer(folder / "prometheus", [target])
            prometheus_url = undo.enter_context(prometheus).url
        plan = ("--steps", str(LAST_STEP))
        kill = ("--kill-at-step", str(KILLED_STEP))
        ended(launch(exporter, folder / "killed", "--name", "ft", *plan, *kill), status=-9)
        go_on = (*plan, "--resume-from", str(saved))
        resumed = launch(exporter, folder / "resumed", "--name", "ft", *go_on)
        ranks = launch(exporter, folder / "ranks", "--name", "ft-2", *go_on, ranks=2)
        ended(resumed)
        ended(ranks)
        left = [Trained(folder / name, exporter) for name in ("killed", "resumed", "ranks")]
        yield Story(exporter, *left, prometheus_url)


def past(story: Story) -> list[float]:
    """Return what each GPU took for the checkpoint from which all go on, J."""
    return story.killed.joules("begins", "checkpoint begins")


def lost(story: Story) -> float:
    """Return what was spent on work that the killed process had not saved, J."""
    return sum(story.killed.joules("checkpoint begins", "killed"))


def by_uuid(story: Story, *gpus: int) -> list[int]:
    """Return GPUs in the order in which the results list them."""
    return sorted(gpus, key=lambda gpu: story.exporter.uuids[gpu])


def test_the_results_are_the_joules_of_the_checkpoint_and_of_what_came_after(story: Story) -> None:
    since = story.resumed.joules("begins", "ends")
    truth = [before + after for before, after in zip(past(story), since, strict=True)]
    results = story.resumed.results

    assert results["energy_joules"] == pytest.approx(sum(truth), rel=TOLERANCE)
    assert results["energy_consumption_joules_gpu"] == pytest.approx(
        [truth[gpu] for gpu in by_uuid(story, 0, 1)], rel=TOLERANCE
    )


def test_the_exporter_and_the_results_agree_on_all_that_was_spent(story: Story) -> None:
    since = sum(story.resumed.joules("begins", "ends"))
    truth = sum(past(story)) + lost(story) + since
    spent = story.resumed.results["energy_spent_joules"]

    assert spent == pytest.approx(truth, rel=TOLERANCE)
    assert story.exporter.run_joules("ft") == pytest.approx(truth, rel=TOLERANCE)
    assert story.resumed.results["energy_joules"] == pytest.approx(
        spent - lost(story), rel=TOLERANCE
    )


@pytest.mark.prometheus
def test_prometheus_has_what_the_results_say(story: Story) -> None:
    spent = story.resumed.results["energy_spent_joules"]

    def agrees() -> bool:
        return story.in_prometheus() == pytest.approx(spent, rel=TOLERANCE)

    assert eventually(agrees), (story.in_prometheus(), spent)


@pytest.mark.parametrize("phase", ["eval", "checkpoint"])
def test_evaluations_and_checkpoints_have_joules_of_their_own(story: Story, phase: str) -> None:
    truth = story.killed.phase_joules(phase) + story.resumed.phase_joules(phase)

    # A phase begins as the step before it ends, a log earlier than the Trainer's own method.
    assert story.exporter.run_joules("ft", phase) == pytest.approx(truth, rel=3 * TOLERANCE)


def test_all_steps_are_counted_and_those_of_the_model_have_the_joules(story: Story) -> None:
    made = KILLED_STEP + LAST_STEP - SAVED_STEP
    results = story.resumed.results

    assert story.exporter.value("run_steps_total", run="ft", phase="train") == made
    assert story.exporter.value("run_samples_total", run="ft", phase="train") == made * 4
    assert story.exporter.value("run_steps_total", run="ft", phase="eval") == 2 * 3
    # The checkpoint's joules may be those of some steps before it.
    assert LAST_STEP - 2 <= results["energy_steps"] <= LAST_STEP
    assert results["energy_joules_per_step"] == pytest.approx(
        results["energy_joules"] / results["energy_steps"]
    )


def test_of_two_ranks_one_adopts_the_checkpoints_joules_and_both_gpus_count(story: Story) -> None:
    own = [
        story.exporter.true_joules(
            story.ranks.at_ns("begins", rank), story.ranks.at_ns("ends", rank)
        )[2 + rank]
        for rank in (0, 1)
    ]
    results = story.ranks.results

    assert story.exporter.run_joules("ft-2") == pytest.approx(sum(own), rel=TOLERANCE)
    assert results["energy_joules"] == pytest.approx(sum(past(story)) + sum(own), rel=TOLERANCE)
    truth = dict(enumerate([*past(story), *own]))
    assert results["energy_consumption_joules_gpu"] == pytest.approx(
        [truth[gpu] for gpu in by_uuid(story, 0, 1, 2, 3)], rel=TOLERANCE
    )


def test_of_two_ranks_one_counts_the_steps_and_each_its_samples(story: Story) -> None:
    made = LAST_STEP - SAVED_STEP

    assert story.exporter.value("run_steps_total", run="ft-2", phase="train") == made
    assert story.exporter.value("run_samples_total", run="ft-2", phase="train") == made * 2 * 4
