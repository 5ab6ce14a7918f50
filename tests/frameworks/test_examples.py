"""The examples in the documentation, each as a process of its own, all at once."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from fakes.priced_exporter import JOULES_PER_STEP, PricedExporter
from fakes.scripted_server import ScriptedServer
from frameworks.forked import Script
from servers.busy_exporter import BusyExporter

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
FRAMEWORKS = ("torch", "jax", "keras", "lightning", "accelerate")

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in FRAMEWORKS), reason="needs the extra test-frameworks"
)

COUNTS = {
    # Two epochs of twenty batches of 32.
    "pytorch": (40, 1280),
    "jax_loop": (40, 1280),
    "lightning_fit": (20, 1280),
    "accelerate_loop": (20, 1280),
    # A tenth is for validation.
    "keras_fit": (18, 1152),
}
"""Steps and samples of each example."""


def begun(example: str, folder: Path, url: str, **environment: str) -> Script:
    all_of_them = {"JOULESTAT_URL": url, "KERAS_BACKEND": "jax", **environment}
    return Script(EXAMPLES / f"{example}.py", folder, all_of_them)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What each example printed, and what an exporter heard of it."""
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("examples")
        heard = {name: PricedExporter() for name in COUNTS}
        processes = {
            name: stack.enter_context(
                begun(name, folder / name, stack.enter_context(ScriptedServer(exporter)).url)
            )
            for name, exporter in heard.items()
        }
        yield {name: (processes[name].output(), heard[name]) for name in COUNTS}


@pytest.mark.parametrize("example", COUNTS)
def test_an_example_counts_what_it_trains(shown: dict[str, Any], example: str) -> None:
    _, heard = shown[example]
    train = heard.totals()["train"]

    assert COUNTS[example] == (train["steps"], train["samples"])
    assert heard.pushes[-1]["final"]
    assert "train" in heard.phases()


@pytest.mark.parametrize("example", COUNTS)
def test_an_example_shows_its_joules(shown: dict[str, Any], example: str) -> None:
    output, _ = shown[example]

    assert "joules" in output
    assert "unknown" not in output.splitlines()[-1]


def test_lightnings_metrics_and_keras_history_have_the_joules(shown: dict[str, Any]) -> None:
    for example in ("lightning_fit", "keras_fit"):
        steps, _ = COUNTS[example]
        output, heard = shown[example]
        joules = JOULES_PER_STEP * sum(counts["steps"] for counts in heard.totals().values())

        # Evaluation included.
        assert joules > steps * JOULES_PER_STEP
        assert f"'energy_joules': {joules}" in output
        assert f"'energy_joules_per_step': {joules / steps}" in output


def test_an_example_needs_no_exporter_and_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    with begun("pytorch", tmp_path, "http://127.0.0.1:1") as script:
        first = script.output()
    with begun("pytorch", tmp_path, "http://127.0.0.1:1") as script:
        second = script.output()

    def errors(output: str) -> list[float]:
        return [float(line.split("error ")[1].split(",")[0]) for line in output.splitlines()]

    assert errors(second)[0] < errors(first)[-1]
    assert "joules unknown" in second


def test_two_ranks_count_their_steps_once_and_their_samples_both(tmp_path: Path) -> None:
    rendezvous = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
    }
    with BusyExporter(tmp_path / "exporter") as exporter, ExitStack() as stack:
        processes = [
            stack.enter_context(
                begun(
                    "pytorch",
                    tmp_path / f"rank{rank}",
                    exporter.url,
                    **rendezvous,
                    RANK=str(rank),
                    LOCAL_RANK=str(rank),
                )
            )
            for rank in range(2)
        ]
        for process in processes:
            process.output()

        run = {"run": "pytorch-example", "phase": "train"}
        # Each rank has half of the batches; a step is a step of both.
        assert 20 == exporter.value("run_steps_total", **run)
        assert 1280 == exporter.value("run_samples_total", **run)
        by_gpu = [
            exporter.value("run_gpu_energy_joules_total", run=run["run"], gpu_uuid=uuid)
            for uuid in exporter.uuids
        ]
        assert sum(by_gpu) == pytest.approx(exporter.run_joules(run["run"]))
        assert all(joules > 0 for joules in by_gpu)
