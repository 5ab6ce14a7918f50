"""The panels of a decision's picture, each drawn on axes that are given."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num

from joulestat.domain.plan import Decision, FittedPoint, OperatingPoint
from joulestat.optimizer.show.saving import at_limit, reference_point
from joulestat.optimizer.show.timeline import Moment, Stay
from joulestat.optimizer.show.wording import Z_95

PAPER = "#ffffff"
INK = "#1b1f24"
MUTED = "#66707c"
GRID = "#dfe3e8"
FIT = "#2b6cb0"
CHOSEN = "#16794a"
REFERENCE = "#b45309"
BOUND = "#b91c1c"
"""Each stands for one thing alone: a page replaces them by those of its colour scheme. What
differs in colour differs in shape too."""

_LEAST_SPAN_RATIO = 0.05
"""Of the value: noise of 0.1 % must not fill a panel as if it were an effect."""

_SMALL = "small"
_BESIDE_A_POINT = (6, 5)
_BESIDE_A_MARK = (10, 6)
"""In points, to the right and up: the frontier falls to the right, so there is room."""

AnyPoint = OperatingPoint | FittedPoint


@dataclass(frozen=True, slots=True)
class Quantity:
    """What stands on an axis: its name and how to read it off a point or a moment."""

    label: str
    of: Callable[[AnyPoint | Moment], float]
    stderr: Callable[[AnyPoint], float | None]


ENERGY = Quantity(
    "energy per step (J)",
    lambda point: point.joules_per_step,
    lambda point: point.joules_per_step_stderr,
)
TIME = Quantity(
    "time per step (s)",
    lambda point: point.seconds_per_step,
    lambda point: point.seconds_per_step_stderr,
)
LIMIT = Quantity(
    "power limit per GPU (W)",
    lambda point: 0.0 if isinstance(point, Moment) else point.power_limit_watts,
    lambda _: None,
)


def draw_points(axes: Axes, decision: Decision, x: Quantity, y: Quantity) -> None:
    """Draw the fit, what was measured with 95 % intervals, the reference and the chosen limit."""
    _style(axes)
    axes.set_xlabel(x.label)
    axes.set_ylabel(y.label)
    if not decision.points and not decision.thin:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.text(0.5, 0.5, "nothing measured yet", color=MUTED, ha="center")
        return
    curve = decision.curve
    if curve:
        xs, ys = [x.of(p) for p in curve], [y.of(p) for p in curve]
        axes.plot(xs, ys, color=FIT, linewidth=1.4, label="fit", zorder=2)
        if x is LIMIT:
            errors = [Z_95 * (y.stderr(p) or 0.0) for p in curve]
            low = [value - error for value, error in zip(ys, errors, strict=True)]
            high = [value + error for value, error in zip(ys, errors, strict=True)]
            axes.fill_between(xs, low, high, color=FIT, alpha=0.18, linewidth=0, zorder=1)
    _scatter(axes, decision.points, x, y, label="measured, 95 %", hollow=False)
    _scatter(axes, decision.thin, x, y, label="measured briefly", hollow=True)
    _mark(axes, reference_point(decision), x, y, "s", REFERENCE, "reference")
    chosen = at_limit(decision, decision.power_limit_watts)
    _mark(axes, chosen, x, y, "D", CHOSEN, decision.action.value)
    _bound(axes, decision, x, y)
    axes.margins(x=0.12, y=0.12)
    axes.locator_params(axis="x", nbins=6)
    for quantity, get, put in (
        (x, axes.get_xlim, axes.set_xlim),
        (y, axes.get_ylim, axes.set_ylim),
    ):
        if quantity is not LIMIT:
            put(*_widened(*get()))


def name_limits(axes: Axes, decision: Decision) -> None:
    """Write each measured limit beside its point, where energy stands against time."""
    marked = (decision.power_limit_watts, decision.reference_power_limit_watts)
    for point in (*decision.points, *decision.thin):
        offset = _BESIDE_A_MARK if point.power_limit_watts in marked else _BESIDE_A_POINT
        axes.annotate(
            f"{point.power_limit_watts} W",
            (point.seconds_per_step, point.joules_per_step),
            xytext=offset,
            textcoords="offset points",
            fontsize=_SMALL,
            color=MUTED,
            # Lines pass behind the words.
            bbox={"facecolor": PAPER, "alpha": 0.75, "linewidth": 0, "pad": 0.5},
        )


def draw_limits(axes: Axes, decision: Decision, stays: Sequence[Stay]) -> None:
    """Draw which limit was in force when, with the reference and the chosen one."""
    _style(axes)
    for watts, colour, dashes in (
        (decision.reference_power_limit_watts, REFERENCE, (0, (1, 2))),
        (decision.power_limit_watts, CHOSEN, (0, (4, 2))),
    ):
        if watts is not None:
            axes.axhline(watts, color=colour, linewidth=1.2, linestyle=dashes, zorder=1)
    for stay in stays:
        axes.plot(
            _dates([stay.start_seconds, stay.end_seconds]),
            [stay.power_limit_watts] * 2,
            color=INK,
            linewidth=2,
            solid_capstyle="butt",
        )
    for before, after in pairwise(stays):
        axes.plot(
            _dates([before.end_seconds, after.start_seconds]),
            [before.power_limit_watts, after.power_limit_watts],
            color=MUTED,
            linewidth=0.8,
        )
    axes.set_ylabel("limit (W)")
    axes.margins(x=0.01, y=0.15)


def draw_over_time(
    axes: Axes, decision: Decision, stays: Sequence[Stay], quantity: Quantity
) -> None:
    """Draw what a step cost over time, broken where the limit changed."""
    _style(axes)
    reference = reference_point(decision)
    if reference is not None:
        axes.axhline(
            quantity.of(reference), color=REFERENCE, linewidth=1.2, linestyle=(0, (1, 2)), zorder=1
        )
    for stay in stays:
        axes.plot(
            _dates([moment.at_seconds for moment in stay.moments]),
            [quantity.of(moment) for moment in stay.moments],
            color=FIT,
            linewidth=1.2,
            marker=".",
            markersize=4,
        )
    axes.set_ylabel(
        quantity.label.replace("energy per step (J)", "J/step").replace(
            "time per step (s)", "s/step"
        )
    )
    axes.margins(x=0.01, y=0.12)
    axes.set_ylim(*_widened(*axes.get_ylim()))


def name_time(axes: Axes) -> None:
    """Write times below the lowest of several panels, in UTC."""
    locator = AutoDateLocator(minticks=3, maxticks=7, tz=UTC)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))
    axes.set_xlabel("time (UTC)")


def _scatter(
    axes: Axes,
    points: Sequence[OperatingPoint],
    x: Quantity,
    y: Quantity,
    *,
    label: str,
    hollow: bool,
) -> None:
    if not points:
        return
    axes.errorbar(
        [x.of(point) for point in points],
        [y.of(point) for point in points],
        xerr=[_half_width(x.stderr(point)) for point in points],
        yerr=[_half_width(y.stderr(point)) for point in points],
        fmt="o",
        markersize=5,
        color=INK,
        markerfacecolor="none" if hollow else INK,
        elinewidth=1.1,
        capsize=3,
        label=label,
        zorder=3,
    )


def _mark(
    axes: Axes,
    point: AnyPoint | None,
    x: Quantity,
    y: Quantity,
    marker: str,
    colour: str,
    label: str,
) -> None:
    if point is None:
        return
    axes.plot(
        [x.of(point)],
        [y.of(point)],
        linestyle="none",
        marker=marker,
        markersize=12,
        markerfacecolor="none",
        markeredgecolor=colour,
        markeredgewidth=2,
        label=f"{label}, {point.power_limit_watts} W",
        zorder=4,
    )


def _bound(axes: Axes, decision: Decision, x: Quantity, y: Quantity) -> None:
    """Draw the longest step that the objective allows, where it has such a bound."""
    reference, slowdown = reference_point(decision), decision.objective.get("max_slowdown")
    if reference is None or not isinstance(slowdown, int | float):
        return
    seconds = reference.seconds_per_step * slowdown
    style: dict[str, Any] = {
        "color": BOUND,
        "linewidth": 1.1,
        "linestyle": (0, (6, 3)),
        "label": f"bound, {slowdown:g} x",
        "zorder": 1,
    }
    if x is TIME:
        axes.axvline(seconds, **style)
    elif y is TIME:
        axes.axhline(seconds, **style)


def _half_width(stderr: float | None) -> float:
    """Return the reach of a 95 % interval to each side; NaN, which draws nothing, if unknown."""
    return math.nan if stderr is None else Z_95 * stderr


def _style(axes: Axes) -> None:
    axes.grid(visible=True, color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelsize=_SMALL)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    axes.ticklabel_format(style="plain", useOffset=False)


def _widened(low: float, high: float) -> tuple[float, float]:
    """Return limits of an axis that span a few percent of the value at least."""
    middle, span = (low + high) / 2, high - low
    least = max(span, _LEAST_SPAN_RATIO * abs(middle))
    return middle - least / 2, middle + least / 2


def _dates(unix_seconds: Sequence[float]) -> list[float]:
    """Return matplotlib's dates: days since 1970."""
    return [float(date2num(datetime.fromtimestamp(at, UTC))) for at in unix_seconds]
