"""What is dear to ask is asked seldom."""

from fakes.clock import FakeClock
from joulestat.devices.amd_gpu import THROTTLE_BEATS, AmdGpu
from joulestat.devices.amd_source import Offer, Quantity
from joulestat.domain.device import Device, ThrottleReason

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
