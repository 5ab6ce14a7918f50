"""What is dear to ask is asked seldom."""

from fakes.clock import FakeClock
from joulestat.devices.amd_gpu import THROTTLE_BEATS, AmdGpu
from joulestat.devices.amd_source import Offer, Quantity
from joulestat.domain.device import CallError, Device, ThrottleReason
from joulestat.domain.errors import DeviceError

CAPPED = frozenset({ThrottleReason.POWER_CAP})


def gpu(index: int, asked: list[int]) -> AmdGpu:
    """A GPU whose library only tells why it is throttled."""

    def throttle() -> frozenset[ThrottleReason]:
        asked.append(index)
        return CAPPED

    device = Device(f"AMD-{index}", index, "AMD", "MI300X", f"0000:0{index}:00.0", "6.14")
    return AmdGpu(device, {Quantity.THROTTLE: [Offer("amdsmi", throttle)]}, (), FakeClock())


def test_one_slow_beat_samples_the_throttling_of_one_neighbour_at_the_most() -> None:
    asked: list[int] = []
    cards = [gpu(index, asked) for index in range(8)]
    for card in cards:
        card.read(details=True)
    asked.clear()

    for _ in range(THROTTLE_BEATS):
        before = len(asked)
        readings = [card.read(details=True) for card in cards]
        assert len(asked) - before <= 1
        assert {CAPPED} == {reading.details.throttle_reasons for reading in readings}
    assert sorted(asked) == list(range(8))


def test_a_slow_value_that_could_not_be_read_is_an_error_until_it_is_read() -> None:
    answers: list[float] = []

    def temperature() -> float:
        if not answers:
            raise DeviceError("no", call="amdsmi_get_temp_metric", error="IO")
        return answers[0]

    device = Device("AMD-0", 0, "AMD", "MI300X", "0000:01:00.0", "6.14")
    offers = {
        Quantity.POWER: [Offer("amdsmi", lambda: 250.0)],
        Quantity.TEMPERATURE: [Offer("amdsmi", temperature)],
    }
    card = AmdGpu(device, offers, (), FakeClock())
    failed = (CallError("amdsmi_get_temp_metric", "IO"),)

    assert failed == card.read(details=True).errors == card.read(details=False).errors
    answers.append(67.0)
    assert failed == card.read(details=False).errors
    assert () == card.read(details=True).errors == card.read(details=False).errors


def test_a_call_that_waited_while_the_library_was_opened_anew_is_made_again() -> None:
    device = Device("AMD-0", 0, "AMD", "MI300X", "0000:01:00.0", "6.14")

    def power_of_before() -> float:
        card.take(device, {Quantity.POWER: [Offer("amdsmi", lambda: 250.0)]}, ())
        raise DeviceError("no", call="amdsmi_get_power_info", error="NOT_FOUND")

    card = AmdGpu(device, {Quantity.POWER: [Offer("amdsmi", power_of_before)]}, (), FakeClock())
    reading = card.read(details=False)

    assert (250.0, ()) == (reading.power_watts, reading.errors)
