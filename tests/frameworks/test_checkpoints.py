"""A run in the checkpoints of plain PyTorch and of Accelerate."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import joulestat
from fakes.priced_exporter import GPU, JOULES_PER_STEP, PricedExporter
from fakes.scripted_server import ScriptedServer

torch = pytest.importorskip("torch", reason="needs the extra test-frameworks")
accelerate = pytest.importorskip("accelerate", reason="needs the extra test-frameworks")


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[PricedExporter]:
    exporter = PricedExporter()
    with ScriptedServer(exporter) as server:
        monkeypatch.setenv("JOULESTAT_URL", server.url)
        yield exporter


def trained(steps: int, *, rank: int = 0) -> joulestat.Run:
    """Return a run that has made some steps, and whose exporter has said so."""
    run = joulestat.init(run="r", gpus=[0], rank=rank)
    run.flush()  # what was spent before the first answer is not this process's
    for _ in range(steps):
        run.step()
    assert run.flush()
    return run


def accelerator(run: joulestat.Run) -> Any:
    made = accelerate.Accelerator(cpu=True)
    made.register_for_checkpointing(run)
    return made


def test_accelerate_carries_the_joules_in_its_own_checkpoints(
    exporter: PricedExporter, tmp_path: Path
) -> None:
    with trained(3) as run:
        accelerator(run).save_state(str(tmp_path / "saved"))
    with joulestat.init(run="r", gpus=[0]) as run:
        run.flush()
        accelerator(run).load_state(str(tmp_path / "saved"))
        run.step()
        run.flush()

        assert {GPU: 4 * JOULES_PER_STEP} == run.lineage_joules()


@pytest.mark.parametrize(("rank", "expected"), [(0, {GPU: 3 * JOULES_PER_STEP}), (1, {GPU: 0.0})])
def test_a_checkpoint_of_pytorch_needs_no_trust_and_counts_once(
    exporter: PricedExporter, tmp_path: Path, rank: int, expected: dict[str, float]
) -> None:
    with trained(3) as run:
        torch.save({"run": run.state_dict()}, tmp_path / "saved.pt")
    state = torch.load(tmp_path / "saved.pt", weights_only=True)
    with joulestat.init(run="r", gpus=[0], rank=rank) as run:
        run.flush()
        run.load_state_dict(state["run"])

        assert expected == run.lineage_joules()


def test_a_run_is_what_pytorchs_distributed_checkpoints_call_stateful(
    exporter: PricedExporter,
) -> None:
    stateful = pytest.importorskip(
        "torch.distributed.checkpoint.stateful", reason="this PyTorch is built without DCP"
    )
    with joulestat.init(run="r", gpus=[0]) as run:
        assert isinstance(run, stateful.Stateful)
