"""Grafana's own models of a dashboard know every key of the boards: read, written, compared."""

import copy
import json
from typing import Any

import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.shown import BOARDS, Json, graphs

NOT_WRITTEN = {".id": "None, which says that the board is new"}
"""Keys that the models know but do not write, and why."""

MISSPELT = [
    ("options", "legend", "displayMod"),
    ("options", "legends"),
    ("fieldConfig", "defaults", "custom", "drawStile"),
    ("fieldConfig", "defaults", "units"),
    ("gridPos", "width"),
    ("descripton",),
]


@pytest.fixture(scope="module", autouse=True)
def panel_types() -> None:
    """Let the models know the options of each panel type."""
    plugins.register_default_plugins()


def keys(value: Any, path: str = "") -> set[str]:
    """Return every key in a document, without the places in lists."""
    if isinstance(value, dict):
        inside = {deeper for key, inner in value.items() for deeper in keys(inner, f"{path}.{key}")}
        return {f"{path}.{key}" for key in value} | inside
    if isinstance(value, list):
        return {deeper for inner in value for deeper in keys(inner, path)}
    return set()


def unknown(board: Json) -> set[str]:
    """Return the keys that Grafana's models lose."""
    kept = json.loads(JSONEncoder().encode(Dashboard.from_json(copy.deepcopy(board))))
    return keys(board) - keys(kept)


@pytest.mark.parametrize("uid", BOARDS)
def test_grafana_knows_every_key_of_a_board(uid: str) -> None:
    assert NOT_WRITTEN.keys() == unknown(BOARDS[uid])


@pytest.mark.parametrize("path", MISSPELT, ids=".".join)
def test_a_misspelt_key_of_a_panel_is_found(path: tuple[str, ...]) -> None:
    board = copy.deepcopy(BOARDS["joulestat-fleet"])
    panel = next(one for one in graphs(board) if one["type"] == "timeseries")
    for key in path[:-1]:
        panel = panel[key]
    panel[path[-1]] = "x"

    assert f".panels.{'.'.join(path)}" in unknown(board)
