"""The picture of a decision: what stands in it, and that it is the same for the same decision."""

import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from fakes.decisions import SLICE_SECONDS, cost, decision, history, no_advice, slices
from joulestat.domain.errors import ConfigError
from joulestat.domain.plan import Action
from joulestat.optimizer.show.plot import pictures, plot, save_plot
from joulestat.optimizer.show.timeline import MOST_MOMENTS, stays_of

PNG = b"\x89PNG\r\n\x1a\n"


def words(svg: str) -> list[str]:
    return [text.strip() for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]


def saved(tmp_path: Path, name: str = "out.svg") -> bytes:
    save_plot(decision(), history(), tmp_path / name)
    return (tmp_path / name).read_bytes()


def test_the_end_of_the_name_says_what_is_drawn(tmp_path: Path) -> None:
    assert saved(tmp_path, "out.PNG").startswith(PNG)
    assert b"<svg" in saved(tmp_path, "out.svg")


@pytest.mark.parametrize("name", ["out", "out.pdf", "svg"])
def test_another_kind_of_picture_is_refused_before_anything_is_written(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(ConfigError, match=r"must end in \.png or \.svg"):
        saved(tmp_path, name)

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["out.svg", "out.png"])
def test_the_same_decision_is_the_same_bytes(tmp_path: Path, name: str) -> None:
    assert saved(tmp_path, name) == saved(tmp_path, name)


def test_a_picture_has_every_axis_and_mark_named(tmp_path: Path) -> None:
    shown = words(saved(tmp_path).decode())

    for expected in (
        "energy per step (J)",
        "time per step (s)",
        "power limit per GPU (W)",
        "limit (W)",
        "J/step",
        "s/step",
        "time (UTC)",
        "fit",
        "measured, 95 %",
        "measured briefly",
        "reference, 300 W",
        "hold, 230 W",
        "bound, 1.12 x",
    ):
        assert expected in shown
    assert {"180 W", "200 W", "220 W", "230 W", "240 W", "300 W"} <= set(shown)


def test_six_panels_with_history_and_three_without() -> None:
    assert 6 == len(plot(decision(), history()).axes)
    assert 3 == len(plot(decision()).axes)


def test_nothing_measured_is_said_and_not_drawn_as_an_empty_scale(tmp_path: Path) -> None:
    save_plot(no_advice(), None, tmp_path / "none.svg")

    assert 3 == words((tmp_path / "none.svg").read_text()).count("nothing measured yet")
    assert [] == pictures(no_advice(), None)


def test_one_point_alone_can_be_drawn(tmp_path: Path) -> None:
    lonely = replace(
        decision(), points=decision().points[-1:], thin=(), curve=(), power_limit_watts=None,
        action=Action.NONE,
    )  # fmt: skip
    save_plot(lonely, None, tmp_path / "one.svg")

    assert "300 W" in words((tmp_path / "one.svg").read_text())


@pytest.mark.parametrize("name", ["$\\frac{", "x_{1}$y$", "訓練", "a\x1b[2Jb\nc", "<script>", "&"])
def test_a_run_may_have_any_name(tmp_path: Path, name: str) -> None:
    save_plot(no_advice(name), None, tmp_path / "out.svg")

    assert "<script>" not in (tmp_path / "out.svg").read_text()


def test_what_the_font_lacks_is_no_error(tmp_path: Path) -> None:
    save_plot(no_advice("訓練"), None, tmp_path / "out.png")

    assert (tmp_path / "out.png").read_bytes().startswith(PNG)


def test_noise_does_not_fill_a_panel() -> None:
    joules, seconds = cost(300)
    points = tuple(
        replace(point, joules_per_step=joules * ratio, seconds_per_step=seconds * ratio)
        for point, ratio in zip(decision().points, (1, 1.001, 0.999, 1, 1), strict=True)
    )
    flat = replace(decision(), points=points, thin=(), curve=(), power_limit_watts=300)
    frontier = plot(flat).axes[0]

    low, high = frontier.get_ylim()
    assert high - low >= 0.05 * joules * 0.99


def test_a_long_history_is_summed_up_to_what_a_picture_can_show() -> None:
    stays = stays_of(slices(((300, 400 * SLICE_SECONDS), (250, 400 * SLICE_SECONDS))))
    moments = [moment for stay in stays for moment in stay.moments]

    assert [300, 250] == [stay.power_limit_watts for stay in stays]
    assert 100 < len(moments) <= MOST_MOMENTS + len(stays)
    assert all(a.at_seconds < b.at_seconds for a, b in pairwise(moments))


def test_energy_over_time_is_the_sum_of_the_nodes_and_time_their_mean() -> None:
    joules, seconds = cost(300)
    (stay,) = stays_of(slices(((300, 600.0),), n_nodes=3))

    for moment in stay.moments:
        assert pytest.approx(3 * joules) == moment.joules_per_step
        assert pytest.approx(seconds, rel=0.02) == moment.seconds_per_step


def test_a_moment_that_lacks_a_node_is_left_out() -> None:
    known = slices(((300, 600.0),), n_nodes=2)
    half = tuple(
        item for item in known if item.node == "n0" or item.end_seconds < known[20].end_seconds
    )
    (stay,) = stays_of(half)

    joules, _ = cost(300)
    assert all(moment.joules_per_step > 1.9 * joules for moment in stay.moments)


def test_a_run_without_history_has_no_stays() -> None:
    assert [] == stays_of(())


def test_the_command_starts_without_the_libraries_that_draw() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, joulestat.cli.optimize; print(*sys.modules)"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.split()

    assert set() == {"jinja2", "matplotlib"} & set(loaded)
