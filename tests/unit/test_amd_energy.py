"""What becomes of an accumulator with 32 bits, and of one without."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulestat.devices.amd_energy import Accumulator
from joulestat.devices.amd_source import Register
from joulestat.domain.units import NS_PER_SECOND

RESOLUTION_UJ = 15.300000190734863
"""15.3 as the library's 32-bit float."""

SPAN = 1 << 32


def energies(
    *ticks: int, every_seconds: float = 1.0, highest_watts: float | None = 750.0
) -> list[int]:
    accumulator = Accumulator()
    return [
        accumulator.energy_uj(
            Register(each, RESOLUTION_UJ), round(n * every_seconds * NS_PER_SECOND), highest_watts
        )
        for n, each in enumerate(ticks)
    ]


def uj(ticks: int) -> int:
    return int(Fraction(RESOLUTION_UJ) * ticks)


def test_energy_is_ticks_times_the_librarys_resolution_exactly() -> None:
    # 2^62 ticks are far beyond what a float counts in ones.
    assert [uj(2**62 + 1), uj(2**62 + 2)] == energies(2**62 + 1, 2**62 + 2)


def test_a_32_bit_accumulator_goes_on_where_it_starts_again() -> None:
    assert [uj(SPAN - 1_000_000), uj(SPAN + 5_000_000), uj(SPAN + 25_000_000)] == energies(
        SPAN - 1_000_000, 5_000_000, 25_000_000
    )


def test_it_goes_on_the_second_time_as_well() -> None:
    ticks = [n * 19_607_843 for n in range(500)]  # 300 W, two wraps

    assert [uj(each) for each in ticks] == energies(*(each % SPAN for each in ticks))


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (SPAN - 1_000, 200_000_000, "3 kJ in a second are more than any card draws"),
        (2_000_000_000, 5_000, "a driver that was loaded again starts at 0 from anywhere"),
        (2_000_000_000, 1_999_999_000, "a glitch downwards would be a whole span"),
        (SPAN + 1_000, 5_000, "an accumulator that stood above 32 bits has more of them"),
    ],
)
def test_a_fall_that_no_wrap_explains_is_handed_on(before: int, after: int, why: str) -> None:
    assert [uj(before), uj(after)] == energies(before, after), why


def test_after_a_gap_in_which_all_could_have_been_drawn_a_fall_is_no_wrap() -> None:
    assert [uj(SPAN - 1_000), uj(5_000)] == energies(SPAN - 1_000, 5_000, every_seconds=60.0)


def test_a_reset_after_a_wrap_is_a_fall_as_well() -> None:
    first, second, third = energies(SPAN - 1_000, 2_000_000_00, 1_000)[:3]

    assert first > second > third


def test_a_card_that_tells_no_limit_is_taken_for_a_big_one() -> None:
    assert [uj(SPAN - 1), uj(SPAN + 200_000_000)] == energies(
        SPAN - 1, 200_000_000, highest_watts=None
    )


@settings(deadline=None)
@given(
    start=st.integers(0, SPAN - 1),
    draws=st.lists(st.integers(0, 90_000_000), max_size=300),  # up to 1377 W
)
def test_no_energy_is_lost_or_made_over_any_number_of_wraps(start: int, draws: list[int]) -> None:
    totals = [start]
    for draw in draws:
        totals.append(totals[-1] + draw)

    assert [uj(total) for total in totals] == energies(*(total % SPAN for total in totals))
