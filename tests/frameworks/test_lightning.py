import csv
import importlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import joulestat
from fakes.patience import client_threads, eventually
from fakes.priced_exporter import JOULES_PER_STEP, PricedExporter
from fakes.scripted_server import ScriptedServer

torch = pytest.importorskip("torch", reason="needs the extra test-frameworks")
pytest.importorskip("lightning", reason="needs the extra test-frameworks")

from joulestat.lightning import JoulestatCallback  # noqa: E402 - its framework may be missing

pytestmark = [
    # PyTorch's own, from inside of Lightning.
    pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning"),
    # Two processors have few workers to offer; the little data here need none.
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before"),
    pytest.mark.filterwarnings("ignore:You defined a .validation_step. but have no"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]

BATCH = 4


@pytest.fixture(params=["lightning.pytorch", "pytorch_lightning"])
def package(request: pytest.FixtureRequest) -> Any:
    """Lightning under each of its names."""
    return pytest.importorskip(request.param, reason="needs the extra test-frameworks")


@pytest.fixture
def L() -> Any:  # noqa: N802 - as Lightning's own pages call it
    """Lightning under its newer name."""
    return importlib.import_module("lightning.pytorch")


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[PricedExporter]:
    exporter = PricedExporter()
    with ScriptedServer(exporter) as server:
        monkeypatch.setenv("JOULESTAT_URL", server.url)
        yield exporter
    assert eventually(lambda: client_threads() == [])


def loader(batches: int) -> Any:
    samples = torch.utils.data.TensorDataset(torch.ones(BATCH * batches, 3))
    return torch.utils.data.DataLoader(samples, batch_size=BATCH)


def module(package: Any, *, fail_at: int | None = None) -> Any:
    class Module(package.LightningModule):  # type: ignore[misc, name-defined] # of either package
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 1)

        def training_step(self, batch: Any, index: int) -> Any:
            if index == fail_at:
                raise ZeroDivisionError
            return self.layer(batch[0]).square().mean()

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("validation", self.layer(batch[0]).mean())

        test_step = validation_step

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 1e-3)

    return Module()


def trainer(package: Any, folder: Path, callback: Any, **options: Any) -> Any:
    return package.Trainer(
        **{
            "accelerator": "cpu",
            "callbacks": [callback],
            "default_root_dir": folder,
            "enable_model_summary": False,
            "enable_progress_bar": False,
            "log_every_n_steps": 2,
            "logger": False,
            "max_epochs": 1,
            **options,
        }
    )


def test_steps_samples_and_phases_are_the_trainers(
    package: Any, exporter: PricedExporter, tmp_path: Path
) -> None:
    callback = JoulestatCallback(run="r", gpus=[0])
    made = trainer(package, tmp_path, callback, max_epochs=2, accumulate_grad_batches=3)
    made.fit(module(package), loader(10), loader(2))

    # Ten batches an epoch are three steps of three and one of the rest.
    assert 8 == made.global_step
    expected = {
        "train": {"steps": 8, "samples": 80, "tokens": 0},
        "eval": {"steps": 4, "samples": 16, "tokens": 0},
    }
    assert expected == exporter.totals()
    epoch = ["train", "eval", "train", "checkpoint"]
    assert ["other", *epoch, *epoch, "other"] == exporter.phases()
    last = exporter.pushes[-1]
    assert (True, 8, "lightning") == (
        last["final"],
        last["planned_steps"],
        last["labels"]["framework"],
    )


def test_a_model_with_two_optimizers_makes_the_steps_of_both(
    L: Any,  # noqa: N803
    exporter: PricedExporter,
    tmp_path: Path,
) -> None:
    class Adversaries(L.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.layers = torch.nn.ModuleList(torch.nn.Linear(3, 1) for _ in range(2))

        def training_step(self, batch: Any, index: int) -> None:
            for layer, optimizer in zip(self.layers, self.optimizers(), strict=True):
                optimizer.zero_grad()
                self.manual_backward(layer(batch[0]).square().mean())
                optimizer.step()

        def configure_optimizers(self) -> Any:
            return [torch.optim.SGD(layer.parameters(), 1e-3) for layer in self.layers]

    made = trainer(L, tmp_path, JoulestatCallback(run="r", gpus=[0]), enable_checkpointing=False)
    made.fit(Adversaries(), loader(5))

    assert {"train": {"steps": 10, "samples": 20, "tokens": 0}} == exporter.totals()


def test_the_joules_are_among_the_metrics_and_in_the_loggers(
    L: Any,  # noqa: N803
    exporter: PricedExporter,
    tmp_path: Path,
) -> None:
    class Flush(L.Callback):  # type: ignore[misc, name-defined]
        def on_train_batch_start(self, *_: Any) -> None:
            callback.run.flush()

    callback = JoulestatCallback(run="r", gpus=[0])
    logger = L.loggers.CSVLogger(tmp_path)
    made = trainer(L, tmp_path, callback, logger=logger, enable_checkpointing=False)
    made.callbacks.insert(0, Flush())
    made.fit(module(L), loader(6))

    expected = {"energy_joules": 6 * JOULES_PER_STEP, "energy_joules_per_step": JOULES_PER_STEP}
    for metrics in (made.logged_metrics, made.callback_metrics):
        assert expected == {name: float(value) for name, value in metrics.items()}
    assert expected.items() <= callback.energy_metrics().items()
    with (Path(logger.log_dir) / "metrics.csv").open() as file:
        rows = {int(row["step"]): float(row["energy_joules"]) for row in csv.DictReader(file)}
    # While it trains the answer is that from before the step.
    assert {1: 5.0, 3: 15.0, 5: 25.0, 6: 30.0} == rows


def test_the_joules_go_on_from_a_checkpoint(
    L: Any,  # noqa: N803
    exporter: PricedExporter,
    tmp_path: Path,
) -> None:
    first = JoulestatCallback(run="r", gpus=[0])
    made = trainer(L, tmp_path, first)
    made.fit(module(L), loader(4))
    made.save_checkpoint(tmp_path / "four.ckpt")
    lost = trainer(L, tmp_path, JoulestatCallback(run="r", gpus=[0]), max_epochs=2)
    lost.fit(module(L), loader(4), ckpt_path=tmp_path / "four.ckpt")

    second = JoulestatCallback(run="r", gpus=[0])
    resumed = trainer(L, tmp_path, second, max_epochs=3)
    resumed.fit(module(L), loader(4), ckpt_path=tmp_path / "four.ckpt")

    metrics = second.energy_metrics()
    assert 4 * JOULES_PER_STEP == first.energy_metrics()["energy_joules"]
    assert 12 * JOULES_PER_STEP == metrics["energy_joules"]
    assert 12 == metrics["energy_steps"]
    # What was lost was spent as well.
    assert 16 * JOULES_PER_STEP == metrics["energy_spent_joules"]


def test_a_checkpoint_from_before_the_callback_is_resumed_from_nothing(
    L: Any,  # noqa: N803
    exporter: PricedExporter,
    tmp_path: Path,
) -> None:
    without = trainer(L, tmp_path, L.Callback())
    without.fit(module(L), loader(4))
    without.save_checkpoint(tmp_path / "old.ckpt")
    callback = JoulestatCallback(run="r", gpus=[0])
    trainer(L, tmp_path, callback, max_epochs=2).fit(
        module(L), loader(4), ckpt_path=tmp_path / "old.ckpt"
    )

    assert 4 == exporter.totals()["train"]["steps"]
    assert 4 * JOULES_PER_STEP == callback.energy_metrics()["energy_joules"]


def test_an_evaluation_by_itself_is_a_run_of_its_own(
    L: Any,  # noqa: N803
    exporter: PricedExporter,
    tmp_path: Path,
) -> None:
    made = trainer(L, tmp_path, JoulestatCallback(run="r", gpus=[0]))
    made.test(module(L), loader(2), verbose=False)

    assert ["other", "eval", "other"] == exporter.phases()
    assert {"eval": {"steps": 2, "samples": 8, "tokens": 0}} == exporter.totals()
    assert exporter.pushes[-1]["final"]


def test_a_run_that_was_made_before_is_left_open(
    L: Any,  # noqa: N803
    exporter: PricedExporter,
    tmp_path: Path,
) -> None:
    with joulestat.init(run="mine", gpus=[0]) as run:
        trainer(L, tmp_path, JoulestatCallback(run)).fit(module(L), loader(3))

        assert run.active
        assert ("mine", "other") == (exporter.pushes[-1]["run"], exporter.pushes[-1]["phase"])
    assert exporter.pushes[-1]["final"]


def test_an_exception_in_training_ends_the_run(
    L: Any,  # noqa: N803
    exporter: PricedExporter,
    tmp_path: Path,
) -> None:
    made = trainer(L, tmp_path, JoulestatCallback(run="r", gpus=[0]))
    with pytest.raises(ZeroDivisionError):
        made.fit(module(L, fail_at=3), loader(5))

    last = exporter.pushes[-1]
    assert (True, 3) == (last["final"], last["totals"]["train"]["steps"])


def test_a_fault_of_the_callback_stops_no_training(
    L: Any,  # noqa: N803
    exporter: PricedExporter,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(_: Any) -> tuple[int, int]:
        raise ValueError("what is this batch?")

    made = trainer(L, tmp_path, JoulestatCallback(run="r", gpus=[0], counts=broken))
    with caplog.at_level(logging.WARNING, "joulestat"):
        made.fit(module(L), loader(3))

    assert 3 == made.global_step == exporter.totals()["train"]["steps"]
    assert 1 == caplog.text.count("_size failed")


def test_without_an_exporter_a_training_is_what_it_was(
    package: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JOULESTAT_URL", "http://127.0.0.1:1")
    callback = JoulestatCallback(run="r", gpus=[0])
    made = trainer(package, tmp_path, callback)
    made.fit(module(package), loader(3))

    assert 3 == made.global_step
    assert {} == made.logged_metrics
    assert {} == callback.energy_metrics()


def test_every_hook_has_the_signature_that_lightning_calls() -> None:
    base = importlib.import_module("lightning.pytorch").Callback
    own = [name for name in vars(JoulestatCallback) if name.startswith("on_")]

    assert len(own) > 10
    assert [] == [name for name in own if not hasattr(base, name)]
    assert "log" not in vars(JoulestatCallback)  # Lightning sets it
