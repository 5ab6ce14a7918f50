"""docs/fleet.md on real servers: scraping, federation, and remote write into VictoriaMetrics."""

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from joulestat.domain.plan import Action, Decision
from joulestat.optimizer.evidence.profile import Minimum
from joulestat.optimizer.history.prometheus import PrometheusHistory
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.rounds import Optimizer, Question
from joulestat.optimizer.search.objective import Cost
from servers.exporter import Exporter
from servers.known_runs import TRUTH, TWO_NODES
from servers.page_blocks import blocks, file_block
from servers.prometheus import PrometheusServer
from servers.remote_write import Labels, write
from servers.training_history import TrainingHistory
from servers.victoria import VictoriaServer, missing

PAGE = "fleet.md"
RULES = Path(__file__).parents[2] / "alerts" / "*.rules.yaml"
WATTS = 250.0
PATIENCE_SECONDS = 30.0
LIVE = ("up{", "scrape_samples_scraped{")
"""Queries about scrapes are asked about now, all others about the end of a run's history."""

pytestmark = [
    pytest.mark.prometheus,
    pytest.mark.skipif(bool(missing()), reason=missing()),
]

_LINE = re.compile(r"(?P<name>[a-z_]+)\{(?P<labels>[^}]*)\} (?P<value>\S+) (?P<at>\S+)")
_LABEL = re.compile(r'([a-z_]+)="([^"]*)"')


@dataclass
class Stores:
    """The servers of a site, and what is in them."""

    prometheus: str
    victoria: str
    above: str
    run: TrainingHistory
    flush: Callable[[], None]

    def ask(self, url: str, query: str, at_seconds: float) -> list[dict[str, Any]]:
        form = {"query": query, "time": f"{at_seconds:.3f}", "nocache": "1"}
        answer = httpx.post(f"{url}/api/v1/query", data=form, trust_env=False).raise_for_status()
        result: list[dict[str, Any]] = answer.json()["data"]["result"]
        return result

    def wait(self, url: str, query: str, what: str, at_seconds: float | None = None) -> None:
        """Wait until a query has a result; None for now."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.ask(url, query, time.time() if at_seconds is None else at_seconds):
            assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS} s: {what}"
            time.sleep(0.1)
            self.flush()


def samples_of(run: TrainingHistory) -> dict[Labels, list[tuple[float, float]]]:
    """Return a run's samples, and beside them its GPUs' energy at a steady draw."""
    found: dict[Labels, list[tuple[float, float]]] = {}
    for line in run.lines():
        match = _LINE.fullmatch(line)
        assert match is not None
        pairs = _LABEL.findall(match["labels"])
        at = float(match["at"])
        series = tuple(sorted([("__name__", match["name"]), *pairs]))
        found.setdefault(series, []).append((at, float(match["value"])))
        if match["name"] == "joulestat_gpu_power_limit_default_watts":
            name = ("__name__", "joulestat_gpu_energy_joules_total")
            energy = WATTS * (at - run.start_seconds)
            found.setdefault(tuple(sorted([name, *pairs])), []).append((at, energy))
    return found


def site_config(folder: Path, exporter: Exporter, victoria: VictoriaServer) -> str:
    """Return the page's prometheus.yml with its remote write, at a test's pace and addresses."""
    nodes = folder / "nodes.json"
    down = "127.0.0.2:9"
    nodes.write_text(json.dumps([{"targets": [exporter.url.removeprefix("http://"), down]}]))
    return (
        (file_block(PAGE, "# prometheus.yml") + file_block(PAGE, "# in prometheus.yml"))
        .replace("scrape_interval: 15s", "scrape_interval: 1s\n  evaluation_interval: 1s")
        .replace("scrape_timeout: 10s", "scrape_timeout: 1s")
        .replace("/etc/prometheus/joulestat/nodes.json", str(nodes))
        .replace("/etc/prometheus/joulestat/*.rules.yaml", str(RULES))
        .replace("https://metrics.example", victoria.url)
        # Five seconds at most pass before few samples are sent; a test has not the patience.
        .replace(
            "    write_relabel", "    queue_config: {batch_send_deadline: 200ms}\n    write_relabel"
        )
    )


def federation_config(server: PrometheusServer) -> str:
    """Return the page's federation.yml, likewise."""
    return (
        file_block(PAGE, "# federation.yml")
        .replace("scrape_interval: 30s", "scrape_interval: 1s\n    scrape_timeout: 1s")
        .replace("prometheus-east.example:9090", server.url.removeprefix("http://"))
    )


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """Start a site: an exporter, its Prometheus, and the VictoriaMetrics that this writes to.

    A run on two nodes comes in by remote write as well, and goes on from there as scrapes do.
    What is sent on must be newer than the start of Prometheus: so this run is yet to come.
    """
    folder = tmp_path_factory.mktemp("site")
    with Exporter(folder / "node") as exporter, VictoriaServer(folder / "victoria") as victoria:
        config = site_config(folder, exporter, victoria)
        with (
            PrometheusServer(folder / "prometheus", config=config) as server,
            PrometheusServer(folder / "above", config=federation_config(server)) as above,
        ):
            run = replace(TWO_NODES, start_seconds=int(time.time()) + 5)
            with httpx.Client(trust_env=False) as http:
                write(http, server.url, samples_of(run))
            stores = Stores(server.url, victoria.url, above.url, run, victoria.flush)
            all_there = f"count(joulestat_run_gpu{{run='{run.run}'}}) == {run.n_nodes}"
            end = run.end_seconds - 0.5
            stores.wait(victoria.url, all_there, "the run in VictoriaMetrics", end)
            yield stores


@pytest.mark.parametrize("query", blocks(PAGE, "promql"))
def test_both_sides_answer_the_pages_queries_alike(stores: Stores, query: str) -> None:
    live = any(word in query for word in LIVE)
    if live:
        asked = f"({query}) and on() (count(up) == 2)"
        for url in (stores.prometheus, stores.victoria):
            stores.wait(url, asked, "both targets")
    at_seconds = time.time() if live else stores.run.end_seconds - 0.5
    ours, theirs = (
        {
            tuple(sorted(item["metric"].items())): float(item["value"][1])
            for item in stores.ask(url, query, at_seconds)
        }
        for url in (stores.prometheus, stores.victoria)
    )

    assert ours.keys() == theirs.keys()
    assert ours == pytest.approx(theirs, rel=0.02)
    assert ("Nothing is right" in query) is (not ours)


def test_the_power_of_the_fleet_is_the_truth(stores: Stores) -> None:
    """Two GPUs at 250 W for the last five minutes."""
    (query,) = (one for one in blocks(PAGE, "promql") if "Power of all GPUs" in one)
    chosen = query.replace("_total[", '_total{gpu_uuid=~"GPU-two-nodes-.*"}[')
    (power,) = stores.ask(stores.prometheus, chosen, stores.run.end_seconds - 0.5)

    assert 2 * WATTS == pytest.approx(float(power["value"][1]), rel=1e-3)


def decide(url: str, run: TrainingHistory) -> Decision:
    with PrometheusClient(url) as client:
        question = Question(Cost(0.5), Minimum(steps=30, seconds=60.0))
        optimizer = Optimizer(PrometheusHistory(client), question)
        (outcome,) = optimizer.round([run.run], run.end_seconds - 0.5)
    assert () == outcome.errors
    assert outcome.decision is not None
    return outcome.decision


def test_the_optimizer_decides_the_same_from_both_sides(stores: Stores) -> None:
    ours, theirs = (decide(url, stores.run) for url in (stores.prometheus, stores.victoria))
    cost = {watts: at.joules + 300 * at.seconds for watts, at in TRUTH.items()}

    assert (Action.HOLD, min(cost, key=cost.__getitem__)) == (ours.action, ours.power_limit_watts)
    assert (ours.action, ours.power_limit_watts, ours.reason) == (
        theirs.action,
        theirs.power_limit_watts,
        theirs.reason,
    )
    assert len(TRUTH) == len(ours.points) == len(theirs.points)
    for one, other in zip(ours.points, theirs.points, strict=True):
        truth = TRUTH[one.power_limit_watts]
        assert one.steps == pytest.approx(other.steps)
        assert one.joules_per_step == pytest.approx(other.joules_per_step, rel=1e-9)
        assert one.seconds_per_step == pytest.approx(other.seconds_per_step, rel=1e-9)
        assert 2 * truth.joules == pytest.approx(one.joules_per_step, rel=1e-6)


def test_the_instance_is_the_host_and_the_site_arrives_with_the_samples(stores: Stores) -> None:
    stores.wait(stores.victoria, 'joulestat_gpu_up{instance="127.0.0.1"}', "what was scraped")
    shown = stores.ask(stores.victoria, 'joulestat_gpu_up{instance="127.0.0.1"}', time.time())

    assert {("east", "joulestat", "127.0.0.1")} == {
        (one["metric"]["cluster"], one["metric"]["job"], one["metric"]["instance"]) for one in shown
    }


def test_a_federating_prometheus_has_the_results_and_no_run_to_decide_about(
    stores: Stores,
) -> None:
    limits = 'instance:joulestat_gpu_power_limit_watts:sum{instance="127.0.0.1"}'
    stores.wait(stores.above, limits, "a recorded result above")
    (below,) = stores.ask(stores.prometheus, limits, time.time())
    (shown,) = stores.ask(stores.above, limits, time.time())
    names = httpx.get(f"{stores.above}/api/v1/label/__name__/values", trust_env=False).json()
    decision = decide(stores.above, stores.run)

    assert below["metric"] | {"cluster": "east"} == shown["metric"]
    assert below["value"][1] == shown["value"][1]
    assert [] == [name for name in names["data"] if name.startswith("joulestat_")]
    assert (Action.NONE, None) == (decision.action, decision.window)
    assert "" != decision.reason
