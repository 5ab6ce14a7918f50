"""The exporter as a process: what it serves, and what a crash leaves of it."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from joulestat.client.admin import AdminClient
from joulestat.devices.models import TYPICAL_TRAINING
from joulestat.devices.world import Fault
from servers.exporter import Exporter


def until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    """Wait for something that will be true; fail when it is not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


class Training:
    """One rank that pushes what it is told to."""

    def __init__(self, exporter: Exporter, gpus: list[str], run: str = "llama") -> None:
        self._exporter, self._gpus, self._run = exporter, gpus, run
        self._seq = 0

    def push(self, steps: int, *, final: bool = False) -> dict[str, Any]:
        self._seq += 1
        status, answer = self._exporter.push(
            run=self._run,
            rank=0,
            incarnation="one",
            seq=self._seq,
            at_ns=time.monotonic_ns(),
            gpus=self._gpus,
            phase="train",
            totals={"train": {"steps": steps}},
            final=final,
        )
        assert status == 200, answer
        return answer


def credited_steps(exporter: Exporter) -> float:
    return sum(
        value
        for (name, _), value in exporter.samples().items()
        if name == "joulestat_run_steps_total"
    )


def test_every_gpu_is_shown_with_energy_limits_and_draw(tmp_path: Path) -> None:
    with Exporter(tmp_path, gpus=3) as exporter:
        samples = exporter.samples()

        for metric in ("gpu_energy_joules_total", "gpu_power_watts", "gpu_power_limit_watts"):
            names = [name for name, _ in samples if name == f"joulestat_{metric}"]
            assert len(names) == 3
        assert exporter.value("gpu_up") == 3


def test_a_pushed_step_is_credited_with_its_energy_and_conserved(tmp_path: Path) -> None:
    with Exporter(tmp_path) as exporter:
        world = exporter.world()
        gpu = world.uuids[0]
        world.occupy(gpu, TYPICAL_TRAINING)
        training = Training(exporter, [gpu])
        training.push(0)
        time.sleep(1.0)
        training.push(10, final=True)
        until(lambda: credited_steps(exporter) == 10)

        credited = exporter.value("run_energy_joules_total", run="llama")
        assert credited == pytest.approx(world.draw_watts(gpu, time.monotonic_ns()) * 1.0, rel=0.3)
        assert credited == pytest.approx(
            exporter.value("run_gpu_energy_joules_total", gpu_uuid=gpu), rel=1e-9
        )


def test_after_sigkill_totals_go_on_and_the_limit_is_back_at_its_baseline(tmp_path: Path) -> None:
    exporter = Exporter(tmp_path)
    with exporter:
        world = exporter.world()
        gpu = world.uuids[0]
        world.occupy(gpu, TYPICAL_TRAINING)
        training = Training(exporter, [gpu])
        training.push(0)
        admin = AdminClient(f"unix:{exporter.admin_socket}", exporter.token)
        admin.put_lease(gpu, power_limit_watts=200, ttl_seconds=600, holder="t", reason="t")
        assert world.limit_watts(gpu) == 200
        time.sleep(0.5)
        training.push(5)
        until(lambda: credited_steps(exporter) == 5)
        before = exporter.samples()
        began_uj = world.energy_uj(gpu, time.monotonic_ns())

        exporter.kill()
        assert world.limit_watts(gpu) == 200
        time.sleep(0.5)
        exporter.start()

        assert world.limit_watts(gpu) == 300
        during = exporter.samples()
        time.sleep(0.2)
        training.push(25, final=True)
        until(lambda: credited_steps(exporter) == 25)
        after = exporter.samples()
        drawn_joules = (world.energy_uj(gpu, time.monotonic_ns()) - began_uj) / 1e6

    for key, value in before.items():
        if ("run", "llama") in key[1] and key[0].endswith("_total"):
            assert during[key] >= value
            assert after[key] >= during[key]
    name = "joulestat_run_gpu_energy_joules_total"
    grown = sum(v for k, v in after.items() if k[0] == name) - sum(
        v for k, v in before.items() if k[0] == name
    )
    # From the last push before the crash to the last one after it: the whole of it, within what
    # the GPU draws between a look at the world and a push.
    assert grown == pytest.approx(drawn_joules, abs=60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_end_puts_limits_back_whoever_asks_for_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    exporter = Exporter(tmp_path).start()
    world = exporter.world()
    admin = AdminClient(f"unix:{exporter.admin_socket}", exporter.token)
    for gpu in world.uuids:
        admin.put_lease(gpu, power_limit_watts=150, ttl_seconds=600, holder="t", reason="t")

    assert exporter.stop(number) == 0
    assert [world.limit_watts(gpu) for gpu in world.uuids] == [300, 300]
    assert not exporter.admin_socket.exists()


def test_a_limit_that_a_hung_driver_keeps_is_named_and_put_back_by_the_next_start(
    tmp_path: Path,
) -> None:
    exporter = Exporter(tmp_path).start()
    world = exporter.world()
    hung, healthy = world.uuids
    admin = AdminClient(f"unix:{exporter.admin_socket}", exporter.token)
    for gpu in world.uuids:
        admin.put_lease(gpu, power_limit_watts=150, ttl_seconds=600, holder="t", reason="t")
    world.set_fault(hung, Fault.HANG)

    assert exporter.stop() == 0
    assert (150, 300) == (world.limit_watts(hung), world.limit_watts(healthy))
    assert f"event=limit_left_in_force gpu_uuids={hung} " in exporter.log.read_text()

    world.set_fault(hung, None)
    with exporter:
        assert world.limit_watts(hung) == 300


def test_before_the_first_reading_there_are_no_metrics_rather_than_zeros(tmp_path: Path) -> None:
    exporter = Exporter(tmp_path, "--sampling.interval", "5s")
    exporter.launch()
    until(exporter.listens)

    # A counter that stood at 40 MJ would seem to fall to 0 and to rise by 40 MJ at once.
    assert exporter.get("/metrics") == (503, "The GPUs have not been read yet.\n")
    assert exporter.get("/readyz")[0] == 503
    assert exporter.stop() == 0


def test_a_hung_gpu_slows_no_scrape_and_hides_no_other(tmp_path: Path) -> None:
    with Exporter(tmp_path) as exporter:
        world = exporter.world()
        hung, healthy = world.uuids
        world.set_fault(hung, Fault.HANG)
        until(lambda: exporter.value("gpu_up", gpu_uuid=hung) == 0)

        # A scrape that waited for the driver would never come back, and so fail.
        for _ in range(50):
            assert exporter.value("gpu_up", gpu_uuid=healthy) == 1
        energy = exporter.value("gpu_energy_joules_total", gpu_uuid=healthy)
        until(lambda: exporter.value("gpu_energy_joules_total", gpu_uuid=healthy) > energy)
        assert exporter.value("gpu_energy_joules_total", gpu_uuid=hung) >= 0
        assert exporter.get("/healthz")[0] == 200
        world.set_fault(hung, None)
        until(lambda: exporter.value("gpu_up", gpu_uuid=hung) == 1)


def test_without_a_gpu_it_serves_and_says_so_once(tmp_path: Path) -> None:
    with Exporter(tmp_path, backend="none") as exporter:
        names = {name for name, _ in exporter.samples()}

        assert "joulestat_build_info" in names
        assert not any(name.startswith("joulestat_gpu_") for name in names)
        assert exporter.log.read_text().count("event=no_gpu") == 1


def test_an_unknown_key_is_one_clear_line_and_exit_two(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("web:\n  listen-adress: 127.0.0.1:0\n")

    with pytest.raises(AssertionError, match=r"config\.yaml:2: web\.listen-adress"):
        Exporter(tmp_path, "--config.file", str(config)).start()


def test_an_address_in_use_is_one_clear_line_and_exit_two(tmp_path: Path) -> None:
    with Exporter(tmp_path / "one") as exporter:
        taken = exporter.url.removeprefix("http://")
        other = Exporter(tmp_path / "two", "--web.listen-address", taken)

        with pytest.raises(AssertionError, match=f"cannot listen on {taken}"):
            other.start()
        assert other.process is not None
        assert other.process.wait() == 2
