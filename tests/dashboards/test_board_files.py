"""The boards' files: as the builder makes them, for Grafana to read, and complete."""

import re

import pytest
import yaml

from boards.__main__ import BOARDS as BUILT
from boards.__main__ import FOLDER
from dashboards.shown import (
    BOARDS,
    FILES,
    RULES,
    annotations,
    graphs,
    links,
    panels,
    queries,
)
from joulestat.exposition.catalogue import CATALOGUE, PREFIX

CORE_PANELS = {
    "alertlist", "annolist", "barchart", "bargauge", "candlestick", "canvas", "dashlist",
    "datagrid", "flamegraph", "gauge", "geomap", "heatmap", "histogram", "logs", "news",
    "nodeGraph", "piechart", "row", "stat", "state-timeline", "status-history", "table", "text",
    "timeseries", "traces", "trend", "xychart",
}  # fmt: skip
"""What every Grafana from 10.4 to 13 has without a plugin."""

NOT_OURS = {
    "ALERTS": "Prometheus itself writes it",
    "up": "Prometheus itself writes it",
}

BUILT_IN_VARIABLES = {
    "__all", "__field", "__range", "__rate_interval", "__to", "__url_time_range", "__value",
}  # fmt: skip
VARIABLE = re.compile(r"\$\{?(\w+)")


def test_the_files_are_what_the_builder_makes() -> None:
    built = {board.file_name: board.text() for board in BUILT}
    committed = {path.name: path.read_text(encoding="utf-8") for path in FILES}

    assert built == committed, "run `make boards`, look at the difference, and commit it"
    assert FOLDER == FILES[0].parent


@pytest.mark.parametrize("uid", BOARDS)
def test_a_board_can_be_provisioned_from_a_file(uid: str) -> None:
    board = BOARDS[uid]

    assert (uid, None, 39, False) == (
        board["uid"],
        board["id"],
        board["schemaVersion"],
        board["editable"],
    )
    # File provisioning never fills in ${DS_...}: every panel would say "No data".
    assert not {"__inputs", "__requires", "__elements"} & board.keys()
    assert "joulestat" in board["tags"]


@pytest.mark.parametrize("uid", BOARDS)
def test_panels_are_told_apart_and_named_once(uid: str) -> None:
    ids = [panel["id"] for panel in panels(BOARDS[uid])]
    titles = [panel["title"] for panel in graphs(BOARDS[uid])]

    assert sorted(set(ids)) == sorted(ids)
    for panel in graphs(BOARDS[uid]):
        refs = [target["refId"] for target in panel.get("targets", ())]
        assert sorted(set(refs)) == refs, panel["title"]
    assert sorted(set(titles)) == sorted(titles)


@pytest.mark.parametrize("uid", BOARDS)
def test_panels_lie_inside_the_grid_and_beside_each_other(uid: str) -> None:
    board = BOARDS[uid]
    groups = [board["panels"], *(row["panels"] for row in panels(board) if row.get("panels"))]
    for group in groups:
        taken: dict[tuple[int, int], str] = {}
        for panel in group:
            place = panel["gridPos"]
            assert place["x"] + place["w"] <= 24, panel["title"]
            for x in range(place["x"], place["x"] + place["w"]):
                for y in range(place["y"], place["y"] + place["h"]):
                    assert taken.setdefault((x, y), panel["title"]) == panel["title"]


def test_panels_are_of_kinds_that_every_grafana_has() -> None:
    kinds = {panel["type"] for board in BOARDS.values() for panel in panels(board)}

    assert set() == kinds - CORE_PANELS


def test_every_link_leads_to_a_board_and_to_variables_that_it_has() -> None:
    found = [url for board in BOARDS.values() for url in links(board)]
    assert found
    for url in found:
        matched = re.fullmatch(r"/d/([\w-]+)\?\$\{datasource:queryparam\}(.*)", url)
        assert matched, url
        target = BOARDS[matched[1]]
        names = {variable["name"] for variable in target["templating"]["list"]}
        assert set(re.findall(r"&var-(\w+)=", matched[2])) <= names, url


def test_every_link_keeps_the_time_range() -> None:
    found = [url for board in BOARDS.values() for url in links(board)]

    assert [] == [url for url in found if not url.endswith("&${__url_time_range}")]


def test_the_boards_list_each_other_and_keep_what_was_chosen() -> None:
    for board in BOARDS.values():
        (related,) = board["links"]
        assert (True, True, ["joulestat"]) == (
            related["includeVars"],
            related["keepTime"],
            related["tags"],
        )


@pytest.mark.parametrize("uid", BOARDS)
def test_variables_that_are_used_exist_and_those_that_exist_are_used(uid: str) -> None:
    board = BOARDS[uid]
    defined = {variable["name"] for variable in board["templating"]["list"]}
    shown = {key: value for key, value in board.items() if key != "annotations"}
    marks = [mark for mark in board["annotations"]["list"] if "expr" in mark]
    used = set(VARIABLE.findall(str([shown, marks]))) - BUILT_IN_VARIABLES

    assert defined == {name for name in used if not name.isdigit()}  # $1: of label_replace


def test_every_metric_is_one_that_the_exporter_or_a_rule_makes() -> None:
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    recorded = {rule["record"] for group in rules["groups"] for rule in group["rules"]}
    known = {PREFIX + name for name in CATALOGUE} | recorded | NOT_OURS.keys()
    definitions = [
        variable["definition"]
        for board in BOARDS.values()
        for variable in board["templating"]["list"][1:]
    ]
    asked = [shown.expr for shown in [*queries(), *annotations()]]
    used = {name for text in [*asked, *definitions] for name in metrics(text)}

    assert set() == used - known
    assert set() == NOT_OURS.keys() - used


def metrics(text: str) -> set[str]:
    """Return every name in a query that has our prefix, a colon or a selector."""
    names = set(re.findall(r"[a-zA-Z_][\w:]*(?=\{)", text))
    names |= set(re.findall(r"\bjoulestat_\w+|\w+:joulestat_[\w:]+", text))
    return names - {name.rpartition(":")[2] for name in names if ":" in name}
