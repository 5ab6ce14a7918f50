"""The meter believes a register only as far as it can be true."""

from dataclasses import replace

from joulestat.domain.device import CallError, PowerLimits, Reading
from joulestat.domain.energy import Anomaly, EnergySource
from joulestat.domain.units import NS_PER_SECOND, UJ_PER_JOULE
from joulestat.metering.meter import Meter, MeterRecord

LIMITS = PowerLimits(enforced_watts=300.0, max_watts=300.0)


def reading(
    second: float, joules: float | None, watts: float | None = 250.0, *, failed: bool = False
) -> Reading:
    return Reading(
        at_ns=round(second * NS_PER_SECOND),
        energy_counter_uj=None if joules is None else round(joules * UJ_PER_JOULE),
        power_watts=watts,
        limits=LIMITS,
        errors=(CallError("nvmlDeviceGetTotalEnergyConsumption", "UNKNOWN"),) if failed else (),
        counter_failed=failed,
    )


def metered(*readings: Reading) -> Meter:
    meter = Meter()
    for each in readings:
        meter.observe(each)
    return meter


def total_joules(meter: Meter) -> float:
    assert meter.state is not None
    return meter.state.total_uj / UJ_PER_JOULE


def test_the_total_starts_from_the_register_itself() -> None:
    assert total_joules(metered(reading(1, 22_000_000))) == 22_000_000


def test_one_low_reading_is_held_and_the_next_good_one_continues() -> None:
    meter = metered(reading(1, 22_000_000), reading(2, 21_991_500), reading(3, 22_000_500))

    assert total_joules(meter) == 22_000_500
    assert meter.state is not None
    assert meter.state.anomalies[Anomaly.BACKWARDS] == 1
    assert meter.state.anomalies[Anomaly.RESET] == 0


def test_the_energy_is_not_known_at_a_held_reading_without_power() -> None:
    meter = metered(reading(1, 1_000, None))

    assert not meter.observe(reading(2, 0, None))
    assert meter.observe(reading(3, 1_500, None))


def test_three_low_readings_that_agree_are_a_reset_and_power_bridges_it() -> None:
    meter = metered(reading(1, 5_000), reading(2, 0), reading(3, 250), reading(4, 500))

    assert total_joules(meter) == 5_000 + 3 * 250
    assert meter.state is not None
    assert meter.state.anomalies[Anomaly.RESET] == 1


def test_without_power_nothing_is_credited_across_a_reset() -> None:
    meter = metered(
        *(reading(second, joules, None) for second, joules in enumerate((5_000, 0, 250, 500, 750)))
    )

    # Counted from the third look at the new base on; what lies before is unknown.
    assert total_joules(meter) == 5_250


def test_a_register_that_only_stands_at_another_value_is_not_reset() -> None:
    meter = metered(*(reading(second, 5_000 * (second == 0)) for second in range(9)))
    meter.observe(reading(9, 5_000 + 9 * 250))

    assert total_joules(meter) == 5_000 + 9 * 250
    assert meter.state is not None
    assert meter.state.anomalies[Anomaly.RESET] == 0


def test_low_readings_that_disagree_are_no_reset() -> None:
    meter = metered(
        reading(1, 5_000), reading(2, 0), reading(3, 4_900), reading(4, 10), reading(5, 5_900)
    )

    assert total_joules(meter) == 5_900


def test_a_jump_beyond_what_the_card_can_draw_is_held() -> None:
    # 300 W for 1 s, doubled, and half a second of slack: 900 J at the most.
    meter = metered(reading(1, 5_000), reading(2, 6_000), reading(3, 5_500))

    assert total_joules(meter) == 5_500
    assert meter.state is not None
    assert meter.state.anomalies[Anomaly.JUMP] == 1


def test_energy_drawn_while_the_exporter_was_away_is_believed() -> None:
    meter = metered(reading(1, 5_000), reading(601, 5_000 + 600 * 300))

    assert total_joules(meter) == 185_000


def test_a_card_without_a_register_is_integrated() -> None:
    meter = metered(reading(1, None, 100.0), reading(2, None, 300.0), reading(4, None, 300.0))

    assert total_joules(meter) == 200 + 600
    assert meter.state is not None
    assert meter.state.source is EnergySource.INTEGRATED_POWER


def test_a_failed_register_call_does_not_make_a_card_without_one() -> None:
    meter = metered(reading(1, None, failed=True), reading(2, 7_000))

    assert total_joules(meter) == 7_000
    assert meter.state is not None
    assert meter.state.source is EnergySource.HARDWARE_COUNTER


def test_a_gap_in_power_samples_is_not_bridged_when_it_is_long() -> None:
    meter = metered(reading(1, None, 100.0), reading(60, None, 100.0), reading(61, None, 100.0))

    assert total_joules(meter) == 100


def test_a_register_that_stands_still_while_power_is_drawn_is_counted_once() -> None:
    meter = metered(*(reading(second, 5_000) for second in range(1, 120)))

    assert meter.state is not None
    assert meter.state.anomalies[Anomaly.FROZEN] == 1


def test_a_frozen_register_is_bridged_by_power_and_then_replaced() -> None:
    meter = metered(*(reading(second, 5_000) for second in range(1, 120)))

    assert total_joules(meter) == 5_000 + 118 * 250
    assert meter.state is not None
    assert meter.state.source is EnergySource.INTEGRATED_POWER
    assert meter.state.remembered


def test_a_register_that_counts_ten_times_too_much_is_replaced_by_power() -> None:
    limits = PowerLimits(max_watts=700.0)
    tenths = range(10, 2_000)
    meter = metered(
        *(replace(reading(tenth / 10, tenth * 100, 100.0), limits=limits) for tenth in tenths)
    )

    assert meter.state is not None
    assert meter.state.source is EnergySource.INTEGRATED_POWER
    assert meter.state.anomalies[Anomaly.JUMP] == 1
    # The start-up check found out after ten seconds; from then on it is what is really drawn.
    assert total_joules(meter) == 1_000 + 99 * 100 + 1_890 * 10


def test_a_register_that_comes_right_is_believed_again() -> None:
    wrong = [reading(second, 5_000) for second in range(1, 60)]
    right = [reading(second, 5_000 + (second - 60) * 250) for second in range(60, 320)]
    meter = metered(*wrong, *right)

    assert meter.state is not None
    assert meter.state.source is EnergySource.HARDWARE_COUNTER
    assert total_joules(meter) == 5_000 + 318 * 250


def test_an_idle_register_is_not_frozen() -> None:
    meter = metered(*(reading(second, 5_000, 0.5) for second in range(1, 120)))

    assert meter.state is not None
    assert meter.state.anomalies[Anomaly.FROZEN] == 0


def test_a_restart_within_one_boot_credits_what_was_drawn_meanwhile() -> None:
    before = metered(reading(1, 5_000), reading(2, 5_250))
    assert before.record is not None

    after = Meter(MeterRecord.from_document(before.record.to_document()))
    after.observe(reading(102, 30_250))

    assert total_joules(after) == 30_250


def test_energy_that_is_missing_before_a_reading_is_told() -> None:
    bridged = metered(reading(1, 5_000), reading(2, 0), reading(3, 250), reading(4, 500))
    blind = metered(*(reading(second, joules, None) for second, joules in enumerate((9, 0, 1, 2))))
    unread = metered(reading(1, None), reading(60, None))
    read = metered(reading(1, None), reading(2, None))

    assert [each.gap for each in (bridged, blind, unread, read)] == [False, True, True, False]


def test_without_a_register_another_call_that_fails_costs_no_energy() -> None:
    failed = (CallError("nvmlDeviceGetTemperatureV", "UNKNOWN"),)
    meter = metered(*(replace(reading(second, None), errors=failed) for second in range(1, 12)))

    assert 10 * 250 == total_joules(meter)
    assert not meter.gap


def test_without_a_register_energy_is_not_known_while_power_is_not() -> None:
    meter = metered(reading(1, None), reading(2, None))

    assert not meter.observe(reading(3, None, None))
    assert 250 == total_joules(meter)


def test_a_power_sample_that_is_missing_is_bridged_and_no_gap() -> None:
    meter = metered(*(reading(second, None, None if second == 3 else 250.0) for second in range(5)))

    assert not meter.gap
    assert 4 * 250 == total_joules(meter)


def test_what_a_register_counted_while_all_calls_failed_is_of_that_time() -> None:
    failed = (reading(1 + tenth / 10, None, None, failed=True) for tenth in range(1, 6_000))
    meter = metered(reading(0, 0), reading(1, 250), *failed)

    assert meter.observe(reading(601, 150_250))
    assert 150_250 == total_joules(meter)


def test_a_register_that_is_gone_for_good_is_said_to_be_replaced_by_power() -> None:
    meter = metered(reading(0, 0), *(reading(second, None) for second in range(1, 20)))

    assert meter.state is not None
    assert meter.state.source is EnergySource.INTEGRATED_POWER
    assert 19 * 250 == total_joules(meter)


def test_no_sample_of_the_slowest_beat_is_lost_for_being_late() -> None:
    beats = (10 * beat + beat % 2 / 100 for beat in range(10))
    meter = metered(*(reading(second, None) for second in beats))

    assert 250 * 90.01 == total_joules(meter)


def test_a_register_that_catches_up_after_it_stood_still_has_not_jumped() -> None:
    stands = [reading(second, 1_000) for second in range(1, 9)]
    meter = metered(*stands, *(reading(second, 1_000 + 250 * (second - 1)) for second in (9, 10)))

    assert 1_000 + 9 * 250 == total_joules(meter)
    assert meter.state is not None
    assert {Anomaly.FROZEN: 1} == {why: n for why, n in meter.state.anomalies.items() if n}


def test_a_reset_after_an_outage_makes_no_source_of_the_moment() -> None:
    meter = metered(reading(1, 5_000), *(reading(s, None, None, failed=True) for s in range(2, 14)))
    sources = set()
    for second, joules in ((14, 0), (15, 250), (16, 500), (17, 750)):
        meter.observe(reading(second, joules))
        assert meter.state is not None
        sources.add(meter.state.source)

    assert {EnergySource.HARDWARE_COUNTER} == sources
