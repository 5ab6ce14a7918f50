"""Nothing that is pushed breaks a scrape, changes the energy of a GPU, grows, or forges a log line.

``make fuzz`` sends a million pushes, ``make test`` some hundred.
"""

import json
import logging
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fakes.patience import eventually
from fakes.quick_disk import quick_folder
from fakes.scripted_server import ScriptedServer
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.runs.codec import device_to_document, run_to_document
from properties.hostile_pushes import ODD_TEXTS, HostilePushes
from properties.pushed_node import (
    N_GPUS,
    TICKS_PER_SECOND,
    ForgedLine,
    PushedNode,
    n_series,
    own_lines,
    pushed_node,
)
from servers.program import program
from servers.prometheus import PrometheusServer

PUSHES = int(os.environ.get("PUSHES", "600"))
BATCH = min(PUSHES, 1_000)
CHECKS_BY_PROMTOOL = 50
MEMORY_SHOWS = PUSHES >= 100_000
MOST_GROWTH_MIB = 10.0
SEED = 20_261_125

LIMITED = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: joulestat
    label_limit: 20
    label_name_length_limit: 64
    label_value_length_limit: 128
    body_size_limit: 4MB
    static_configs: [{{targets: ["{target}"]}}]
"""
"""With one label too many or too long, or too long a page, a whole scrape fails."""

N_PHASES = 4
N_LIMIT_LABELS = 3
"""The GPUs here stand at one limit; besides there are ``transition`` and ``mixed``."""


def most_series(node: PushedNode) -> int:
    """Return how many series of runs there can be on this node, whatever is pushed."""
    policy = node.pushed.ledger.policy
    # run_info, start, end, budget and planned steps; steps, seconds, joules, samples and tokens.
    by_run = 5 + 5 * N_PHASES * N_LIMIT_LABELS + N_GPUS
    claims = policy.max_ranks * N_GPUS
    pushed_last = policy.max_ranks + policy.max_ended_ranks
    # Between two looks, a second apart, ranks may end that were live.
    ended_since = TICKS_PER_SECOND * policy.max_ranks
    return 2 * policy.max_runs * by_run + claims + pushed_last + ended_since


@pytest.fixture
def node() -> Iterator[PushedNode]:
    with quick_folder() as folder, pushed_node(folder) as node:
        yield node


@pytest.fixture
def log() -> Iterator[ForgedLine]:
    """Looks at every line that is logged meanwhile."""
    handler, root = ForgedLine(), logging.getLogger()
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def growth_mib(sizes: list[float]) -> float:
    """Return by how much memory grew over the second half, along the straight line through it."""
    half = sizes[len(sizes) // 2 :]
    middle = (len(half) - 1) / 2
    mean = sum(half) / len(half)
    spread = sum((i - middle) ** 2 for i in range(len(half)))
    slope = sum((i - middle) * (size - mean) for i, size in enumerate(half)) / spread
    return slope * len(half)


def check_by_promtool(page: str) -> None:
    """Let Prometheus' own parser and linter judge a page."""
    checked = subprocess.run(
        [program("promtool"), "check", "metrics"],
        input=page.encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (0, b"") == (checked.returncode, checked.stderr)


def check_page(node: PushedNode, *, by_promtool: bool) -> int:
    """Insist that the page is a good one, and the GPUs' own as without pushes; count series."""
    page, without = node.pushed.page(), node.twin.page()
    assert own_lines(without) == own_lines(page)
    parsed = [
        (sample.name, *sorted(sample.labels.items()))
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    ]
    assert n_series(page) == len(parsed) == len(set(parsed))
    for _, *labels in parsed:
        assert len(labels) <= 20
        assert all(len(value.encode()) <= 128 for _, value in labels)
    most = n_series(without) + most_series(node)
    assert len(parsed) <= most
    if by_promtool:
        check_by_promtool(page)
    return len(parsed)


def check_books(node: PushedNode) -> None:
    """Insist that what is remembered is bounded, and that no microjoule is lost or made."""
    ledger = node.pushed.ledger
    live = [run for run in ledger.runs.values() if run.end_seconds is None]
    assert len(live) <= ledger.policy.max_runs
    assert sum(len(run.live_ranks()) for run in live) <= ledger.policy.max_ranks
    n_ended = sum(not book.live for run in ledger.runs.values() for book in run.ranks.values())
    assert n_ended <= ledger.policy.max_ended_ranks
    assert len(ledger.runs) <= ledger.policy.max_runs + ledger.policy.max_ended
    for device in ledger.devices.values():
        account, total_uj = device.account, device.curve.end_uj
        known_uj = account.credited_uj + sum(account.unattributed_uj.values())
        assert total_uj == known_uj + account.pending_uj(total_uj)


@pytest.mark.prometheus
@pytest.mark.promise("push-harmless", "push-bounded")
def test_whatever_is_pushed_the_page_stays_good_and_the_gpus_energy_what_it_is(
    node: PushedNode, log: ForgedLine, record_property: Any
) -> None:
    hostile = HostilePushes(SEED, node.backend.world.uuids)
    sizes: list[float] = []
    series: list[int] = []
    n_batches = PUSHES // BATCH
    for batch in range(n_batches):
        for _ in range(TICKS_PER_SECOND):
            now_ns = node.clock.monotonic_ns()
            node.push_all(hostile.next(now_ns) for _ in range(BATCH // TICKS_PER_SECOND))
            node.tick()
        if batch % 100 == 99:  # all fall silent: what is live ends, and the next ones come
            node.let_pass(61)
        node.flush()
        by_promtool = batch % max(1, n_batches // CHECKS_BY_PROMTOOL) == 0
        series.append(check_page(node, by_promtool=by_promtool))
        check_books(node)
        sizes.append(resident_mib())

    answered = {int(status): count for status, count in sorted(node.statuses.items())}
    assert set(answered) <= {200, 400, 409, 413, 415, 422, 429}
    assert answered[200] > PUSHES / 20
    assert not node.pushed.history.failures
    said = (
        f"{sum(answered.values()):,} pushes, of which {answered[200]:,} were taken: no bad page, "
        f"no other energy, at most {max(series):,} series, {log.n_records} log records"
    )
    if MEMORY_SHOWS:
        grown_mib = growth_mib(sizes)
        said += f"; memory {grown_mib:+.1f} MiB over the second half"
        assert grown_mib < MOST_GROWTH_MIB
    record_property("measured", said)


def state_of(node: PushedNode) -> dict[str, Any]:
    """Return all that the exporter remembers, but the count of refused pushes."""
    ledger = node.pushed.ledger
    return {
        "runs": {name: run_to_document(run) for name, run in ledger.runs.items()},
        "devices": {uuid: device_to_document(each) for uuid, each in ledger.devices.items()},
        "budgets": dict(ledger.budgets.record),
        "pushes": {result: n for result, n in ledger.pushes.items() if result != "rejected"},
        "adjusted": ledger.adjusted,
        "dirty": sorted(ledger.dirty),
        "page": node.pushed.page(),
    }


@pytest.mark.promise("push-no-trace")
def test_a_refused_push_leaves_one_counter_and_nothing_else(
    node: PushedNode, record_property: Any
) -> None:
    hostile = HostilePushes(SEED + 1, node.backend.world.uuids)
    n_refused: dict[int, int] = {}
    for round_number in range(max(100, min(PUSHES // 20, 1_000))):
        node.push_all(hostile.next(node.clock.monotonic_ns()) for _ in range(3))
        if round_number % 10 == 0:
            node.tick()
        before, refused_before = state_of(node), node.pushed.ledger.pushes["rejected"]
        (status,) = node.push_all([hostile.next(node.clock.monotonic_ns())])
        if status != 200:
            n_refused[status] = n_refused.get(status, 0) + 1
            assert refused_before + 1 == node.pushed.ledger.pushes["rejected"]
            assert before == state_of(node)

    refused = sum(n_refused.values())
    assert {422, 400} <= set(n_refused)
    record_property("measured", f"{refused:,} refusals of every kind: state and page the same")


@pytest.mark.promise("push-no-trace")
def test_the_page_after_refused_pushes_differs_by_their_count_alone(node: PushedNode) -> None:
    hostile = HostilePushes(SEED + 2, node.backend.world.uuids)
    node.push_all(hostile.next(node.clock.monotonic_ns()) for _ in range(300))
    node.tick()
    before = node.pushed.page().splitlines()
    bad = [body for body, _ in (hostile.next(0) for _ in range(200)) if not is_json_object(body)]
    # A wrong value may be found before what makes the rest no JSON.
    assert {400, 422} >= set(node.push_all((body, "application/json") for body in bad))
    node.pushed.sampler.tick()  # no time has passed
    after = node.pushed.page().splitlines()

    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    counted = [b for _, b in changed if not b.startswith("joulestat_tick_duration_seconds")]
    (line,) = counted
    assert line.startswith('joulestat_run_pushes_total{result="rejected"} ')


def is_json_object(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


@pytest.mark.prometheus
@pytest.mark.promise("push-harmless")
def test_prometheus_scrapes_the_page_under_the_limits_that_operators_set(
    node: PushedNode, tmp_path: Path, record_property: Any
) -> None:
    hostile = HostilePushes(SEED + 3, node.backend.world.uuids)
    for _ in range(TICKS_PER_SECOND):
        node.push_all(hostile.next(node.clock.monotonic_ns()) for _ in range(150))
        node.tick()
    page = node.pushed.page()
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
    body = page.encode()
    answer = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    with ScriptedServer(lambda *_: answer) as exporter:
        config = LIMITED.format(target=exporter.url.removeprefix("http://"))
        with (
            PrometheusServer(tmp_path / "p", config=config) as server,
            PrometheusClient(server.url) as client,
        ):
            assert eventually(lambda: bool(client.query("up", None)), within_seconds=30.0)
            (up,) = client.query("up", None)
            (scraped,) = client.query("scrape_samples_scraped", None)

    assert (1.0, float(n_series(page))) == (up.value, scraped.value)
    record_property("measured", f"up == 1 under label limits, {n_series(page):,} samples")


def test_no_text_makes_two_lines_of_one_log_record() -> None:
    rng = random.Random(SEED)
    # Of its own, because nobody else may see this: no encoding can carry it to another process.
    log, logger = ForgedLine(), logging.Logger("fuzz")  # noqa: LOG001 - see above
    logger.addHandler(log)
    for _ in range(PUSHES // 10):
        text = "".join(
            chr(rng.choice((rng.randrange(256), rng.randrange(0x110000)))) for _ in "12345678"
        )
        logger.warning("event=said text=%s quoted=%r", text + rng.choice(ODD_TEXTS), text)

    assert PUSHES // 10 == log.n_records
