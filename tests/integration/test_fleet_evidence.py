"""What each GPU of a run drew, read back from a real Prometheus with an awkward history in it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from joulestat.optimizer.fleet.gpu_evidence import read_gpu_evidence
from joulestat.optimizer.fleet.gpu_facts import GpuEvidence
from joulestat.optimizer.history.promql import PrometheusClient
from servers.prometheus import PrometheusServer

pytestmark = pytest.mark.prometheus

START_SECONDS = 1_790_000_000
SCRAPE_SECONDS = 15
STEP_SECONDS = 0.5
DRAWN_WATTS = {300: (300.0, 270.0), 250: (300.0, 240.0)}
"""Of each node's two GPUs, by the limit of the second; the first one's is 300 W."""


@dataclass
class Told:
    """A run on two nodes of two GPUs each; every node is scraped twice.

    Attributes:
        run: Its name.
        limits: Of each node's second GPU: how many scrapes each is in force.
        eval_at: Numbers of scrapes before which an evaluation ran.
        reset_at: Number of the scrape before which the exporters forgot everything.
    """

    run: str
    limits: list[tuple[int, int]]
    eval_at: tuple[int, ...] = ()
    reset_at: int | None = None
    joules: dict[str, float] = field(default_factory=dict)
    steps: dict[tuple[str, str], float] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        number = 0
        for watts, scrapes in self.limits:
            for _ in range(scrapes):
                self._pass(number, watts)
                yield from self._page(START_SECONDS + number * SCRAPE_SECONDS, watts)
                number += 1

    def uuids(self) -> tuple[str, ...]:
        return tuple(f"{self.run}-{node}-{gpu}" for node in (0, 1) for gpu in (0, 1))

    def _pass(self, number: int, watts: int) -> None:
        if number == self.reset_at:
            self.joules.clear()
            self.steps.clear()
        label = "300" if watts == 300 else "mixed"
        phases = ("train", "eval") if number in self.eval_at else ("train",)
        for phase in phases:
            key = (phase, label)
            share = 1 / len(phases)
            self.steps[key] = self.steps.get(key, 0.0) + share * SCRAPE_SECONDS / STEP_SECONDS
        for node in (0, 1):
            for gpu, drawn in enumerate(DRAWN_WATTS[watts]):
                uuid = f"{self.run}-{node}-{gpu}"
                # An evaluation draws something else.
                joules = SCRAPE_SECONDS * (drawn if len(phases) == 1 else 100.0)
                self.joules[uuid] = self.joules.get(uuid, 0.0) + joules

    def _page(self, at: int, watts: int) -> Iterator[str]:
        run = f'run="{self.run}"'
        for node in (0, 1):
            for replica in (0, 1):
                target = f'job="joulestat",instance="node{node}:1",replica="{replica}"'
                for (phase, label), steps in self.steps.items():
                    labels = f'{{{run},phase="{phase}",power_limit_watts="{label}",{target}}}'
                    yield f"joulestat_run_steps_total{labels} {steps} {at}"
                    seconds = steps * STEP_SECONDS
                    yield f"joulestat_run_step_seconds_total{labels} {seconds} {at}"
                for gpu in (0, 1):
                    uuid = f"{self.run}-{node}-{gpu}"
                    device = f'gpu="{gpu}",gpu_uuid="{uuid}",{target}'
                    joules = self.joules[uuid]
                    name = "joulestat_run_gpu_energy_joules_total"
                    yield f"{name}{{{run},{device}}} {joules} {at}"
                    limit = watts if gpu else 300
                    yield f"joulestat_gpu_power_limit_enforced_watts{{{device}}} {limit} {at}"


PLAIN = Told("plain", [(300, 40), (250, 40)])
EVALUATES = Told("evaluates", [(300, 60)], eval_at=tuple(range(5, 60, 7)))
RESET = Told("reset", [(300, 60)], reset_at=30)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusClient]:
    folder: Path = tmp_path_factory.mktemp("gpus")
    server = PrometheusServer(folder)
    for told in (PLAIN, EVALUATES, RESET):
        # promtool takes one series' samples in order of time.
        server.backfill("\n".join([*told.lines(), "# EOF\n"]))
    with server, PrometheusClient(server.url) as client:
        yield client


def read(client: PrometheusClient, told: Told) -> GpuEvidence:
    scrapes = sum(number for _, number in told.limits)
    end = START_SECONDS + (scrapes - 1) * SCRAPE_SECONDS
    return read_gpu_evidence(client, told.run, told.uuids(), end, window_seconds=3_600.0)


def test_each_gpus_draw_is_exact_at_every_limit(prometheus: PrometheusClient) -> None:
    stretches = read(prometheus, PLAIN).stretches

    assert [300, 250] == [one.limits_watts["plain-1-1"] for one in stretches]
    for one, watts in zip(stretches, (300, 250), strict=True):
        full, less = DRAWN_WATTS[watts]
        expected = {"plain-0-0": full, "plain-0-1": less, "plain-1-0": full, "plain-1-1": less}
        assert expected == pytest.approx(one.power_watts)
        assert STEP_SECONDS == pytest.approx(one.step_seconds)


def test_an_evaluation_is_left_out(prometheus: PrometheusClient) -> None:
    (only,) = read(prometheus, EVALUATES).stretches

    assert 270.0 == pytest.approx(only.power_watts["evaluates-0-1"])
    assert STEP_SECONDS == pytest.approx(only.step_seconds)


def test_a_reset_loses_one_look_and_no_exactness(prometheus: PrometheusClient) -> None:
    (only,) = read(prometheus, RESET).stretches

    assert 270.0 == pytest.approx(only.power_watts["reset-0-1"])
    assert STEP_SECONDS == pytest.approx(only.step_seconds)


def test_a_run_that_is_not_there_has_no_stretches(prometheus: PrometheusClient) -> None:
    assert () == read(prometheus, Told('x"} or vector(1) #', [(300, 4)])).stretches
