"""The energy of runs whose truth is known, read back from real servers."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from joulestat.domain.errors import HistoryError
from joulestat.optimizer.history.prometheus import PrometheusHistory
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.history.query_record import QueryRecord
from joulestat.optimizer.history.selector import equals
from joulestat.report.energy import EnergyReader
from joulestat.report.facts import RunEnergy
from joulestat.report.growth import by_hour
from servers import victoria
from servers.known_reports import (
    DAY,
    FORGOTTEN,
    FORGOTTEN_PAIR,
    HOSTILE,
    LAST_YEAR,
    LIVE,
    LONG,
    LOTS,
    MONTHS,
    NODES,
    PLAIN,
    RESUMED,
    RUNS,
    TRAINED,
    TRAINED_TWICE,
    WATTS,
)
from servers.prometheus import PrometheusServer
from servers.reported_run import ReportedRun, openmetrics

pytestmark = pytest.mark.prometheus

EXACT = 1e-12
"""Sums of a few floats."""


@pytest.fixture(scope="module", params=["prometheus", "victoria"])
def client(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrometheusClient]:
    """Ask one server that holds all runs at once."""
    folder = tmp_path_factory.mktemp(request.param)
    lots = [openmetrics(*runs) for runs in LOTS]
    if request.param == "victoria":
        if victoria.missing():
            pytest.skip(victoria.missing())
        with victoria.VictoriaServer(folder) as other, PrometheusClient(other.url) as client:
            for lot in lots:
                other.import_openmetrics(lot)
            other.flush()
            yield client
        return
    server = PrometheusServer(folder)
    for lot in lots:
        server.backfill(lot)
    with server, PrometheusClient(server.url) as client:
        yield client


def read(client: PrometheusClient, run: ReportedRun, later: float = 3_000.0) -> RunEnergy:
    found = EnergyReader(client).read(run.run, run.end_seconds + later)
    assert found is not None
    return found[0]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.run)
def test_every_gpu_has_the_joules_that_were_credited_to_it(
    client: PrometheusClient, run: ReportedRun
) -> None:
    energy = read(client, run)

    assert run.joules() == pytest.approx(
        {gpu.gpu_uuid: gpu.joules for gpu in energy.gpus}, rel=EXACT
    )
    assert () == energy.problems


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.run)
def test_phases_and_times_add_up_to_the_same_energy(
    client: PrometheusClient, run: ReportedRun
) -> None:
    energy = read(client, run)
    truth = sum(run.joules().values())

    assert truth == pytest.approx(sum(portion.joules for portion in energy.portions), rel=EXACT)
    assert {"train": 0.6 * truth, "eval": 0.4 * truth} == pytest.approx(
        dict(energy.joules_by_phase), rel=EXACT
    )
    assert all(p.start_seconds <= p.end_seconds for p in energy.portions)


@pytest.mark.parametrize("run", [TRAINED, TRAINED_TWICE], ids=lambda run: run.run)
def test_it_is_the_energy_that_the_optimizer_counts(
    client: PrometheusClient, run: ReportedRun
) -> None:
    history = PrometheusHistory(client).read(run.run, run.end_seconds + 30)

    assert sum(item.joules for item in history.slices) == pytest.approx(
        read(client, run).joules, rel=EXACT
    )


def test_many_nodes_are_asked_for_together(client: PrometheusClient) -> None:
    records: list[QueryRecord] = []
    url = client.place
    with PrometheusClient(url, on_query=records.append, monotonic=time.monotonic) as counting:
        read(counting, NODES)

    energies = [r for r in records if "joulestat_run_energy_joules_total" in r.expression]
    assert 1 == len(energies)
    assert len(records) <= 15


def test_gpus_stand_by_node_and_then_by_index(client: PrometheusClient) -> None:
    assert [(f"{node}:10400", str(index)) for node in "bcd" for index in range(2)] == [
        (gpu.node, gpu.gpu) for gpu in read(client, NODES).gpus
    ]
    assert {"Simulated GPU"} == {gpu.model for gpu in read(client, NODES).gpus}


def test_an_hour_has_what_was_drawn_in_it(client: PrometheusClient) -> None:
    energy = read(client, LONG)
    hours = by_hour(energy.portions)
    full = [joules for at, joules in hours.items() if _is_whole(at)]

    assert 40 < len(full)
    # Scrapes are two minutes apart, and so may the edges of an hour be.
    assert [3_600 * 2 * sum(WATTS)] * len(full) == pytest.approx(full, rel=0.04)
    assert energy.joules == pytest.approx(sum(hours.values()), rel=EXACT)


def _is_whole(at_seconds: float) -> bool:
    """Tell whether the run drew power in all of an hour."""
    since = at_seconds - LONG.start_seconds
    return 0 <= since < 2 * DAY - 3_600 and not DAY - 3_600 <= since <= DAY + 90


@pytest.mark.parametrize("run", [LIVE, PLAIN], ids=lambda run: run.run)
def test_of_the_past_nothing_later_is_known(client: PrometheusClient, run: ReportedRun) -> None:
    energy = read(client, run, later=-450.0)

    assert sum(WATTS) * 445.4 == pytest.approx(energy.joules, rel=EXACT)
    assert not energy.ended
    assert run.start_seconds + 445.4 == pytest.approx(energy.end_seconds)


def test_an_ended_run_has_its_own_end(client: PrometheusClient) -> None:
    for run in (PLAIN, NODES, FORGOTTEN, RESUMED):
        energy = read(client, run)
        assert (True, run.end_seconds) == (energy.ended, energy.end_seconds)
        assert run.start_seconds == energy.start_seconds


def test_a_run_of_last_year_is_found_without_saying_when_it_was(client: PrometheusClient) -> None:
    found = EnergyReader(client).read("last-year", PLAIN.end_seconds)

    assert found is not None
    assert sum(LAST_YEAR.joules().values()) == pytest.approx(found[0].joules, rel=EXACT)


def test_a_run_that_began_before_the_month_that_is_searched_first_is_read_from_its_birth(
    client: PrometheusClient,
) -> None:
    assert 30 * DAY < MONTHS.end_seconds - MONTHS.start_seconds

    energy = read(client, MONTHS)

    assert MONTHS.start_seconds == energy.start_seconds
    assert sum(MONTHS.joules().values()) == pytest.approx(energy.joules, rel=EXACT)
    assert sum(WATTS) == pytest.approx(max(by_hour(energy.portions).values()) / 3_600, rel=0.01)


@pytest.mark.parametrize("run", [FORGOTTEN, FORGOTTEN_PAIR, RESUMED], ids=lambda run: run.run)
def test_what_was_begun_earlier_is_left_out_if_asked_for(
    client: PrometheusClient, run: ReportedRun
) -> None:
    last = run.nodes[0].lives[-1]
    alone = replace(run, nodes=[replace(run.nodes[0], lives=[last])])
    since = run.start_seconds + last.begin_seconds
    found = EnergyReader(client).read(run.run, run.end_seconds + 3_000, since)

    assert found is not None
    assert alone.joules() == pytest.approx({g.gpu_uuid: g.joules for g in found[0].gpus}, rel=EXACT)
    assert (since,) == found[0].births_seconds
    assert sum(alone.joules().values()) == pytest.approx(
        sum(portion.joules for portion in found[0].portions), rel=EXACT
    )
    assert EnergyReader(client).read(run.run, run.end_seconds + 3_000, since + 1) is None


def test_how_often_it_was_begun_is_told(client: PrometheusClient) -> None:
    begun = [life.begin_seconds for life in FORGOTTEN.nodes[0].lives]

    assert begun == [at - FORGOTTEN.start_seconds for at in read(client, FORGOTTEN).births_seconds]
    assert 1 == len(read(client, NODES).births_seconds)


def test_a_name_shaped_like_a_query_selects_its_own_run_alone(client: PrometheusClient) -> None:
    found = EnergyReader(client).read('x"} or {run=~".*', HOSTILE.end_seconds + 60)

    assert found is not None
    assert list(HOSTILE.joules()) == [gpu.gpu_uuid for gpu in found[0].gpus]


def test_a_label_selects_one_of_two_runs_of_one_name(client: PrometheusClient) -> None:
    reader = EnergyReader(client, [equals("instance", "c:10400")])
    found = reader.read("nodes", NODES.end_seconds + 60)

    assert found is not None
    assert ["GPU-c-0", "GPU-c-1"] == [gpu.gpu_uuid for gpu in found[0].gpus]


@pytest.mark.parametrize("name", ["", ".*", "no-such-run"])
def test_a_run_that_nobody_has_is_none(client: PrometheusClient, name: str) -> None:
    assert EnergyReader(client).read(name, PLAIN.end_seconds) is None


def test_a_run_whose_gpus_are_not_stored_is_an_error_and_not_nothing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    server = PrometheusServer(tmp_path_factory.mktemp("relabelled"))
    kept = [line for line in openmetrics(PLAIN).splitlines() if "run_gpu_energy" not in line]
    server.backfill("\n".join([*kept, ""]))
    missing = pytest.raises(HistoryError, match="no joulestat_run_gpu_energy_joules_total of run")
    with server, PrometheusClient(server.url) as client, missing:
        EnergyReader(client).read("plain", PLAIN.end_seconds)


def test_a_run_that_was_only_begun_took_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = PrometheusServer(tmp_path_factory.mktemp("begun"))
    kept = [line for line in openmetrics(PLAIN).splitlines() if "energy" not in line]
    server.backfill("\n".join([*kept, ""]))
    with server, PrometheusClient(server.url) as client:
        energy = read(client, PLAIN)

    assert ((), 0, {}, ()) == (
        energy.gpus,
        energy.joules,
        energy.joules_by_phase,
        energy.portions,
    )


def test_series_that_are_missing_are_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = PrometheusServer(tmp_path_factory.mktemp("part"))
    kept = [line for line in openmetrics(PLAIN).splitlines() if 'phase="eval"' not in line]
    server.backfill("\n".join([*kept, ""]))
    with server, PrometheusClient(server.url) as client:
        (problem,) = read(client, PLAIN).problems

    assert "some series of the run are missing" in problem
