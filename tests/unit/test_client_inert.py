import copy
import logging
import pickle
from collections.abc import Iterator

import pytest

import joulestat
from fakes.patience import client_threads, eventually
from fakes.scripted_server import Json, ScriptedExporter, ScriptedServer

LAUNCHERS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "SLURM_JOB_ID", "SLURM_PROCID", "WANDB_RUN_ID")

OWN = ("JOULESTAT_RUN", "JOULESTAT_DISABLED", "JOULESTAT_URL")


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (*LAUNCHERS, "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", *OWN):
        monkeypatch.delenv(name, raising=False)
    yield
    assert eventually(lambda: client_threads() == [])


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedExporter]:
    exporter = ScriptedExporter()
    with ScriptedServer(exporter) as server:
        monkeypatch.setenv("JOULESTAT_URL", server.url)
        yield exporter


def steps_by_phase(push: Json) -> dict[str, int]:
    return {phase: counts["steps"] for phase, counts in push["totals"].items()}


def test_an_unknown_argument_yields_an_inert_run(caplog: pytest.LogCaptureFixture) -> None:
    run = joulestat.init(project="x")  # type: ignore[call-arg]

    assert not run.active
    assert "init" in caplog.text


def test_a_disabled_run_takes_every_call_and_starts_no_thread(
    exporter: ScriptedExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOULESTAT_DISABLED", "1")
    with joulestat.init(run="r", gpus=[0]) as run:
        with run.phase("train"):
            run.step(1, 2)
        run.add(1)
        run.set_phase("eval")
        run.load_state_dict(run.state_dict())
        assert not run.active
        assert not run.flush()
        assert {} == run.energy_joules() == run.power_limit_watts() == run.lineage_joules()
        assert [] == client_threads()
    assert [] == exporter.pushes


def test_a_copy_of_a_run_is_inert(exporter: ScriptedExporter) -> None:
    with joulestat.init(run="r", gpus=[0], rank=1) as run:
        for twin in (pickle.loads(pickle.dumps(run)), copy.copy(run), copy.deepcopy(run)):
            assert ("r", 1, False) == (twin.name, twin.rank, twin.active)
            twin.step()
            twin.finish()
        assert run.active


def test_after_the_end_nothing_is_sent_and_everything_may_still_be_called(
    exporter: ScriptedExporter,
) -> None:
    run = joulestat.init(run="r", gpus=[0])
    run.finish()
    pushes = len(exporter.pushes)
    run.finish()
    run.step()
    run.set_phase("train")

    assert not run.flush()
    assert not run.active
    assert pushes == len(exporter.pushes)
    assert "inert" in repr(run)


def test_no_thread_at_the_end_of_the_interpreter_means_an_inert_run(
    exporter: ScriptedExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr("threading.Thread.start", refuse)
    run = joulestat.init(run="r", gpus=[0])
    run.step()
    run.finish()
    assert not run.active


def test_a_missing_exporter_is_one_line_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("JOULESTAT_URL", "unix:/nowhere/at/all")
    caplog.set_level(logging.DEBUG)
    with joulestat.init(run="r", gpus=[0]) as run:
        for _ in range(3):
            assert not run.flush()
            run.step()

    lines = [record for record in caplog.records if record.name == "joulestat"]
    assert [logging.INFO] == [record.levelno for record in lines]
    assert "unix:/nowhere/at/all" in lines[0].getMessage()
    assert "JOULESTAT_DISABLED=1" in lines[0].getMessage()
