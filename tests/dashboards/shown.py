"""What the boards' files say: their panels, queries and links, as Grafana would read them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]
FILES = sorted((CHECKOUT / "dashboards").glob("*.json"))
RULES = CHECKOUT / "alerts" / "recording.rules.yaml"
ALERT_RULES = sorted({*RULES.parent.glob("*.rules.yaml")} - {RULES})

FEW = "the fleet has no more nodes and runs than are shown by name"

MAY_BE_EMPTY: dict[tuple[str, str, str], str] = {
    ("joulestat-fleet", "Power by node", "B"): FEW,
    ("joulestat-fleet", "Energy per hour", "B"): FEW,
}
"""(board, panel, refId) and why nothing is found."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Shown:
    """One query where it is used.

    Attributes:
        board: The board's uid.
        panel: The panel's title, or the annotation's in brackets.
        ref_id: Which of the panel's queries.
        expr: PromQL with Grafana's variables.
        instant: Whether it is asked for the end of the range alone.
        step: Least distance of points, as Grafana writes it; empty for any.
        legend: The legend's template.
    """

    board: str
    panel: str
    ref_id: str
    expr: str
    instant: bool
    step: str
    legend: str

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f"{self.board} / {self.panel} / {self.ref_id}"


def load(path: Path) -> Json:
    board: Json = json.loads(path.read_text(encoding="utf-8"))
    return board


BOARDS = {path.stem: load(path) for path in FILES}


def panels(board: Json) -> Iterator[Json]:
    """Yield all panels, rows too, and what lies in collapsed rows."""
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels", ())


def graphs(board: Json) -> list[Json]:
    """Return all panels but rows."""
    return [panel for panel in panels(board) if panel["type"] != "row"]


def queries() -> list[Shown]:
    """Return every query of every panel."""
    return [
        Shown(
            uid, panel["title"], target["refId"], target["expr"], target["instant"],
            target.get("interval", ""), target["legendFormat"],
        )
        for uid, board in BOARDS.items()
        for panel in graphs(board)
        for target in panel.get("targets", ())
    ]  # fmt: skip


def annotations() -> list[Shown]:
    """Return the query of every annotation."""
    return [
        Shown(uid, f"[{mark['name']}]", "-", mark["expr"], False, mark["step"], mark["titleFormat"])
        for uid, board in BOARDS.items()
        for mark in board["annotations"]["list"]
        if "expr" in mark
    ]


def links(board: Json) -> list[str]:
    """Return the address of every data link."""
    found: list[str] = []
    for panel in graphs(board):
        config = panel["fieldConfig"]
        found += [link["url"] for link in config["defaults"].get("links", ())]
        for override in config["overrides"]:
            for one in override["properties"]:
                if one["id"] == "links":
                    found += [link["url"] for link in one["value"]]
    return found


def filled_in(text: str, values: Mapping[str, str]) -> str:
    """Put values in the place of variables, longest names first."""
    for name in sorted(values, key=len, reverse=True):
        text = text.replace(f"${{{name}}}", values[name]).replace(f"${name}", values[name])
    return text
