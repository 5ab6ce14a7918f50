"""A power budget on measured trainings, against capping all alike; a short version of the bench."""

import pytest

from benchmarks.fleet_budget import BUDGETS, TRACES, compare, traces_are_there

pytestmark = pytest.mark.skipif(
    not traces_are_there(),
    reason=f"no traces in {TRACES}: name the folder with Zeus' summary_power_*.csv in "
    "JOULESTAT_TRACES",
)


@pytest.mark.parametrize("share", BUDGETS)
def test_dividing_by_curves_gets_more_done_than_any_other_way(share: float) -> None:
    """Measured: 0.91, 0.96, 0.99, 1.00 of full speed where capping alike keeps 0.89 to 0.98."""
    row = compare(10, share)

    assert row["by curve"].throughput > row["by draw"].throughput > row["uniform"].throughput
    assert row["by curve"].worst > row["uniform"].worst + 0.04


@pytest.mark.parametrize("share", BUDGETS[1:])
def test_four_noisy_probes_suffice_to_beat_capping_alike(share: float) -> None:
    row = compare(10, share)

    assert row["by 4 noisy probes"].throughput > row["uniform"].throughput + 0.01
    assert row["by 4 noisy probes"].worst > row["uniform"].worst
