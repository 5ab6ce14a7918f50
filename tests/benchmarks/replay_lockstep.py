"""The same searches through a real server: all runs live on together, and are read back by PromQL.

Every 30 s of simulated time, what was scraped is written to the server, and every run that still
searches is read from it and decided upon.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import httpx

from benchmarks.replay_campaign import Campaign, Trial
from fakes.traced_runs import TracedRun
from joulestat.optimizer.history.facts import RunHistory
from joulestat.optimizer.history.prometheus import PrometheusHistory
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.search.objective import Objective
from servers.prometheus import PrometheusServer
from servers.remote_write import Labels, write
from servers.simulated_exporter import SimulatedExporter
from servers.victoria import VictoriaServer, missing

THROUGH = ("prometheus", "victoria-metrics")


class Job(Protocol):
    """One set-up at one objective."""

    @property
    def traced(self) -> TracedRun: ...
    @property
    def objective(self) -> Objective: ...
    @property
    def noise_ratio(self) -> float: ...
    @property
    def seed(self) -> tuple[int, ...]: ...


def search_through(server: str, jobs: Sequence[Sequence[Job]]) -> list[list[Trial]]:
    """Let all searches run to their end through a server of this kind."""
    named = {
        f"trace-{index}-objective-{number}": job
        for number, group in enumerate(jobs)
        for index, job in enumerate(group)
    }
    campaigns = {
        name: Campaign.begin(job.traced, job.objective, job.noise_ratio, job.seed)
        for name, job in named.items()
    }
    with tempfile.TemporaryDirectory() as folder, running(server, Path(folder)) as url:
        live_in_lockstep(url, campaigns)
    trials = iter([campaign.trial() for campaign in campaigns.values()])
    return [[next(trials) for _ in group] for group in jobs]


@contextmanager
def running(server: str, folder: Path) -> Iterator[str]:
    """Run a server of this kind and yield its URL."""
    if server == "prometheus":
        with PrometheusServer(folder) as prometheus:
            yield prometheus.url
        return
    if missing():
        raise SystemExit(missing())
    with VictoriaServer(folder) as victoria:
        yield victoria.url


def live_in_lockstep(url: str, campaigns: Mapping[str, Campaign]) -> None:
    """Write, read and decide in turn until no campaign searches any more."""
    exporters = {name: SimulatedExporter(name, one.run) for name, one in campaigns.items()}
    searching = dict(campaigns)
    with (
        httpx.Client(trust_env=False) as http,
        PrometheusClient(url, timeout_seconds=120.0) as client,
    ):
        source = PrometheusHistory(client)
        while searching:
            scraped: dict[Labels, list[tuple[float, float]]] = {}
            for name in searching:
                scraped.update(exporters[name].scrapes())
            write(http, url, scraped)
            _flush(http, url)
            (now_seconds,) = {one.run.now_seconds for one in searching.values()}
            for history in source.read_all(list(searching), now_seconds):
                assert isinstance(history, RunHistory), history.error
                campaigns[history.run].decide(history)
            searching = {name: one for name, one in searching.items() if not one.ended}
            for one in searching.values():
                one.live()


def _flush(http: httpx.Client, url: str) -> None:
    """Make what was written readable; Prometheus, which does so anyway, knows of no such page."""
    answer = http.get(f"{url}/internal/force_flush")
    assert answer.status_code in (200, 404), answer.text
