"""What people see of one decision in a terminal."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from joulestat.domain.plan import (
    Action,
    BudgetForecast,
    Decision,
    Expected,
    FittedPoint,
    OperatingPoint,
    Window,
)
from joulestat.domain.tariff import Tariff
from joulestat.optimizer.show.table import as_table

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


def test_the_table_says_it_all_at_a_glance() -> None:
    lines = [line.rstrip() for line in table(DECISION).splitlines()]

    assert [
        "llama-ft-42: hold 250 W",
        "Best of those measured.",
        "",
        "limit         J/step          s/step  steps   energy     time",
        "300 W  91.20 ± 0.4 %  0.3100 ± 0.6 %    412                    reference",
        "250 W  78.40 ± 0.5 %  0.3195 ± 0.7 %    398  -14.0 %   +3.1 %  <- hold",
        "180 W          60.00          0.4000    310  -34.2 %  +29.0 %",
        "±: 95 % interval",
        "",
        "per day              saves  of, at 300 W",
        "energy   0.960 ± 0.043 kWh      6.85 kWh",
        "14.0 % less energy per step; steps take 3.0 % longer.",
        "",
        "objective cost eta=0.5, 2 GPUs, history 2026-11-23T14:00:00Z to 2026-11-23T15:00:00.250Z",
    ] == lines


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_table_fits_its_terminal(width: int) -> None:
    assert max(map(len, table(DECISION, width=width).splitlines())) <= width


def test_large_figures_are_whole_numbers_and_fit_80_columns() -> None:
    large = OperatingPoint(300, 448_123.4, 12.5, 123_456, 50_000.0, 1.5)
    lines = table(replace(DECISION, points=(large,), run="x"), width=80).splitlines()

    assert "300 W  448123 ± 21.9 %  12.50 ± 23.5 %  123456                reference" in lines


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


def test_a_day_is_told_in_money_and_carbon_as_far_as_the_tariff_says() -> None:
    tariff = Tariff(0.30, "EUR", 400.0, "DE", 1.5)
    lines = [line.rstrip() for line in table(replace(DECISION, tariff=tariff)).splitlines()]

    assert "money             0.43 EUR      3.08 EUR" in lines
    assert "carbon       0.576 kg CO2e  4.11 kg CO2e" in lines
    assert "money and carbon with the building's overhead, PUE 1.5" in lines
    assert "carbon" not in table(replace(DECISION, tariff=Tariff(0.30, "EUR")))
    assert "(PUE) is not known" in table(replace(DECISION, tariff=Tariff(0.30, "EUR")))


def test_what_was_measured_too_briefly_is_dim_and_says_so() -> None:
    thin = OperatingPoint(200, 66.0, 0.36, 12, None, None)
    decision = replace(DECISION, thin=(thin,))

    assert "200 W          66.00          0.3600     12  -27.6 %  +16.1 %  brief" in (
        line.rstrip() for line in table(decision).splitlines()
    )
    assert "\x1b[2m200 W" in table(decision, colours=True)


def test_a_limit_between_measured_ones_is_shown_from_the_fit() -> None:
    fitted = FittedPoint(230, 74.0, 0.33, 0.5, 0.001)
    shown = table(replace(DECISION, action=Action.PROBE, power_limit_watts=230, curve=(fitted,)))

    assert "230 W  74.00 ± 1.3 %  0.3300 ± 0.6 %         -18.9 %   +6.5 %  fit <- probe" in shown
    assert "per day" not in shown


def test_what_keeps_the_reference_promises_no_saving() -> None:
    shown = table(replace(DECISION, power_limit_watts=300, expected=Expected(0.0, 1.0)))

    assert "reference <- hold" in shown
    assert "per day" not in shown


def test_different_limits_are_told_by_gpu_and_many_gpus_are_counted() -> None:
    by_gpu = {f"GPU-{index:02}": 230 if index % 2 else 250 for index in range(12)}
    lines = [
        line.rstrip()
        for line in table(replace(DECISION, gpu_power_limits_watts=by_gpu)).splitlines()
    ]

    assert "llama-ft-42: hold 230 to 250 W, by GPU" == lines[0]
    assert "250 W     6  GPU-00, GPU-02, GPU-04, GPU-06 and 2 more" in lines
    assert "230 W     6  GPU-01, GPU-03, GPU-05, GPU-07 and 2 more" in lines


@pytest.mark.parametrize("decision", [DECISION, NO_ADVICE, replace(DECISION, expected=None)])
def test_an_energy_budget_has_a_line_of_its_own_whatever_else_is_told(decision: Decision) -> None:
    budget = BudgetForecast(1.0, "run", None, None, None, None, None, None, None, "Not known.")
    lines = [line.rstrip() for line in table(replace(decision, budget=budget)).splitlines()]
    at = lines.index("Not known.")

    assert ["", "Not known.", ""] == lines[at - 1 : at + 2]
    assert lines[at + 2].startswith("objective ")
    assert "Not known." not in table(decision)
