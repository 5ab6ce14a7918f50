"""What a lease may ask, whose limit a device stands at, and how often it may be written."""

from dataclasses import replace

import pytest

from joulestat.domain.errors import InvalidLease
from joulestat.domain.limit import Lease, LeaseRequest
from joulestat.power.leases import (
    LeasePolicy,
    LeaseRecord,
    LeaseState,
    Standing,
    checked,
    plain_text,
    standing,
)
from joulestat.power.write_rate import WriteRate

REQUEST = LeaseRequest(250.0, 900.0, "optimizer", "probe")
POLICY = LeasePolicy()
RANGE = (100.0, 400.0)


@pytest.mark.parametrize("watts", [99.99, 400.01, 250_000.0, -1.0, float("nan"), float("inf")])
def test_a_limit_outside_the_range_is_refused_and_the_range_named(watts: float) -> None:
    with pytest.raises(InvalidLease) as error:
        checked(replace(REQUEST, power_limit_watts=watts), POLICY, RANGE)
    assert ("power_limit_watts", "100..400") == (error.value.field, error.value.allowed)


@pytest.mark.parametrize("watts", [100.0, 250.5, 400.0])
def test_a_limit_within_the_range_stays_as_it_is(watts: float) -> None:
    request = replace(REQUEST, power_limit_watts=watts)
    assert request == checked(request, POLICY, RANGE)


@pytest.mark.parametrize("ttl", [4.99, 21_600.1, 0.0, -5.0, float("nan"), float("inf")])
def test_a_lease_too_short_or_too_long_is_refused(ttl: float) -> None:
    with pytest.raises(InvalidLease) as error:
        checked(replace(REQUEST, ttl_seconds=ttl), POLICY, RANGE)
    assert ("ttl_seconds", "5..21600") == (error.value.field, error.value.allowed)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("holder", ""),
        ("holder", " \n"),
        ("holder", "x" * 129),
        ("reason", ""),
        ("reason", "x" * 257),
    ],
)
def test_a_lease_has_a_holder_and_a_reason_of_bounded_length(field: str, text: str) -> None:
    with pytest.raises(InvalidLease) as error:
        checked(replace(REQUEST, **{field: text}), POLICY, RANGE)
    assert field == error.value.field
    assert len(error.value.value) <= 256


def test_control_characters_are_stripped_before_lengths_are_judged() -> None:
    request = replace(REQUEST, holder="\x1b[31mme\n", reason="a\u202eb\x00" + "\n" * 999)
    clean = checked(request, POLICY, RANGE)
    assert ("[31mme", "ab") == (clean.holder, clean.reason)


def test_plain_text_keeps_other_scripts() -> None:
    assert "Läufe für 研究" == plain_text("Läufe für 研究\u2029\ud812")


def record(baseline: float, *ours: float) -> LeaseRecord:
    lease = Lease("GPU-a", "me", "alice", "why", ours[0], baseline, 0, 0.0)
    return LeaseRecord(lease, LeaseState.HELD, "boot-1", ours)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (300.0, Standing.BASELINE),
        (300.0004, Standing.BASELINE),
        (299.2, Standing.BASELINE),
        (250.0, Standing.OURS),
        (250.9, Standing.OURS),
        (260.0, Standing.OURS),
        (255.0, Standing.FOREIGN),
        (400.0, Standing.FOREIGN),
    ],
)
def test_a_device_stands_at_its_baseline_or_at_ours_or_at_somebody_elses_limit(
    found: float, expected: Standing
) -> None:
    assert expected is standing(found, record(300.0, 250.0, 260.0))


def test_a_limit_of_ours_close_to_the_baseline_is_still_ours() -> None:
    assert Standing.OURS is standing(250.8, record(250.0, 250.8))
    assert Standing.BASELINE is standing(250.0, record(250.0, 250.8))


def test_owning_up_to_a_limit_twice_is_owning_up_once() -> None:
    assert (250.0, 257.0) == record(300.0, 250.0).with_ours(257.0, None, 250.0).ours_watts


def test_a_burst_of_writes_is_earned_back_one_by_one() -> None:
    rate = WriteRate(interval_seconds=10.0, burst=3)
    now_ns = 77 * 10**9
    for _ in range(3):
        assert 0.0 == rate.wait_seconds(now_ns)
        rate.take(now_ns)
    assert 10.0 == rate.wait_seconds(now_ns)
    assert 4.0 == rate.wait_seconds(now_ns + 6 * 10**9)
    rate.take(now_ns + 10 * 10**9)
    assert 10.0 == rate.wait_seconds(now_ns + 10 * 10**9)
    assert 0.0 == rate.wait_seconds(now_ns + 20 * 10**9)


def test_a_long_rest_earns_no_more_than_the_burst() -> None:
    rate = WriteRate(interval_seconds=10.0, burst=2)
    later_ns = 10**15
    rate.take(later_ns)
    rate.take(later_ns)
    assert 10.0 == rate.wait_seconds(later_ns)
