"""A report of a run on a real exporter, which is killed and forgets, agrees with it to the bit."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from joulestat.devices.models import TYPICAL_TRAINING
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.report.energy import EnergyReader
from joulestat.report.facts import RunEnergy
from joulestat.report.intensity_series import IntensityReader
from joulestat.report.report import Told, report_of
from servers.exporter import Exporter
from servers.prometheus import PrometheusServer

pytestmark = pytest.mark.prometheus

TARIFF = (
    "--tariff.carbon-grams-per-kilowatt-hour", "380",
    "--tariff.zone", "DE",
    "--tariff.pue-ratio", "1.25",
)  # fmt: skip

RUN_END = "joulestat_run_end_timestamp_seconds"
TRAIN_SECONDS = 1.5


class Training:
    """Two ranks that push what they are told to, one for each GPU."""

    def __init__(self, exporter: Exporter, gpus: list[str], incarnation: str) -> None:
        self._exporter, self._gpus, self._incarnation = exporter, gpus, incarnation
        self._seq = 0

    def push(self, phase: str, steps: int, *, final: bool = False) -> None:
        self._seq += 1
        for rank, gpu in enumerate(self._gpus):
            status, answer = self._exporter.push(
                run="llama",
                rank=rank,
                incarnation=f"{self._incarnation}-{rank}",
                seq=self._seq,
                at_ns=time.monotonic_ns(),
                gpus=[gpu],
                phase=phase,
                totals={"train": {"steps": steps}},
                final=final,
            )
            assert 200 == status, answer


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found


class Scene:
    """An exporter at a port that it keeps, scraped twice a second under two names."""

    def __init__(self, client: PrometheusClient, exporter: Exporter) -> None:
        self.client, self.exporter = client, exporter

    def shown(self) -> dict[str, float]:
        """Return what the exporter shows of the run's GPUs now."""
        return {
            dict(labels)["gpu_uuid"]: value
            for (name, labels), value in self.exporter.samples().items()
            if name == "joulestat_run_gpu_energy_joules_total"
        }

    def train(self, *, final: bool = True) -> dict[str, float]:
        """Train until Prometheus has it all, which the exporter shows then: return that."""
        world = self.exporter.world()
        gpus = list(world.uuids)
        for gpu in gpus:
            world.occupy(gpu, TYPICAL_TRAINING)
        training = Training(self.exporter, gpus, f"{time.monotonic_ns()}")
        deadline = time.monotonic() + TRAIN_SECONDS
        training.push("train", 0)
        while time.monotonic() < deadline:
            time.sleep(0.1)
            training.push("train", 5)
        training.push("eval", 10)
        time.sleep(0.2)
        training.push("eval", 10, final=final)
        until(lambda: any(name == RUN_END for name, _ in self.exporter.samples()) is final)
        until(lambda: self._scraped() and self._scraped() == self.shown())
        return self.shown()

    def _scraped(self) -> dict[str, float]:
        found = self.client.query("joulestat_run_gpu_energy_joules_total", None)
        # Each GPU twice, and of both the same.
        values = {(s.labels["gpu_uuid"], s.value) for s in found}
        return dict(values) if len(found) == 2 * len(values) else {}

    def read(self) -> RunEnergy:
        found = EnergyReader(self.client).read("llama", self.client.now_seconds())
        assert found is not None
        return found[0]

    def restart(self, *, with_memory: bool) -> None:
        self.exporter.kill()
        if not with_memory:
            shutil.rmtree(self.exporter.folder / "state")
        self.exporter.start()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Exporter(tmp_path / "exporter", *TARIFF) as exporter:
        port = exporter.url.rpartition(":")[2]
        exporter.flags = (*TARIFF, "--web.listen-address", f"127.0.0.1:{port}")
        targets = [f"127.0.0.1:{port}", f"localhost:{port}"]
        server = PrometheusServer(tmp_path / "prometheus", targets, scrape_interval="500ms")
        with server, PrometheusClient(server.url) as client:
            yield Scene(client, exporter)


def by_gpu(energy: RunEnergy) -> dict[str, float]:
    return {gpu.gpu_uuid: gpu.joules for gpu in energy.gpus}


def test_joules_are_the_exporters_own_also_after_it_was_killed(scene: Scene) -> None:
    before = scene.train(final=False)
    scene.restart(with_memory=True)
    shown = scene.train()
    energy = scene.read()

    assert shown == by_gpu(energy)
    assert all(joules > before[uuid] + 100 for uuid, joules in shown.items())
    assert energy.ended
    assert {"train", "eval"} <= energy.joules_by_phase.keys()
    assert sum(shown.values()) == pytest.approx(sum(energy.joules_by_phase.values()), abs=1e-5)
    assert () == energy.problems


def test_an_exporter_that_forgot_the_run_adds_to_what_it_showed_before(scene: Scene) -> None:
    before = scene.train()
    scene.restart(with_memory=False)
    after = scene.train()

    assert {uuid: before[uuid] + after[uuid] for uuid in before} == by_gpu(scene.read())


def test_emissions_are_those_of_the_exporters_tariff(scene: Scene) -> None:
    joules = sum(scene.train().values())
    found = EnergyReader(scene.client).read("llama", scene.client.now_seconds())
    assert found is not None
    reader = IntensityReader(scene.client, *found)
    report = report_of(found[0], reader.of_exporters((), ""), reader.pue_ratio(()), Told())

    assert report.emissions is not None
    assert joules / 3.6e6 * 1.25 * 380 == pytest.approx(report.emissions.grams, rel=1e-9)
    assert ("DE", ()) == (report.emissions.geographical_location, report.missing)
