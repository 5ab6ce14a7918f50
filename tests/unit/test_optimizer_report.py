"""What people see and what programs read of a decision."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from joulestat.domain.plan import Action, Decision, Expected, OperatingPoint, Window
from joulestat.optimizer.show.table import as_json, as_table

DECISION = Decision(
    run="llama-ft-42",
    action=Action.HOLD,
    power_limit_watts=250,
    reason="Best of those measured.",
    objective={"name": "cost", "eta": 0.5},
    reference_power_limit_watts=300,
    points=(
        OperatingPoint(180, 60.0, 0.40, 310, None, None),
        OperatingPoint(250, 78.4, 0.3195, 398, 0.21, 0.0012),
        OperatingPoint(300, 91.2, 0.31, 412, 0.2, 0.001),
    ),
    expected=Expected(energy_saving_ratio=0.14, slowdown_ratio=1.03),
    window=Window(1_795_442_400.0, 1_795_446_000.25),
    gpu_uuids=("GPU-0", "GPU-1"),
)
NO_ADVICE = Decision(
    "x", Action.NONE, None, "Nothing.", {"name": "slowdown", "max_slowdown": 1.05},
    None, (), None, None, (),
)  # fmt: skip


def table(decision: Decision, *, width: int = 100, colours: bool = False) -> str:
    console = Console(
        file=io.StringIO(), width=width, force_terminal=colours, highlight=False, emoji=False
    )
    console.print(as_table(decision))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_json_is_the_contract() -> None:
    assert {
        "run": "llama-ft-42",
        "decision": "hold",
        "power_limit_watts": 250,
        "reason": "Best of those measured.",
        "objective": {"name": "cost", "eta": 0.5},
        "reference_power_limit_watts": 300,
        "points": [
            {
                "power_limit_watts": watts,
                "joules_per_step": joules,
                "seconds_per_step": seconds,
                "steps": steps,
                "joules_per_step_stderr": joules_stderr,
                "seconds_per_step_stderr": seconds_stderr,
            }
            for watts, joules, seconds, steps, joules_stderr, seconds_stderr in (
                (180, 60.0, 0.40, 310, None, None),
                (250, 78.4, 0.3195, 398, 0.21, 0.0012),
                (300, 91.2, 0.31, 412, 0.2, 0.001),
            )
        ],
        "expected": {"energy_saving_ratio": 0.14, "slowdown_ratio": 1.03},
        "window": {"start": "2026-11-23T14:00:00Z", "end": "2026-11-23T15:00:00.250Z"},
        "gpu_uuids": ["GPU-0", "GPU-1"],
    } == json.loads(as_json(DECISION))


def test_what_is_unknown_is_null() -> None:
    shown = json.loads(as_json(NO_ADVICE))

    assert "none" == shown["decision"]
    assert all(
        shown[key] is None
        for key in ("power_limit_watts", "reference_power_limit_watts", "expected", "window")
    )


def test_several_decisions_are_an_array_and_a_stream_has_a_line_each() -> None:
    assert ["llama-ft-42", "x"] == [d["run"] for d in json.loads(as_json([DECISION, NO_ADVICE]))]
    assert "\n" not in as_json(DECISION, compact=True)


def test_the_table_says_it_all_at_a_glance() -> None:
    lines = [line.rstrip() for line in table(DECISION).splitlines()]

    assert [
        "llama-ft-42: hold 250 W",
        "Best of those measured.",
        "",
        "limit         J/step          s/step  steps   energy     time",
        "300 W  91.20 ± 0.2 %  0.3100 ± 0.3 %    412                    reference",
        "250 W  78.40 ± 0.3 %  0.3195 ± 0.4 %    398  -14.0 %   +3.1 %  <- hold",
        "180 W          60.00          0.4000    310  -34.2 %  +29.0 %",
        "objective cost eta=0.5, 2 GPUs, history 2026-11-23T14:00:00Z to 2026-11-23T15:00:00.250Z",
    ] == lines


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_table_fits_its_terminal(width: int) -> None:
    assert max(map(len, table(DECISION, width=width).splitlines())) <= width


def test_large_figures_are_whole_numbers_and_fit_80_columns() -> None:
    large = OperatingPoint(300, 448_123.4, 12.5, 123_456, 50_000.0, 1.5)
    lines = table(replace(DECISION, points=(large,), run="x"), width=80).splitlines()

    assert "300 W  448123 ± 11.2 %  12.50 ± 12.0 %  123456                reference" in lines


def test_no_colour_code_is_written_where_nobody_sees_colours() -> None:
    assert "\x1b" not in table(DECISION)
    assert "\x1b" in table(DECISION, colours=True)


def test_no_advice_has_its_reason_and_no_table() -> None:
    shown = table(NO_ADVICE)

    assert shown.startswith("x: no advice\nNothing.\n")
    assert "J/step" not in shown


def test_a_name_cannot_steer_the_terminal() -> None:
    shown = table(replace(DECISION, run="a\x1b[2Jb\r[bold]c"))

    assert shown.startswith("a\\x1b[2Jb\\r[bold]c: hold 250 W")
