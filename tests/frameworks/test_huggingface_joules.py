"""Joules of a killed and resumed training: checkpoint, results, exporter and simulator agree.

One process trains on two GPUs, saves, goes on and is killed. From its checkpoint torchrun resumes
with a process for each GPU, under the same name.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from fakes.patience import eventually
from joulestat.model_card import write_model_card
from servers.busy_exporter import BusyExporter
from servers.prometheus import PrometheusServer

Json = dict[str, Any]

RUN = "ft"
GPUS = 2
SAMPLES_PER_STEP = 4
TOLERANCE = 0.01
SAVED_STEP, KILLED_STEP, LAST_STEP = 30, 36, 60

pytestmark = pytest.mark.frameworks("torch", "transformers", "accelerate")


@dataclass
class Trained:
    """What a process, or the ranks of a job, left behind."""

    folder: Path
    exporter: BusyExporter

    @property
    def results(self) -> Json:
        results: Json = json.loads((self.folder / "train_results.json").read_text())
        return results

    def notes(self, rank: int = 0) -> list[Json]:
        lines = (self.folder / f"notes-{rank}.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def joules(self, begin: str, end: str, rank: int = 0) -> list[float]:
        """Return what the simulator says that each GPU took between a rank's notes, J.

        Summed over all times that both were noted.
        """
        begun = [note["at_ns"] for note in self.notes(rank) if note["what"] == begin]
        ended = [note["at_ns"] for note in self.notes(rank) if note["what"] == end]
        spans = [self.exporter.true_joules(*span) for span in zip(begun, ended, strict=True)]
        return [sum(parts) for parts in zip(*spans, strict=True)]


@dataclass
class Story:
    """A training that was killed and resumed, and the history that Prometheus has of it."""

    exporter: BusyExporter
    killed: Trained
    resumed: Trained
    prometheus_url: str

    @property
    def past(self) -> list[float]:
        """What each GPU took for the checkpoint, J."""
        return self.killed.joules("begins", "checkpoint begins")

    @property
    def lost(self) -> list[float]:
        """What each GPU took for work that the killed process had not saved, J."""
        return self.killed.joules("checkpoint begins", "killed")

    @property
    def since(self) -> list[float]:
        """What each GPU took from its rank's resume on, J."""
        return [self.resumed.joules("begins", "ends", rank)[rank] for rank in range(GPUS)]

    def in_prometheus(self) -> float | None:
        """Return what Prometheus knows of the run's joules, None where nothing."""
        query = {"query": f'sum(joulestat_run_energy_joules_total{{run="{RUN}"}})'}
        answer = httpx.get(f"{self.prometheus_url}/api/v1/query", params=query, trust_env=False)
        found = answer.json()["data"]["result"]
        return float(found[0]["value"][1]) if found else None


def launch(exporter: BusyExporter, ranks: int, folder: Path, *more: str) -> "subprocess.Popen[str]":
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    training = ["-m", "frameworks.huggingface_training", str(folder), "--name", RUN]
    return subprocess.Popen(
        [sys.executable, *(torchrun if ranks > 1 else []), *training, *more],
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "JOULESTAT_URL": exporter.url,
            "CUDA_VISIBLE_DEVICES": "0,1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


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
    plan = ("--steps", str(LAST_STEP))
    with BusyExporter(folder / "exporter", gpus=GPUS) as exporter, ExitStack() as undo:
        prometheus_url = ""
        if shutil.which("prometheus"):
            target = exporter.url.removeprefix("http://")
            prometheus = PrometheusServer(folder / "prometheus", [target])
            prometheus_url = undo.enter_context(prometheus).url
        kill = ("--kill-at-step", str(KILLED_STEP))
        ended(launch(exporter, 1, folder / "killed", *plan, *kill), status=-signal.SIGKILL)
        ended(launch(exporter, GPUS, folder / "resumed", *plan, "--resume-from", str(saved)))
        left = [Trained(folder / name, exporter) for name in ("killed", "resumed")]
        yield Story(exporter, *left, prometheus_url)


def test_the_results_are_the_joules_of_the_checkpoint_and_of_what_came_after(story: Story) -> None:
    truth = [before + after for before, after in zip(story.past, story.since, strict=True)]
    results = story.resumed.results
    in_order_of_uuid = sorted(range(GPUS), key=lambda gpu: story.exporter.uuids[gpu])

    assert results["energy_joules"] == pytest.approx(sum(truth), rel=TOLERANCE)
    assert results["energy_consumption_joules_gpu"] == pytest.approx(
        [truth[gpu] for gpu in in_order_of_uuid], rel=TOLERANCE
    )


def test_the_exporter_and_the_results_agree_on_all_that_was_spent(story: Story) -> None:
    truth = sum([*story.past, *story.lost, *story.since])
    results = story.resumed.results

    assert results["energy_spent_joules"] == pytest.approx(truth, rel=TOLERANCE)
    assert story.exporter.run_joules(RUN) == pytest.approx(truth, rel=TOLERANCE)
    assert story.exporter.run_joules(RUN) - sum(story.lost) == pytest.approx(
        results["energy_joules"], rel=TOLERANCE
    )


@pytest.mark.prometheus
def test_prometheus_has_what_the_results_say(story: Story) -> None:
    spent = story.resumed.results["energy_spent_joules"]

    def agrees() -> bool:
        return story.in_prometheus() == pytest.approx(spent, rel=TOLERANCE)

    assert eventually(agrees), (story.in_prometheus(), spent)


@pytest.mark.prometheus
def test_the_card_has_for_each_gpu_what_all_others_say(story: Story) -> None:
    """By `joulestat report`: what was spent. By the training itself: what the model took."""
    card = story.resumed.folder / "README.md"
    truths = zip(story.past, story.lost, story.since, strict=True)
    in_order_of_uuid = sorted(range(GPUS), key=lambda gpu: story.exporter.uuids[gpu])
    spent = [sum(parts) for parts in truths]

    def on_card() -> list[float]:
        """Ask again until Prometheus has scraped the last joules."""
        report = ["report", "--run", RUN, "--prometheus.url", story.prometheus_url]
        command = [sys.executable, "-m", "joulestat", *report, "--model-card", str(card)]
        subprocess.run(command, check=True, capture_output=True)
        return gpu_joules(card)

    expected = pytest.approx([spent[gpu] for gpu in in_order_of_uuid], rel=TOLERANCE)
    assert eventually(lambda: on_card() == expected), (on_card(), spent)

    of_model = story.resumed.results["energy_consumption_joules_gpu"]
    assert write_model_card(card, of_model)
    assert gpu_joules(card) == pytest.approx(of_model)


def gpu_joules(card: Path) -> list[float]:
    metadata = yaml.safe_load(card.read_text().split("---")[1])
    joules: list[float] = metadata["energy_consumption_joules"]["gpu"]
    return joules


@pytest.mark.parametrize(
    ("phase", "surely", "at_most"),
    [
        ("eval", ("eval begins", "eval over"), ("eval due", "eval ends")),
        ("checkpoint", ("checkpoint begins", "checkpoint ends"), ("eval over", "saved")),
    ],
)
def test_evaluations_and_checkpoints_have_joules_of_their_own(
    story: Story, phase: str, surely: tuple[str, str], at_most: tuple[str, str]
) -> None:
    """A phase begins as the step before it ends, which is earlier than the Trainer's own method."""
    least, most = (
        sum([*story.killed.joules(*span), *story.resumed.joules(*span)])
        for span in (surely, at_most)
    )

    assert (1 - TOLERANCE) * least <= story.exporter.run_joules(RUN, phase)
    assert story.exporter.run_joules(RUN, phase) <= (1 + TOLERANCE) * most


def test_every_step_counts_once_and_each_rank_its_own_samples(story: Story) -> None:
    alone, together = KILLED_STEP, LAST_STEP - SAVED_STEP

    assert story.exporter.value("run_steps_total", run=RUN, phase="train") == alone + together
    assert story.exporter.value("run_samples_total", run=RUN, phase="train") == (
        alone * SAMPLES_PER_STEP + GPUS * together * SAMPLES_PER_STEP
    )


def test_joules_per_step_are_over_the_steps_that_made_the_model(story: Story) -> None:
    results = story.resumed.results

    # The checkpoint's joules may be those of some steps before it.
    assert LAST_STEP - 2 <= results["energy_steps"] <= LAST_STEP
    assert results["energy_joules_per_step"] == pytest.approx(
        results["energy_joules"] / results["energy_steps"]
    )
