"""A report in a terminal and as JSON."""

import json
from dataclasses import replace

from rich.console import Console

from joulestat.report.carbon import Intensity, constant
from joulestat.report.facts import GpuEnergy, Portion, RunEnergy
from joulestat.report.report import Report, Told, report_of
from joulestat.report.show import as_json, as_table

KWH = 3.6e6
DAY = 86_400.0


def energy(n_gpus: int) -> RunEnergy:
    gpus = tuple(
        GpuEnergy(f"node-{number // 8}", str(number % 8), f"GPU-{number:02}", 10 * KWH, "H100")
        for number in range(n_gpus)
    )
    whole = n_gpus * 10 * KWH
    return RunEnergy(
        "llama",
        (0.0,),
        2 * DAY,
        ended=True,
        gpus=gpus,
        joules_by_phase={"train": 0.9 * whole, "eval": 0.1 * whole},
        portions=(Portion("node-0", 0.0, 2 * DAY, whole),),
    )


def shown(report: Report, width: int = 80) -> list[str]:
    console = Console(width=width, highlight=False, record=True, file=None)
    with console.capture() as captured:
        console.print(as_table(report))
    return [line.rstrip() for line in captured.get().splitlines()]


def report(taken: RunEnergy, told: Told = Told(1.2, None, "here")) -> Report:  # noqa: B008
    return report_of(taken, constant(300.0, "measured"), None, told)


def test_few_gpus_have_a_line_each() -> None:
    lines = shown(report(energy(2)))

    assert "llama: 72.00 MJ (20.00 kWh) on 2 GPUs in 2 d" == lines[0]
    assert "1970-01-01T00:00:00Z to 1970-01-03T00:00:00Z" == lines[1]
    assert ["node-0", "1", "H100", "36.00", "MJ", "50.0", "%"] == lines[5].split()
    assert "7.200 kg CO2e = 20.00 kWh x PUE 1.2 x 300.0 g/kWh (measured)" == lines[-1]


def test_many_gpus_are_a_line_a_node() -> None:
    lines = shown(report(energy(24)))

    assert ["8 GPUs"] * 3 == [line[8:14] for line in lines if line.startswith("node-")]


def test_a_report_fits_a_terminal_whatever_is_missing() -> None:
    taken = replace(energy(3), ended=False, births_seconds=tuple(DAY * n for n in range(30)))
    lines = shown(report_of(replace(taken, problems=("x " * 99,)), None, None, Told()))

    assert max(map(len, lines)) <= 80
    assert any(line.startswith("- no carbon intensity is known") for line in lines)
    assert "begun 30 times" in " ".join(lines)
    assert not any("CO2e =" in line for line in lines)


def test_a_runs_name_does_not_steer_the_terminal() -> None:
    hostile = replace(energy(1), run="a\x1b[31m[bold]b")

    assert shown(report(hostile))[0].startswith("a\\x1b[31m[bold]b: ")


def test_a_run_that_took_nothing_is_shown_as_such() -> None:
    nothing = replace(energy(1), gpus=(GpuEnergy("a", "0", "u", 0.0),), portions=())
    lines = shown(report(replace(nothing, joules_by_phase={"train": 0.0})))

    assert "llama: 0 J (0 kWh) on 1 GPU in 2 d" == lines[0]


def test_json_has_everything_and_null_for_what_is_not_known() -> None:
    told = json.loads(as_json(report(energy(2))))
    untold = json.loads(as_json(report_of(energy(2), None, None, Told())))

    assert 20 * KWH == told["joules"]
    assert 48 == len(told["hours"])
    assert {"start": "1970-01-01T00:00:00Z", "joules": 20 * KWH / 48} == told["hours"][0]
    assert (7_200.0, 1.2) == (told["carbon"]["grams"], told["carbon"]["pue_ratio"])
    assert "2 x H100" == told["emissions"]["hardware_used"]
    assert (None, None) == (untold["carbon"], untold["emissions"])
    assert untold.keys() == told.keys()


def test_a_zone_is_shown_beside_the_intensity() -> None:
    by_exporter = Intensity("", {"node-0": constant(300.0, "").course}, zone="DE")

    assert shown(report_of(energy(1), by_exporter, 1.2, Told()))[-1].endswith("300.0 g/kWh (DE)")
