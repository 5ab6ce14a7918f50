"""What ``joulestat run`` says and takes; what it does is in integration/test_cli_run.py."""

import pytest

from joulestat.cli import run, run_energy

PAGE = """
# TYPE joulestat_run_gpu_energy_joules_total counter
joulestat_run_gpu_energy_joules_total{gpu="0",gpu_uuid="GPU-a",run="r"} 1234.5
joulestat_run_gpu_energy_joules_total{gpu="1",gpu_uuid="GPU-b",run="r"} 1.5e+06
joulestat_run_gpu_energy_joules_total{gpu="0",gpu_uuid="GPU-a",run="r2"} 9.0
joulestat_run_energy_joules_total{phase="other",power_limit_watts="300",run="r"} 7.0
"""


def test_the_energy_of_one_run_is_read_from_a_page_of_many() -> None:
    assert {"GPU-a": 1234.5, "GPU-b": 1.5e6} == run_energy.energy_on(PAGE, "r")
    assert {} == run_energy.energy_on(PAGE, "R")
    assert {} == run_energy.energy_on("<html>", "r")


@pytest.mark.parametrize(
    ("joules", "seconds", "expected"),
    [
        ({"a": 0.4}, 0.5, "run r took 0.4 J (0.000111 Wh) on 1 GPU in 0.5 s, 1 W on average"),
        (
            {"a": 9_000.0, "b": 3_400.0},
            71.3,
            "run r took 12.4 kJ (3.44 Wh) on 2 GPUs in 1 min 11 s, 174 W on average",
        ),
        (
            {"a": 9.36e6},
            12_000,
            "run r took 9.4 MJ (2.6 kWh) on 1 GPU in 3 h 20 min, 780 W on average",
        ),
        ({"a": 3.6e9}, 0.0, "run r took 3.6 GJ (1000.0 kWh) on 1 GPU in 0.0 s"),
    ],
)
def test_the_line_at_the_end_is_for_people(
    joules: dict[str, float], seconds: float, expected: str
) -> None:
    assert expected == run_energy.energy_line("r", joules, seconds)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--run", "r", "--", "python", "train.py", "--run", "x"],
        ["--run", "r", "python", "train.py", "--run", "x"],
        ["--run=r", "--", "python", "train.py", "--run", "x"],
    ],
)
def test_what_follows_the_command_is_the_commands(arguments: list[str]) -> None:
    options = run._parse(arguments)

    assert ("r", ["python", "train.py", "--run", "x"]) == (options.run, options.command)


def test_a_second_pair_of_dashes_is_the_commands() -> None:
    assert ["env", "--", "x"] == run._parse(["--", "env", "--", "x"]).command


@pytest.mark.parametrize("arguments", [[], ["--run", "r"], ["--run", "r", "--"], ["--nonsense"]])
def test_without_a_command_it_says_how_to_give_one(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run.main(arguments)

    assert 2 == ended.value.code
    assert "joulestat run [options] -- COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize("amount", ["0", "-1", "nan", "inf", "much"])
def test_an_energy_budget_that_is_no_energy_is_refused(
    amount: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run._parse(["--energy-budget-kwh", amount, "--", "true"])

    assert "say 12.5 for 12.5 kWh" in capsys.readouterr().err
