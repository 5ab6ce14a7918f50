import inspect
import json
import logging
import sys
from collections.abc import Iterator
from itertools import groupby
from types import SimpleNamespace

import numpy as np
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


def test_a_run_reports_its_phases_and_counts(exporter: ScriptedExporter) -> None:
    with joulestat.init(
        run="ft",
        gpus=["GPU-1"],
        rank=2,
        job="j",
        user="u",
        team="t",
        framework="f",
        planned_steps=500,
        energy_budget_kwh=2,
    ) as run:
        with run.phase("train"):
            for _ in range(3):
                run.step(n_samples=4, n_tokens=100)
            run.add(n_samples=1)
        with run.phase("eval"):
            run.step()
        assert run.flush()

    last = exporter.pushes[-1]
    assert last["final"]
    assert {
        "train": {"steps": 3, "samples": 13, "tokens": 300},
        "eval": {"steps": 1, "samples": 0, "tokens": 0},
    } == last["totals"]
    assert ("ft", 2, ["GPU-1"]) == (last["run"], last["rank"], last["gpus"])
    assert {"job": "j", "user": "u", "team": "t", "framework": "f"} == last["labels"]
    assert (7.2e6, 500) == (last["energy_budget_joules"], last["planned_steps"])
    phases = [phase for phase, _ in groupby(push["phase"] for push in exporter.pushes)]
    assert ["other", "train", "other", "eval", "other"] == phases


def test_phases_nest_and_the_outer_one_returns(exporter: ScriptedExporter) -> None:
    with joulestat.init(run="r", gpus=[0]) as run, run.phase("train"):
        run.step()
        with run.phase("eval"):
            run.step()
            with run.phase("checkpoint"):
                run.step()
            run.step()
        run.step()

    expected = {"train": 2, "eval": 2, "checkpoint": 1}
    assert expected == steps_by_phase(exporter.pushes[-1])


def test_a_phase_ends_with_its_block_even_by_an_exception(exporter: ScriptedExporter) -> None:
    with joulestat.init(run="r", gpus=[0]) as run:
        with pytest.raises(ZeroDivisionError), run.phase("train"):
            raise ZeroDivisionError
        run.step()

    assert {"other": 1} == steps_by_phase(exporter.pushes[-1])


def test_a_run_that_names_no_phase_trains_from_its_first_steps_end(
    exporter: ScriptedExporter,
) -> None:
    with joulestat.init(run="r", gpus=[0]) as run:
        for _ in range(5):
            run.step(n_samples=1)

    # The first step's energy cannot be told from the start-up's, so both stay together.
    assert {"other": 1, "train": 4} == steps_by_phase(exporter.pushes[-1])


def test_an_evaluation_before_the_first_step_does_not_keep_a_run_from_training(
    exporter: ScriptedExporter,
) -> None:
    with joulestat.init(run="r", gpus=[0]) as run:
        with run.phase("eval"):
            run.step()
        for _ in range(5):
            run.step()

    assert {"eval": 1, "other": 1, "train": 4} == steps_by_phase(exporter.pushes[-1])


def test_flush_takes_any_limit(exporter: ScriptedExporter) -> None:
    with joulestat.init(run="r", gpus=[0]) as run:
        assert [True, True] == [run.flush(seconds) for seconds in (float("inf"), 1e20)]


def test_set_phase_serves_callbacks(exporter: ScriptedExporter) -> None:
    with joulestat.init(run="r", gpus=[0]) as run:
        run.set_phase("eval")
        run.step()
        run.set_phase("somewhere")
        run.step()

    assert {"eval": 1, "other": 1} == steps_by_phase(exporter.pushes[-1])


def test_joules_and_limits_are_the_exporters_last_word(exporter: ScriptedExporter) -> None:
    exporter.energy_joules = {"GPU-1": 10.0}
    with joulestat.init(run="r", gpus=["GPU-1"]) as run:
        assert run.flush()
        exporter.energy_joules = {"GPU-1": 25.0}
        assert run.flush()

        assert {"GPU-1": 25.0} == run.energy_joules()
        assert {"GPU-1": 250.0} == run.power_limit_watts()
        assert {"GPU-1": 15.0} == run.lineage_joules()


def test_restored_joules_are_adopted_by_rank_0_alone(exporter: ScriptedExporter) -> None:
    checkpoint = json.loads(json.dumps({"version": 1, "energy_joules": {"GPU-0": 100.0}}))
    for rank, expected in ((0, {"GPU-0": 100.0}), (1, {})):
        with joulestat.init(run="r", gpus=[0], rank=rank) as run:
            run.load_state_dict(checkpoint)
            assert {"version": 1, "energy_joules": expected} == run.state_dict()


def test_a_foreign_state_is_dropped_with_a_warning(
    exporter: ScriptedExporter, caplog: pytest.LogCaptureFixture
) -> None:
    with joulestat.init(run="r", gpus=[0]) as run:
        run.load_state_dict({"weights": []})
    assert "state_dict" in caplog.text


def test_wrong_arguments_cost_one_warning_each_and_the_run_goes_on(
    exporter: ScriptedExporter, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = {
        "gpus": "cuda:0",
        "rank": "first",
        "job": 3,
        "planned_steps": -5,
        "energy_budget_kwh": "much",
        "energy_budget_joules": float("nan"),
    }
    with joulestat.init(run="r", **wrong) as run:  # type: ignore[arg-type]
        run.step(n_samples="many")  # type: ignore[arg-type]
        run.step(n_samples=-3, n_tokens=None)  # type: ignore[arg-type]
        assert run.flush()

    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    for name in [*wrong, "n_samples"]:
        assert 1 == sum(f"joulestat: {name}=" in line for line in warned), name
    last = exporter.pushes[-1]
    assert not {"planned_steps", "energy_budget_joules"} & set(last)
    assert (0, None) == (last["rank"], last["gpus"])


def test_what_no_json_number_can_hold_does_not_cost_the_run(exporter: ScriptedExporter) -> None:
    with joulestat.init(run="r", gpus=np.arange(2), energy_budget_kwh=1e308) as run:
        assert run.flush()
    with joulestat.init(run="r", gpus=[0], energy_budget_joules=10**400) as run:
        assert run.flush()

    assert [0, 1] == exporter.pushes[0]["gpus"]
    assert not any("energy_budget_joules" in push for push in exporter.pushes)


def test_a_wrong_url_gives_way_to_the_next_one(
    exporter: ScriptedExporter, caplog: pytest.LogCaptureFixture
) -> None:
    with joulestat.init(run="r", gpus=[0], url="https://elsewhere") as run:
        assert run.flush()
    assert "url=" in caplog.text


def test_a_budget_given_twice_is_the_one_in_joules(
    exporter: ScriptedExporter, caplog: pytest.LogCaptureFixture
) -> None:
    with joulestat.init(run="r", gpus=[0], energy_budget_kwh=1, energy_budget_joules=5.0):
        pass
    assert 5.0 == exporter.pushes[-1]["energy_budget_joules"]
    assert "energy_budget_kwh" in caplog.text


def test_names_and_labels_come_from_the_host_where_nobody_gives_any(
    exporter: ScriptedExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "SLURM_JOB_ID": "99", "SLURM_JOB_NAME": "ft", "SLURM_PROCID": "3", "USER": "kim",
        "SLURM_JOB_USER": "kim", "CUDA_VISIBLE_DEVICES": "GPU-7",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    with joulestat.init():
        pass

    last = exporter.pushes[-1]
    assert ("slurm-99", 3, ["GPU-7"]) == (last["run"], last["rank"], last["gpus"])
    assert ("ft", "kim") == (last["labels"]["job"], last["labels"]["user"])


def test_gpus_become_known_once_the_training_code_has_initialised_cuda(
    exporter: ScriptedExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready: list[bool] = []
    fake_torch = SimpleNamespace(
        version=SimpleNamespace(hip=None),
        cuda=SimpleNamespace(
            is_initialized=lambda: bool(ready),
            device_count=lambda: 1,
            get_device_properties=lambda index: SimpleNamespace(uuid="8932f937"),
        ),
    )
    monkeypatch.setitem(sys.modules, "torch", fake_torch)
    with joulestat.init(run="r") as run:
        run.flush()
        ready.append(True)
        with run.phase("train"):
            run.step()

    assert exporter.pushes[0]["gpus"] is None
    assert ["GPU-8932f937"] == exporter.pushes[-1]["gpus"]


def test_every_process_start_is_an_incarnation_of_its_own(exporter: ScriptedExporter) -> None:
    for _ in range(2):
        joulestat.init(run="r", gpus=[0]).finish()

    assert 2 == len({push["incarnation"] for push in exporter.pushes})


def test_init_takes_what_is_documented() -> None:
    assert [
        "run", "gpus", "rank", "job", "user", "team", "framework", "planned_steps",
        "energy_budget_kwh", "energy_budget_joules", "url", "sync_every", "sync_probes_only",
    ] == list(inspect.signature(joulestat.init).parameters)  # fmt: skip
