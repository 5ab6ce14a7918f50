"""Draws every board with the simulated fleet's twelve hours into docs/img: ``make pictures``.

Ends with status 1, and the names, where a panel finds nothing, fails, or cannot be drawn.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image

from dashboards.fleet_schedule import SCRAPE_SECONDS, STEERED
from dashboards.shown import CHECKOUT, MAY_BE_EMPTY
from pictures.recorded_fleet import recorded_fleet

TOOL = CHECKOUT / ".cache" / "pictures"
IMAGES = CHECKOUT / "docs" / "img"
AT_SECONDS = int(datetime(2026, 11, 20, 18, 20, tzinfo=UTC).timestamp())
"""The last moment in the pictures, always the same, so that only what changed looks different."""
END_SECONDS = AT_SECONDS + 10 * 60
"""The last moment of the history: the run evaluates then, and ten minutes before it trains."""

N_COLORS = 256
CHOSEN = {
    "joulestat-gpu": {"instance": STEERED.gpus[-1][0]},
    "joulestat-optimizer": {"run": STEERED.name},
    "joulestat-run": {"run": STEERED.name},
}
"""By board: what is chosen besides what Grafana would choose by itself."""


@dataclass(frozen=True)
class Picture:
    """One picture to be drawn.

    Attributes:
        board: The board's uid.
        name: The picture's file name in docs/img.
        rows: Titles of the rows that it shows; all where there are none.
    """

    board: str
    name: str
    rows: tuple[str, ...] = ()


PICTURES = (
    *(
        Picture(f"joulestat-{board}", f"board-{board}.png")
        for board in ("fleet", "gpu", "run", "optimizer", "budgets")
    ),
    Picture("joulestat-run", "run-over-time.png", ("So far", "Over time")),
    Picture(
        "joulestat-optimizer",
        "operating-points.png",
        ("Now", "Operating points, since the run began"),
    ),
)


def draw(picture: Picture, prometheus_url: str, destination: Path) -> list[str]:
    """Draw one picture and return what is wrong with it, one line for each panel."""
    command = [
        "node", TOOL / "draw.mjs", CHECKOUT / "dashboards" / f"{picture.board}.json",
        f"--prometheus={prometheus_url}", f"--at={AT_SECONDS}", f"--scrape={SCRAPE_SECONDS}",
        f"--picture={destination}",
        f"--chromium={shutil.which('chromium')}",
        *(f"--row={row}" for row in picture.rows),
        *(f"--var={name}={value}" for name, value in CHOSEN.get(picture.board, {}).items()),
    ]  # fmt: skip
    drawn = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    report: dict[str, Any] = json.loads(drawn.stdout)
    return [
        f"{picture.board} / {panel['title']}: {panel['state']}: {'; '.join(panel['details'])}"
        for panel in report["panels"]
        if panel["state"] != "drawn" and not _may_be(picture.board, panel)
    ] + [f"{picture.board}: the browser complains: {text}" for text in report["complaints"]]


def _may_be(board: str, panel: dict[str, Any]) -> bool:
    """Tell whether a panel only lacks what there is nothing of in the simulated fleet."""
    excused = sum((board, panel["title"]) == place[:2] for place in MAY_BE_EMPTY)
    return panel["state"] == "empty" and len(panel["details"]) <= excused


def shrink(drawn: Path, destination: Path) -> None:
    """Write a picture with few colours, which boards have anyway: a third of the bytes."""
    with Image.open(drawn) as full:
        # Without the rounds of k-means a colour that is rare, as the red of an alert is, gets lost.
        few = full.convert("RGB").quantize(N_COLORS, kmeans=3, dither=Image.Dither.NONE)
    few.save(destination, optimize=True)


def main(names: Sequence[str]) -> int:
    """Draw the named pictures, by default all, and return the exit status."""
    IMAGES.mkdir(exist_ok=True)
    wrong: list[str] = []
    with (
        tempfile.TemporaryDirectory() as scratch,
        recorded_fleet(Path(scratch), END_SECONDS) as prometheus,
    ):
        for picture in PICTURES:
            if names and picture.name.removesuffix(".png") not in names:
                continue
            drawn = Path(scratch) / picture.name
            wrong += draw(picture, prometheus.url, drawn)
            shrink(drawn, IMAGES / picture.name)
            print(f"docs/img/{picture.name}: {(IMAGES / picture.name).stat().st_size:,} bytes")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
