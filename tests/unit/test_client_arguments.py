import logging

import numpy as np
import pytest

from joulestat.client.arguments import Arguments, is_switched_on
from joulestat.client.notices import Notices, harmless
from joulestat.domain.run import Phase


class Grumpy:
    """Foreign code at its worst: everything that it is asked raises."""

    def __index__(self) -> int:
        raise RuntimeError

    def __float__(self) -> float:
        raise RuntimeError

    def __repr__(self) -> str:
        raise RuntimeError


class Tensor:
    """Answers as a tensor on a GPU does: truly, after having waited for the device."""

    def __index__(self) -> int:
        raise AssertionError("this would wait for the device")

    __float__ = __int__ = __index__


@pytest.fixture
def arguments() -> Arguments:
    return Arguments(Notices())


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, 3), (3.0, 3), (np.int64(7), 7), (np.float64(7), 7), (None, None)],
)
def test_whole_numbers_pass_in_any_dress(
    arguments: Arguments, value: object, expected: int | None
) -> None:
    assert expected == arguments.whole("n", value, least=0)


@pytest.mark.parametrize(
    "value", [-1, 2.5, "3", True, float("nan"), 2**60, Grumpy(), [1], Tensor()]
)
def test_what_is_no_whole_number_is_dropped_with_one_warning(
    arguments: Arguments, value: object, caplog: pytest.LogCaptureFixture
) -> None:
    assert arguments.whole("n", value, least=0) is None
    assert arguments.whole("n", value, least=0) is None
    assert [logging.WARNING] == [record.levelno for record in caplog.records]


@pytest.mark.parametrize(
    "value", [0, -1, 100.5, 10**400, float("inf"), float("nan"), "10", Grumpy(), True, Tensor()]
)
def test_a_budget_is_a_number_above_zero_and_within_reason(
    arguments: Arguments, value: object
) -> None:
    assert arguments.positive("budget", value, most=100.0) is None


def test_a_label_loses_what_would_forge_a_log_line_and_what_is_too_long(
    arguments: Arguments,
) -> None:
    assert "a b" == arguments.label("job", "a\nb")
    assert "é" * 64 == arguments.label("user", "é" * 100)
    assert "x" == arguments.label("team", "x\ud800")
    assert "" == arguments.label("framework", 3)
    assert "" == arguments.label("job", None)


@pytest.mark.parametrize("name", ["train", Phase.TRAIN])
def test_a_phase_is_known_by_its_name(arguments: Arguments, name: object) -> None:
    assert Phase.TRAIN is arguments.phase(name)


@pytest.mark.parametrize("name", ["predict", None, 3, ["train"], Grumpy()])
def test_any_other_phase_counts_as_other_with_one_warning(
    arguments: Arguments, name: object, caplog: pytest.LogCaptureFixture
) -> None:
    assert Phase.OTHER is arguments.phase(name)
    assert Phase.OTHER is arguments.phase(name)
    assert 1 == len(caplog.records)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1", True), ("true", True), ("0", False), ("", False), ("No", False), ("off", False)],
)
def test_a_switch_is_on_unless_it_says_no(value: str, *, expected: bool) -> None:
    assert expected is is_switched_on({"X": value}, "X")
    assert not is_switched_on({}, "X")


def test_a_log_handler_that_raises_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise RuntimeError(record)

    broken = Broken()
    logging.getLogger("joulestat").addHandler(broken)
    try:
        Notices().once(logging.WARNING, "key", "text")
    finally:
        logging.getLogger("joulestat").removeHandler(broken)


def test_a_bug_of_ours_costs_one_line(caplog: pytest.LogCaptureFixture) -> None:
    @harmless(dict[str, float])
    def buggy() -> dict[str, float]:
        raise ZeroDivisionError

    assert {} == buggy()
    assert {} == buggy()
    assert 1 == len(caplog.records)
    assert "training goes on" in caplog.text


def test_what_the_user_raises_passes() -> None:
    @harmless(dict[str, float])
    def interrupted() -> dict[str, float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
