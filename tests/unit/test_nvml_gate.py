"""Who is let in, who is waited for, and who hangs."""

import threading

import pytest

from fakes.clock import FakeClock
from joulestat.devices.nvml_gate import SHUT, STUCK, Gate, TurnedAway


def test_a_gate_that_nobody_is_in_is_shut_at_once() -> None:
    gate = Gate(FakeClock())
    gate.enter("GPU-1")
    gate.leave("GPU-1")

    assert frozenset() == gate.shut(0.0)


def test_who_is_inside_is_waited_for() -> None:
    gate = Gate(FakeClock())
    gate.enter("GPU-1")
    leaving = threading.Timer(0.05, gate.leave, ["GPU-1"])
    leaving.start()

    assert frozenset() == gate.shut(10.0)
    leaving.join()


def test_a_gate_that_cannot_be_shut_stays_open_and_says_because_of_whom() -> None:
    gate = Gate(FakeClock())
    gate.enter("GPU-1")
    gate.enter("GPU-2")

    assert {"GPU-1", "GPU-2"} == gate.shut(0.01)
    gate.enter("GPU-3")
    assert {"GPU-1", "GPU-2", "GPU-3"} == gate.inside()


def test_who_comes_to_a_shut_gate_gets_in_when_it_opens() -> None:
    gate = Gate(FakeClock())
    gate.shut(0.0)
    coming = threading.Thread(target=gate.enter, args=["GPU-1"])
    coming.start()
    gate.open()
    coming.join(5.0)

    assert {"GPU-1"} == gate.inside()


def test_a_gate_that_stays_shut_is_not_waited_for_without_end() -> None:
    gate = Gate(FakeClock())
    gate.shut(0.0)

    with pytest.raises(TurnedAway, match=SHUT):
        gate.enter("GPU-1")


def test_a_second_call_about_one_gpu_waits_for_the_first() -> None:
    gate = Gate(FakeClock())
    gate.enter("GPU-1")
    coming = threading.Thread(target=gate.enter, args=["GPU-1"])
    coming.start()
    gate.enter("GPU-2")
    gate.leave("GPU-1")
    coming.join(5.0)

    assert not coming.is_alive()
    assert {"GPU-1", "GPU-2"} == gate.inside()


def test_a_second_call_about_a_gpu_that_hangs_is_turned_away() -> None:
    gate = Gate(FakeClock())
    gate.enter("GPU-1")

    with pytest.raises(TurnedAway, match=STUCK):
        gate.enter("GPU-1")
    assert {"GPU-1"} == gate.inside()


def test_a_call_hangs_after_a_second() -> None:
    clock = FakeClock()
    gate = Gate(clock)
    gate.enter("GPU-1")
    clock.advance(0.9)
    gate.enter("GPU-2")
    assert frozenset() == gate.hanging()
    clock.advance(0.2)

    assert {"GPU-1"} == gate.hanging()
    assert {"GPU-1", "GPU-2"} == gate.inside()
