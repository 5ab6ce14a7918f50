"""The exporter as a process on NVIDIA's library, as the stand-in plays it: crash, reload, loss."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.nvml.standin import StandIn
from fakes.patience import eventually
from joulestat.client.admin import AdminClient
from servers.exporter import Exporter

BUSY_MW = 180_000


@pytest.fixture
def exporter(nvml_standin: StandIn, tmp_path: Path) -> Iterator[Exporter]:
    """``joulestat serve`` on a host with two NVIDIA GPUs, of which it has to find out itself."""
    exporter = Exporter(tmp_path / "exporter", backend="auto")
    exporter.environment = nvml_standin.environment()
    with exporter:
        yield exporter


def values(exporter: Exporter, name: str, **labels: str) -> list[float]:
    """Return all samples of a metric with these labels, none where there are none yet."""
    return [
        value
        for (sample, has), value in exporter.samples().items()
        if sample == f"joulestat_{name}" and labels.items() <= dict(has).items()
    ]


def test_after_sigkill_the_baseline_is_back_and_no_joule_is_lost(
    exporter: Exporter, nvml_standin: StandIn
) -> None:
    nvml_standin.change(0, demand_mw=BUSY_MW, limit_mw=240_000)
    assert eventually(lambda: values(exporter, "gpu_power_limit_watts", gpu="0") == [240])
    admin = AdminClient(f"unix:{exporter.admin_socket}", exporter.token)
    gpu = next(each["gpu_uuid"] for each in admin.gpus() if each["index"] == 0)
    push = {"run": "llama", "rank": 0, "incarnation": "one", "gpus": [gpu], "phase": "train"}
    began = nvml_standin.gpu(0)
    _, first = exporter.push(seq=1, at_ns=began.since_ns, **push)
    admin.put_lease(gpu, power_limit_watts=150, ttl_seconds=600, holder="t", reason="t")
    assert eventually(lambda: values(exporter, "gpu_power_limit_target_watts") == [150])
    shown = exporter.value("gpu_energy_joules_total", gpu_uuid=gpu)

    exporter.kill()
    assert nvml_standin.gpu(0).limit_mw == 150_000
    exporter.start()

    assert nvml_standin.gpu(0).limit_mw == 240_000
    assert [None, None] == [each["lease"] for each in admin.gpus()]
    assert exporter.value("gpu_energy_joules_total", gpu_uuid=gpu) >= shown
    ended = nvml_standin.gpu(0)
    _, last = exporter.push(seq=2, at_ns=ended.since_ns, final=True, **push)
    assert first["instance"] == last["instance"]
    assert eventually(lambda: bool(values(exporter, "run_end_timestamp_seconds", run="llama")))
    assert exporter.value("run_energy_joules_total", run="llama") == pytest.approx(
        (ended.energy_uj - began.energy_uj) / 1e6, rel=0.02
    )


def test_a_driver_reload_while_it_is_stopped_lets_no_total_fall(
    exporter: Exporter, nvml_standin: StandIn
) -> None:
    nvml_standin.change(0, demand_mw=BUSY_MW)
    first = exporter.value("gpu_energy_joules_total", gpu="0")
    assert eventually(lambda: exporter.value("gpu_energy_joules_total", gpu="0") > first)
    shown = exporter.value("gpu_energy_joules_total", gpu="0")

    assert exporter.stop() == 0
    nvml_standin.reload_driver()
    exporter.start()

    assert exporter.value("gpu_energy_joules_total", gpu="0") >= shown


def test_a_gpu_that_is_lost_shows_no_old_gauge_and_keeps_its_energy(
    exporter: Exporter, nvml_standin: StandIn
) -> None:
    shown = exporter.value("gpu_energy_joules_total", gpu="0")
    nvml_standin.plan("* 0 ret 15")  # NVML_ERROR_GPU_IS_LOST
    assert eventually(lambda: exporter.value("gpu_up", gpu="0") == 0)

    assert values(exporter, "gpu_power_watts", gpu="0") == []
    assert len(values(exporter, "gpu_power_watts", gpu="1")) == 1
    assert exporter.value("gpu_up", gpu="1") == 1
    assert exporter.value("gpu_energy_joules_total", gpu="0") >= shown
    assert exporter.value("tick_errors_total", error="GPU_IS_LOST") >= 1


def test_what_a_mig_instance_does_is_credited_from_its_gpu_once(
    exporter: Exporter, nvml_standin: StandIn
) -> None:
    nvml_standin.change(1, demand_mw=BUSY_MW)
    admin = AdminClient(f"unix:{exporter.admin_socket}", exporter.token)
    gpu = next(each["gpu_uuid"] for each in admin.gpus() if each["index"] == 1)
    push = {
        "run": "shared",
        "rank": 0,
        "incarnation": "one",
        "gpus": [f"MIG-{gpu}/7/0"],
        "phase": "train",
    }
    began = nvml_standin.gpu(1)
    status, answer = exporter.push(seq=1, at_ns=began.since_ns, **push)
    assert status == 200, answer
    assert eventually(lambda: nvml_standin.gpu(1).energy_uj - began.energy_uj > 400_000_000)
    ended = nvml_standin.gpu(1)
    exporter.push(seq=2, at_ns=ended.since_ns, final=True, **push)
    assert eventually(lambda: bool(values(exporter, "run_end_timestamp_seconds")))

    assert exporter.value("run_gpu_energy_joules_total", gpu="1") == pytest.approx(
        # The power rose just before the run began, between two readings.
        (ended.energy_uj - began.energy_uj) / 1e6,
        abs=0.1 * BUSY_MW / 1e3,
    )
    # Two cards, whatever they are cut into.
    assert len(values(exporter, "gpu_energy_joules_total")) == 2


def test_a_driver_that_hangs_at_the_start_keeps_nobody_from_being_told(
    nvml_standin: StandIn, tmp_path: Path
) -> None:
    nvml_standin.plan("nvmlInitWithFlags * hang")
    exporter = Exporter(tmp_path / "exporter", backend="auto")
    exporter.environment = nvml_standin.environment()
    with exporter:
        assert exporter.get("/healthz")[0] == 200
        assert "event=driver_hangs_at_start" in exporter.log.read_text()
        assert values(exporter, "gpu_up") == []

        nvml_standin.plan()
        assert eventually(lambda: values(exporter, "gpu_up") == [1, 1])
