"""What the admin API answers becomes the records that the file would have given."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from fakes.histories import BEGIN_SECONDS, KeptNode
from joulestat.runs.history.documents import record_from
from joulestat.runs.history.reader import HistoryReader
from joulestat.runs.history.records import HistoryPage, RunsPage


@pytest.fixture
def node(tmp_path: Path) -> KeptNode:
    node = KeptNode(tmp_path)
    node.look(0)
    node.begin("r", 0.5)
    return node


def test_a_record_is_the_same_after_json(node: KeptNode) -> None:
    node.train("r", range(1, 40))
    node.keeper.flush()
    reader = HistoryReader(node.path)
    page = reader.history("r", 0.0, BEGIN_SECONDS + 40)
    runs = reader.runs(BEGIN_SECONDS + 40)

    assert page == record_from(HistoryPage, json.loads(json.dumps(asdict(page))))
    assert runs == record_from(RunsPage, json.loads(json.dumps(asdict(runs))))


@pytest.mark.parametrize(
    "break_it",
    [
        lambda page: page.pop("rows"),
        lambda page: page.update(rows={}),
        lambda page: page.update(is_held=1),
        lambda page: page["rows"][0].update(steps="7"),
        lambda page: page["rows"][0].update(steps=7.5),
        lambda page: page["node"].update(tariff=None),
    ],
)
def test_an_answer_of_another_shape_is_refused(
    node: KeptNode, break_it: Callable[[dict[str, Any]], Any]
) -> None:
    node.train("r", [1])
    node.keeper.flush()
    document = json.loads(json.dumps(asdict(HistoryReader(node.path).history("r", 0.0, 2e9))))
    break_it(document)

    with pytest.raises(ValueError, match=r"(HistoryPage|RowRecord|Tariff)"):
        record_from(HistoryPage, document)
