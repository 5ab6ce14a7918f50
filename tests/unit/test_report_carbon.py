"""From energy to emissions: portion by portion, and nothing filled in."""

from pathlib import Path

import pytest

from joulestat.domain.errors import ConfigError
from joulestat.report.carbon import Carbon, Intensity, Stretch, carbon_of, constant
from joulestat.report.facts import GpuEnergy, Portion, RunEnergy
from joulestat.report.intensity_file import read_intensity_file
from joulestat.report.report import Told, report_of

KWH = 3.6e6
HOUR = 3_600.0
NOON = 1_764_072_000.0
"""2025-11-25T12:00:00Z."""


def even(start: float, end: float, joules: float, node: str = "a") -> Portion:
    return Portion(node, start, end, joules)


def over_time(*stretches: tuple[float, float, float]) -> Intensity:
    return Intensity("s", {}, tuple(Stretch(*one) for one in stretches))


def carbon(portions: list[Portion], intensity: Intensity, pue: float | None = None) -> Carbon:
    found = carbon_of(portions, intensity, pue)
    assert isinstance(found, Carbon)
    return found


def test_emissions_are_energy_times_pue_times_intensity() -> None:
    found = carbon([even(0, HOUR, 2 * KWH), even(HOUR, HOUR, KWH)], constant(300.0, "x"), 1.2)

    assert 3 * 1.2 * 300 == pytest.approx(found.grams)
    assert (300.0, 1.2, "x") == (pytest.approx(found.grams_per_kwh), found.pue_ratio, found.source)


def test_without_a_pue_the_gpus_alone_are_counted() -> None:
    assert 300 == pytest.approx(carbon([even(0, HOUR, KWH)], constant(300.0, "")).grams)


def test_every_hour_has_its_own_intensity() -> None:
    intensity = over_time((0, HOUR, 100), (HOUR, 2 * HOUR, 500))
    portions = [
        even(0, HOUR, KWH),
        even(HOUR / 2, 3 * HOUR / 2, 2 * KWH),
        even(HOUR, 2 * HOUR, KWH),
    ]
    found = carbon(portions, intensity)

    assert 100 + (100 + 500) + 500 == pytest.approx(found.grams)
    assert 300 == pytest.approx(found.grams_per_kwh)


def test_every_node_has_its_own_intensity() -> None:
    courses = {"a": (Stretch(0, HOUR, 100.0),), "b": (Stretch(0, HOUR, 50.0),)}
    portions = [even(0, HOUR, KWH, "a"), even(0, HOUR, KWH, "b")]

    assert 150 == pytest.approx(carbon(portions, Intensity("", courses)).grams)


@pytest.mark.parametrize(
    "intensity",
    [
        over_time((0, HOUR, 100)),
        over_time((0, 1.5 * HOUR, 100), (1.6 * HOUR, 2 * HOUR, 100)),
        over_time((HOUR, 2 * HOUR, 100)),
        over_time(),
        Intensity("", {"b": (Stretch(0, 9 * HOUR, 1.0),)}),
    ],
)
def test_where_an_hour_is_not_known_nothing_is_told(intensity: Intensity) -> None:
    found = carbon_of([even(0, HOUR, KWH), even(HOUR, 2 * HOUR, KWH)], intensity, 1.0)

    assert isinstance(found, str)
    assert "nothing was filled in" in found
    assert "1970-01-01T02:00:00Z" in found or "1970-01-01T01:00:00Z" in found


def csv_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "grid.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "time,g\n2025-11-25T12:00:00Z,100\n2025-11-25T13:00:00Z,200\n2025-11-25T14:00:00Z,300\n",
        "time,g\n2025-11-25T13:00:00+01:00,100\n2025-11-25T13:00Z,200\n2025-11-25 14:00Z,300\n",
        "At (UTC),g\n2025-11-25 12:00:00,100\n2025-11-25 13:00:00,200\n2025-11-25 14:00,300\n",
        f"unix,g\n{NOON},100\n\n{NOON + HOUR},200\n{NOON + 2 * HOUR:.0f},300\n",
        f"unix,g\n{NOON + 2 * HOUR},300\n{NOON},100\n{NOON + HOUR},200\n",
        f"\ufeffunix,g\n{NOON},100\n{NOON + HOUR},200\n{NOON + 2 * HOUR},300\n",
    ],
    ids=["zulu", "zones", "utc-heading", "unix", "any-order", "bom"],
)
def test_a_file_of_hours_is_read_whatever_its_times_look_like(tmp_path: Path, text: str) -> None:
    found = read_intensity_file(csv_file(tmp_path, text), None, "grid")

    assert [
        Stretch(NOON + number * HOUR, NOON + (number + 1) * HOUR, 100.0 * (number + 1))
        for number in range(3)
    ] == list(found.course)


def test_one_column_of_several_is_named(tmp_path: Path) -> None:
    path = csv_file(tmp_path, f"t,direct,life cycle\n{NOON},1,2\n{NOON + HOUR},3,4\n")

    assert [2.0, 4.0] == [
        s.grams_per_kwh for s in read_intensity_file(path, "life cycle", "").course
    ]
    for column in (None, "t", "other"):
        with pytest.raises(ConfigError, match="'direct', 'life cycle'"):
            read_intensity_file(path, column, "")


def test_an_hour_that_is_missing_stays_missing(tmp_path: Path) -> None:
    rows = [(0, "1"), (1, "2"), (2, ""), (3, "4"), (4, "5")]
    text = "".join(f"{NOON + number * HOUR},{value}\n" for number, value in rows)
    course = read_intensity_file(csv_file(tmp_path, "t,g\n" + text), None, "").course

    assert (NOON + 2 * HOUR, NOON + 3 * HOUR) == (course[1].end_seconds, course[2].start_seconds)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a heading, and rows"),
        ("t,g\n", "a heading, and rows"),
        ("t,g\n2025-11-25 12:00:00,1\n", "row 2: '2025-11-25 12:00:00' is not a time with a zone"),
        ("t,g\nyesterday,1\n", "row 2: 'yesterday'"),
        ("t,g\n0,1\n1,much\n", "row 3: 'much' is not g CO2e per kWh"),
        ("t,g\n0,-1\n", "'-1' is not"),
        ("t,g\n0,nan\n", "'nan' is not"),
    ],
)
def test_a_row_that_is_no_time_and_number_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read_intensity_file(csv_file(tmp_path, text), None, "")


def energy(*, ended: bool = True, model: str = "H100") -> RunEnergy:
    gpus = (GpuEnergy("a", "0", "u", KWH, model), GpuEnergy("a", "1", "v", KWH, "A100"))
    return RunEnergy("r", (0.0,), HOUR, ended, gpus, {"train": 2 * KWH}, (even(0, HOUR, 2 * KWH),))


def test_without_an_intensity_there_are_no_emissions_and_it_is_said_how_to_tell_it() -> None:
    report = report_of(energy(), None, None, Told())

    assert (None, None) == (report.carbon, report.emissions)
    (missing,) = report.missing
    assert "--carbon.grams-per-kwh" in missing


def test_what_is_said_comes_before_what_is_found() -> None:
    found = Intensity("", {}, constant(100.0, "").course, zone="DE")
    told = Told(1.5, "fine-tuning", "Kiel", "two cards")
    report = report_of(energy(), found, 1.1, told)

    assert report.emissions is not None
    assert (300.0, "fine-tuning", "Kiel", "two cards", ()) == (
        pytest.approx(report.emissions.grams),
        report.emissions.training_type,
        report.emissions.geographical_location,
        report.emissions.hardware_used,
        report.missing,
    )


def test_what_is_found_stands_in_for_what_is_not_said() -> None:
    found = Intensity("", {}, constant(100.0, "").course, zone="DE")
    emissions = report_of(energy(), found, 1.1, Told()).emissions

    assert emissions is not None
    assert ("DE", "1 x A100, 1 x H100") == (
        emissions.geographical_location,
        emissions.hardware_used,
    )


def test_what_is_neither_said_nor_found_is_told_as_missing() -> None:
    report = report_of(energy(ended=False, model=""), constant(100.0, ""), None, Told())

    assert report.emissions is not None
    assert (None, None) == (
        report.emissions.geographical_location,
        report.emissions.hardware_used,
    )
    for flag in ("did not say that it ended", "--pue", "--location", "--hardware"):
        assert any(flag in text for text in report.missing)
