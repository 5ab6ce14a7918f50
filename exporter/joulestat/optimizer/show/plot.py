"""A decision as a picture: PNG or SVG, the same bytes for the same decision.

Importing this takes matplotlib, half a second: only what draws imports it.
"""

import io
import textwrap
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from joulestat.domain.plan import Decision
from joulestat.optimizer.history.facts import RunHistory
from joulestat.optimizer.show.panels import (
    ENERGY,
    INK,
    LIMIT,
    MUTED,
    TIME,
    draw_limits,
    draw_over_time,
    draw_points,
    name_limits,
    name_time,
)
from joulestat.optimizer.show.picture_file import picture_format
from joulestat.optimizer.show.timeline import Stay, stays_of
from joulestat.optimizer.show.wording import printable, verdict

_SETTINGS: Any = {
    # Text stays text: it can be read aloud, searched and shown in the reader's fonts.
    "svg.fonttype": "none",
    # Names of clip paths come from this and what they name, not from chance.
    "svg.hashsalt": "joulestat",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "axes.formatter.use_mathtext": False,
}
_METADATA: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None}}
_DOTS_PER_INCH = 130
_WHOLE_INCHES = (12.0, 9.5)
_REASON_COLUMNS = 130
_MOST_REASON_LINES = 3


@dataclass(frozen=True, slots=True)
class Picture:
    """One drawing for a page.

    Attributes:
        title: What it shows, for its caption.
        alt: What is to be seen in it, for who does not see it.
        svg: The drawing as matplotlib writes it.
    """

    title: str
    alt: str
    svg: str


def plot(decision: Decision, history: RunHistory | None = None) -> Figure:
    """Return everything in one picture.

    Args:
        decision: What was measured and chosen.
        history: What the run did over time; None leaves these panels out.
    """
    stays = stays_of(history.slices) if history is not None else []
    with mpl.rc_context(_SETTINGS):
        figure = Figure(
            figsize=_WHOLE_INCHES if stays else (_WHOLE_INCHES[0], 5.0),
            layout="constrained",
            facecolor="white",
        )
        reason = textwrap.wrap(printable(decision.reason), _REASON_COLUMNS)[:_MOST_REASON_LINES]
        title = f"{printable(decision.run)}: {verdict(decision)}"
        figure.suptitle(
            "\n".join([textwrap.shorten(title, _REASON_COLUMNS, placeholder=" ..."), *reason]),
            x=0.01,
            ha="left",
            fontsize="large",
        )
        above, *below = figure.subfigures(2 if stays else 1, 1, squeeze=False).flat
        frontier, energy, time = above.subplots(1, 3)
        _frontier(frontier, decision)
        draw_points(energy, decision, LIMIT, ENERGY)
        draw_points(time, decision, LIMIT, TIME)
        for half in below:
            _over_time(half, decision, stays)
    return figure


def save_plot(decision: Decision, history: RunHistory | None, path: Path) -> None:
    """Write the picture; the end of the name says whether PNG or SVG.

    Raises:
        ConfigError: The name ends in neither.
        OSError: The file cannot be written.
    """
    kind = picture_format(path)
    # Drawn as a whole before the file is touched.
    path.write_bytes(_drawn(plot(decision, history), kind))


def pictures(decision: Decision, history: RunHistory | None) -> list[Picture]:
    """Return drawings for a page, each narrow enough for a phone; none where nothing is known."""
    stays = stays_of(history.slices) if history is not None else []
    drawn = []
    if decision.points or decision.thin:
        n_limits = len(decision.points) + len(decision.thin)
        measured = f"{n_limits} measured power limits; {verdict(decision)}"
        drawn.append(
            Picture(
                "Energy per step against time per step",
                f"Energy per step against time per step at {measured}. "
                "Further left is faster, further down takes less energy.",
                _svg((5.2, 4.4), lambda figure: _frontier(figure.subplots(), decision)),
            )
        )
        drawn.append(
            Picture(
                "Both against the power limit",
                f"Energy and time per step against the power limit, with 95 % intervals, at "
                f"{measured}.",
                _svg((5.2, 4.4), lambda figure: _against_limit(figure, decision)),
            )
        )
    if stays:
        drawn.append(
            Picture(
                "History",
                f"The power limit, energy per step and time per step over time, with "
                f"{len(stays) - 1} changes of the limit.",
                _svg((5.2, 4.6), lambda figure: _over_time(figure, decision, stays)),
            )
        )
    return drawn


def _frontier(axes: Any, decision: Decision) -> None:
    draw_points(axes, decision, TIME, ENERGY)
    name_limits(axes, decision)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            fontsize="small",
            frameon=False,
            labelcolor=MUTED,
            loc="best",
            markerscale=0.7,
            labelspacing=0.6,
        )


def _against_limit(figure: Any, decision: Decision) -> None:
    energy, time = figure.subplots(2, 1, sharex=True)
    draw_points(energy, decision, LIMIT, ENERGY)
    draw_points(time, decision, LIMIT, TIME)
    energy.set_xlabel("")


def _over_time(figure: Any, decision: Decision, stays: Sequence[Stay]) -> None:
    limits, energy, time = figure.subplots(3, 1, sharex=True)
    draw_limits(limits, decision, stays)
    draw_over_time(energy, decision, stays, ENERGY)
    draw_over_time(time, decision, stays, TIME)
    name_time(time)


def _svg(size_inches: tuple[float, float], draw: Callable[[Figure], None]) -> str:
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=size_inches, layout="constrained", facecolor="none")
        draw(figure)
    return _drawn(figure, "svg").decode()


def _drawn(figure: Figure, kind: str) -> bytes:
    drawn = io.BytesIO()
    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        # A name in a script that the font lacks: an SVG shows it all the same, a PNG a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(drawn, format=kind, dpi=_DOTS_PER_INCH, metadata=_METADATA[kind])
    return drawn.getvalue()
