"""The exporter's own history over HTTP: what the file holds, in pages, and nothing later."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from fakes.admin import AdminRig, admin_rig
from fakes.histories import BEGIN_SECONDS, KeptNode
from joulestat.runs.history.reader import HistoryReader


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[AdminRig]:
    with admin_rig(tmp_path) as rig:
        yield rig


@pytest.fixture
def kept(rig: AdminRig, tmp_path: Path) -> Iterator[KeptNode]:
    """A history of a minute, served by the rig."""
    folder = tmp_path / "kept"
    folder.mkdir()
    node = KeptNode(folder)
    node.look(0)
    node.begin("r", 0.5)
    node.train("r", range(1, 61))
    node.keeper.flush()
    rig.app = rig.application(history=HistoryReader(node.path, rows_per_page=200))
    yield node
    node.keeper.close()


def test_a_run_is_answered_as_the_file_has_it(rig: AdminRig, kept: KeptNode) -> None:
    end = BEGIN_SECONDS + 44

    answer = rig.ask("GET", f"/v1/history?run=r&end={end}&start={BEGIN_SECONDS + 10}&window=30")

    page = HistoryReader(kept.path).history("r", BEGIN_SECONDS + 10, end, 30.0)
    assert (200, json.loads(json.dumps(asdict(page)))) == (answer.status, answer.json())
    assert 44 == sum(row["steps"] for row in answer.json()["rows"])


def test_runs_are_listed_as_the_file_has_them(rig: AdminRig, kept: KeptNode) -> None:
    answer = rig.ask("GET", f"/v1/history/runs?at={BEGIN_SECONDS + 60}")

    assert ["r"] == [run["run"] for run in answer.json()["runs"]]
    later = rig.ask("GET", f"/v1/history/runs?at={BEGIN_SECONDS + 60}&after=r").json()
    assert [] == later["runs"]


def test_without_a_moment_now_is_meant(rig: AdminRig, kept: KeptNode) -> None:
    # Rows of a window that goes on later are not of now.
    rig.clock.step_wall(BEGIN_SECONDS + 29 - rig.clock.wall_seconds())

    assert 29 == sum(row["steps"] for row in rig.ask("GET", "/v1/history?run=r").json()["rows"])


def test_an_unknown_run_is_null_and_no_error(rig: AdminRig, kept: KeptNode) -> None:
    answer = rig.ask("GET", "/v1/history?run=nobody")

    assert (200, None, []) == (answer.status, answer.json()["run"], answer.json()["rows"])


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "run"),
        ("run=", "run"),
        ("run=" + "x" * 65, "run"),
        ("run=a&run=b", "run"),
        ("run=r&end=now", "end"),
        ("run=r&end=-1", "end"),
        ("run=r&end=1e9", "end"),
        ("run=r&end=1795000000000", "end"),
        ("run=r&start=nan", "start"),
        ("run=r&window=1", "window"),
        ("run=r&window=100000", "window"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(
    rig: AdminRig, kept: KeptNode, query: str, field: str
) -> None:
    answer = rig.ask("GET", f"/v1/history?{query}")

    assert (422, field) == (answer.status, answer.json()["field"])


def test_an_exporter_that_keeps_none_says_so(rig: AdminRig) -> None:
    app = rig.application(history=None)

    for path in ("/v1/history?run=r", "/v1/history/runs"):
        answer = rig.ask("GET", path, app=app)
        assert 404 == answer.status
        assert "history.retention" in answer.json()["detail"]


def test_a_file_that_cannot_be_read_is_said_and_no_crash(rig: AdminRig, tmp_path: Path) -> None:
    app = rig.application(history=HistoryReader(tmp_path / "nowhere.sqlite"))

    answer = rig.ask("GET", "/v1/history/runs", app=app)

    assert 503 == answer.status
    assert "cannot be read" in answer.json()["detail"]
