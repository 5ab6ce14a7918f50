"""What the log is told of one device: each change once, however often it is counted."""

import logging

import pytest

from joulestat.domain.device import CallError, Device, PowerLimits, Reading
from joulestat.domain.units import NS_PER_SECOND, UJ_PER_JOULE
from joulestat.metering.meter import Meter
from joulestat.runs.budgets import Budgets
from joulestat.runs.ledger import Ledger, LedgerPolicy
from joulestat.sampler.instrument import STUCK, Instrument

GPU = Device("GPU-a", 0, "NVIDIA", "V100", "0000:01:00.0", "560")
UNKNOWN = CallError("nvmlDeviceGetPowerManagementLimit", "UNKNOWN")
LOST = CallError("nvmlDeviceGetTotalEnergyConsumption", "GPU_IS_LOST")
WATTS = 200.0


class Desk:
    """An instrument whose readings and ticks a test makes, ten a second."""

    def __init__(self) -> None:
        self.instrument = Instrument(GPU, Meter())
        self._ledger = Ledger(LedgerPolicy(), "one", Budgets())
        self._n_ticks = 0

    def tick(
        self, *errors: CallError, late_seconds: float | None = 0.0, dip_joules: float = 0.0
    ) -> None:
        """Tick, with a reading that is so many seconds old; None: with no reading."""
        self._n_ticks += 1
        now_seconds = 100 + self._n_ticks / 10
        if late_seconds is not None:
            at_seconds = now_seconds - late_seconds
            self.instrument.deliver(
                Reading(
                    at_ns=round(at_seconds * NS_PER_SECOND),
                    energy_counter_uj=round((1e6 + at_seconds * WATTS - dip_joules) * UJ_PER_JOULE),
                    power_watts=WATTS,
                    limits=PowerLimits(max_watts=300.0),
                    errors=errors,
                )
            )
        self.instrument.take_readings(
            self._ledger, round(now_seconds * NS_PER_SECOND), NS_PER_SECOND
        )


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture(autouse=True)
def all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_a_call_that_goes_on_failing_is_told_once_and_counted_each_time(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(50):
        desk.tick(UNKNOWN)

    assert {UNKNOWN: 50} == desk.instrument.errors
    told = f"gpu_uuid=GPU-a call={UNKNOWN.call} error=UNKNOWN"
    assert [f"event=driver_call_failed {told}"] == caplog.messages


def test_a_call_that_fails_now_and_then_is_told_once_and_so_is_its_recovery(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(50):
        desk.tick(UNKNOWN)
        desk.tick()
    assert 1 == len(caplog.messages)
    for _ in range(50):
        desk.tick()

    assert 2 == len(caplog.messages)
    assert "event=driver_call_recovered" in caplog.messages[1]


def test_readings_that_come_late_one_after_the_other_are_one_story(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(10):
        desk.tick(late_seconds=1.75)
        for _ in range(19):
            desk.tick(late_seconds=None)

    assert 1 == len(caplog.messages)
    assert "error=STUCK" in caplog.messages[0]


def test_a_device_that_is_stuck_has_recovered_from_nothing(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.tick(LOST)
    for _ in range(100):
        desk.tick(late_seconds=None)

    assert {LOST, STUCK} == desk.instrument.errors.keys()
    assert [] == [message for message in caplog.messages if "recovered" in message]


def test_an_anomaly_that_comes_again_and_again_is_told_once(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.tick()
    for _ in range(50):
        desk.tick(dip_joules=8_500.0)
        desk.tick()
    assert ["event=energy_anomaly gpu_uuid=GPU-a reason=backwards"] == caplog.messages
    for _ in range(700):
        desk.tick()
    desk.tick(dip_joules=8_500.0)

    assert 2 == len(caplog.messages)


def test_a_call_that_fails_with_another_error_now_has_not_recovered(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    unplugged = CallError(LOST.call, "NOT_FOUND")
    for error in (LOST, unplugged):
        for _ in range(50):
            desk.tick(error)
    assert ["GPU_IS_LOST", "NOT_FOUND"] == [told.rpartition("=")[2] for told in caplog.messages]
    for _ in range(50):
        desk.tick()

    assert 3 == len(caplog.messages)
    assert "event=driver_call_recovered" in caplog.messages[2]
