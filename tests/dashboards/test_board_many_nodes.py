"""Boards of a fleet with more nodes, GPUs and runs than anybody can tell apart in a graph."""

from collections.abc import Iterator

import httpx
import pytest

from dashboards.fleet_schedule import SCRAPE_SECONDS
from dashboards.shown import Json, Shown, filled_in, queries
from servers.prometheus import PrometheusServer

pytestmark = pytest.mark.prometheus

END_SECONDS = 1_795_198_800
RANGE_SECONDS = 6 * SCRAPE_SECONDS
N_NODES = 30
SERIES = """
up{}
joulestat_gpu_energy_joules_total{gpu="0",gpu_uuid="G#-0"}
joulestat_gpu_energy_joules_total{gpu="1",gpu_uuid="G#-1"}
joulestat_gpu_info{gpu="0",gpu_uuid="G#-0",model="A100"}
joulestat_gpu_info{gpu="1",gpu_uuid="G#-1",model="A100"}
joulestat_gpu_power_limit_enforced_watts{gpu="0",gpu_uuid="G#-0"}
joulestat_gpu_unattributed_energy_joules_total{gpu="0",gpu_uuid="G#-0",reason="idle"}
joulestat_gpu_up{gpu="0",gpu_uuid="G#-0"}
joulestat_gpu_up{gpu="1",gpu_uuid="G#-1"}
joulestat_last_tick_timestamp_seconds{}
joulestat_run_energy_joules_total{run="great",phase="train",power_limit_watts="300"}
joulestat_run_energy_joules_total{run="r#",phase="train",power_limit_watts="300"}
joulestat_run_gpu{run="great",rank="#",gpu="0",gpu_uuid="G#-0"}
joulestat_run_gpu{run="r#",rank="0",gpu="1",gpu_uuid="G#-1"}
joulestat_run_gpu_energy_joules_total{run="great",gpu="0",gpu_uuid="G#-0"}
joulestat_run_last_push_timestamp_seconds{run="great",rank="#"}
joulestat_run_pushes_total{result="accepted"}
joulestat_run_pushes_total{result="duplicate"}
joulestat_run_steps_total{run="great",phase="train",power_limit_watts="300"}
joulestat_tick_errors_total{gpu_uuid="G#-0",call="power",error="timeout"}
"""
"""What each node has; # is its number."""

MOST_SERIES = 22
"""Twenty by name, what others have, and a limit."""

CHOSEN = {
    "__range": f"{RANGE_SECONDS}s",
    "__rate_interval": f"{4 * SCRAPE_SECONDS}s",
    "job": ".+",
    "instance": ".+",
    "run": "great",
}
GRAPHS = [
    shown
    for shown in queries()
    if not shown.instant and shown.board in {"joulestat-fleet", "joulestat-run"}
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    server = PrometheusServer(tmp_path_factory.mktemp("many"))
    server.backfill(many_nodes())
    with server, httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client:
        yield client


def many_nodes() -> str:
    """Return what graphs read of nodes with two GPUs: one of the great run, one of a small one."""
    lines = []
    for node in range(N_NODES):
        target = f'instance="n{node}",job="joulestat"'
        for at in range(END_SECONDS - RANGE_SECONDS, END_SECONDS + 1, SCRAPE_SECONDS):
            # No two nodes are alike, and ever more happens on them.
            grown = (at - END_SECONDS + 2 * RANGE_SECONDS) * (100.0 + node)
            for series in SERIES.split():
                text = (
                    series.replace("}", f",{target}}}").replace("{,", "{").replace("#", str(node))
                )
                value = grown if "_total{" in series else at if "_timestamp_" in series else 1.0
                lines.append(f"{text} {value} {at}")
    return "\n".join([*lines, "# EOF\n"])


def series(client: httpx.Client, shown: Shown) -> list[Json]:
    answer = client.post(
        "/api/v1/query_range",
        data={
            "query": filled_in(shown.expr, CHOSEN),
            "start": END_SECONDS - RANGE_SECONDS,
            "end": END_SECONDS,
            "step": SCRAPE_SECONDS,
        },
    )
    assert answer.is_success, answer.text
    found: list[Json] = answer.json()["data"]["result"]
    return found


def shown_by(board: str, panel: str, ref_id: str) -> Shown:
    return next(
        one for one in GRAPHS if (one.board, one.panel, one.ref_id) == (board, panel, ref_id)
    )


@pytest.mark.parametrize("shown", GRAPHS, ids=lambda shown: shown.place)
def test_a_graph_draws_no_more_lines_than_people_can_tell_apart(
    client: httpx.Client, shown: Shown
) -> None:
    drawn = len(series(client, shown))

    assert 0 < drawn <= MOST_SERIES


@pytest.mark.parametrize("panel", ["Power by node", "Energy per hour"])
def test_what_has_no_line_of_its_own_is_in_the_line_of_the_others(
    client: httpx.Client, panel: str
) -> None:
    named, others = (shown_by("joulestat-fleet", panel, ref_id) for ref_id in "AB")
    everything = named.expr.replace("topk(20,", "topk(1000,")
    assert everything != named.expr

    drawn = series(client, named) + series(client, others)
    all_of_them = series(client, Shown(**(vars(named) | {"expr": everything})))

    assert MOST_SERIES < len(all_of_them)
    assert sum(float(one["values"][-1][1]) for one in all_of_them) == pytest.approx(
        sum(float(one["values"][-1][1]) for one in drawn)
    )
