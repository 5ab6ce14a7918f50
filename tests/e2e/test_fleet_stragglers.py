"""Unequal GPUs from end to end: what each draws is read back, and who waits gives power up in time.

Simulated GPUs of different speed train in step; exporter, client, Prometheus and leases are real.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from joulestat.client.admin import AdminClient
from joulestat.demo.trainer import RUN, WORKLOAD
from joulestat.devices.models import V100
from joulestat.devices.world import SimulatedWorld
from joulestat.devices.world_lockstep import speed
from joulestat.domain.plan import FittedPoint
from joulestat.loops.system_clock import SystemClock
from joulestat.optimizer.fleet.gpu_evidence import read_gpu_evidence
from joulestat.optimizer.fleet.gpu_facts import GpuEvidence, GpuLimits
from joulestat.optimizer.fleet.stragglers import per_gpu_limits
from joulestat.optimizer.history.promql import PrometheusClient
from servers.exporter import Exporter
from servers.prometheus import PrometheusServer

GPUS = 4
SPREAD = 0.08
SEED = 2
"""Of these four cards the slowest is 16 % slower than the fastest."""

REFERENCE_WATTS = 300
COMMON_WATTS = 250
"""Below the 270 W of full clock: a limit that acts."""

ROUNDS = 2
STRETCH_SECONDS = 12.0
TOLERANCE = 0.01

pytestmark = pytest.mark.prometheus


@dataclass
class Scene:
    """A training that goes on, and its truth by formula."""

    exporter: Exporter
    prometheus: PrometheusServer
    uuids: tuple[str, ...]

    def evidence(self) -> GpuEvidence:
        with PrometheusClient(self.prometheus.url) as client:
            return read_gpu_evidence(
                client,
                RUN,
                self.uuids,
                time.time(),
                window_seconds=300.0,
                step_seconds=1.0,
                shortest_seconds=5.0,
            )

    def evidence_under(self, limits: Mapping[str, int]) -> GpuEvidence:
        """Set limits, and wait until enough was seen of them."""
        self.hold(limits)
        deadline = time.monotonic() + 90
        while True:
            evidence = self.evidence()
            if evidence.stretches:
                now = evidence.stretches[-1]
                long = now.end_seconds - now.start_seconds >= STRETCH_SECONDS
                if long and limits == now.limits_watts:
                    return evidence
            assert time.monotonic() < deadline, f"no {STRETCH_SECONDS} s at {limits}: {evidence}"
            time.sleep(0.5)

    def hold(self, limits: Mapping[str, int]) -> None:
        admin = AdminClient(f"unix:{self.exporter.admin_socket}", self.exporter.token)
        for uuid, watts in limits.items():
            admin.put_lease(
                uuid, power_limit_watts=watts, ttl_seconds=600, holder="test", reason="test"
            )

    def step_seconds(self, limits: Mapping[str, int]) -> float:
        return max(self.own_seconds(uuid, watts) for uuid, watts in limits.items())

    def own_seconds(self, uuid: str, watts: int) -> float:
        return V100.step_seconds(watts, WORKLOAD) / speed(uuid, SPREAD)

    def power_watts(self, uuid: str, limits: Mapping[str, int]) -> float:
        busy = self.own_seconds(uuid, limits[uuid]) / self.step_seconds(limits)
        return busy * V100.busy_watts(limits[uuid], WORKLOAD) + (1 - busy) * V100.static_watts

    def curve(self) -> tuple[FittedPoint, ...]:
        """Return what a search would have measured under common limits."""
        points = []
        for watts in range(100, REFERENCE_WATTS + 1, 10):
            common = dict.fromkeys(self.uuids, watts)
            seconds = self.step_seconds(common)
            joules = seconds * sum(self.power_watts(uuid, common) for uuid in self.uuids)
            points.append(FittedPoint(watts, joules, seconds, 0.0, 0.0))
        return tuple(points)

    def decide(self, evidence: GpuEvidence) -> GpuLimits:
        return per_gpu_limits(
            evidence, self.curve(), common_watts=COMMON_WATTS, min_watts=V100.min_limit_watts
        )


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("stragglers")
    flags = ("--admin.write-interval", "100ms", "--simulated.seed", str(SEED))
    made = Exporter(folder / "exporter", *flags, gpus=GPUS)
    world = SimulatedWorld.open(
        made.world_file,
        model=V100.name,
        gpus=GPUS,
        seed=SEED,
        clock=SystemClock(),
        noise_ratio=0.002,
    )
    uuids = world.uuids
    world.close()
    with made as exporter:
        target = exporter.url.removeprefix("http://")
        with PrometheusServer(folder / "prometheus", [target]) as prometheus:
            trainer = start_training(exporter.world_file, exporter.url)
            try:
                yield Scene(exporter, prometheus, uuids)
            finally:
                trainer.send_signal(signal.SIGTERM)
                trainer.wait(10)


def start_training(world_file: Path, url: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable, "-m", "joulestat.demo.trainer",
            "--world", str(world_file),
            "--url", url,
            "--speed-spread", str(SPREAD),
        ],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "JOULESTAT_RUN": RUN},
    )  # fmt: skip


def test_who_waits_gives_power_up_at_no_loss_of_time(scene: Scene) -> None:
    common = dict.fromkeys(scene.uuids, COMMON_WATTS)
    slowest = min(scene.uuids, key=lambda uuid: speed(uuid, SPREAD))
    before = scene.evidence_under(common)
    assert_is_the_truth(scene, before, common)
    evidence = before
    for _ in range(ROUNDS):
        decided = scene.decide(evidence)
        assert "wait for the slowest one" in decided.reason
        assert COMMON_WATTS == decided.limits_watts[slowest]

        evidence = scene.evidence_under(decided.limits_watts)
        assert_is_the_truth(scene, evidence, decided.limits_watts)
        assert scene.step_seconds(common) == scene.step_seconds(decided.limits_watts)

    drawn, draws = (sum(one.stretches[-1].power_watts.values()) for one in (before, evidence))
    assert draws < 0.97 * drawn


def assert_is_the_truth(scene: Scene, evidence: GpuEvidence, limits: Mapping[str, int]) -> None:
    now = evidence.stretches[-1]
    assert limits == now.limits_watts
    assert now.step_seconds == pytest.approx(scene.step_seconds(limits), rel=TOLERANCE)
    for uuid in scene.uuids:
        expected = scene.power_watts(uuid, limits)
        assert now.power_watts[uuid] == pytest.approx(expected, rel=TOLERANCE)
