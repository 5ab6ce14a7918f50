"""Whatever a driver answers, the exported energy stays true.

A card draws power that is known exactly; its register and its power sensor are put through a
random plan of faults. ``make soak`` runs 100,000 plans, ``make test`` a few hundred.
"""

import os
from dataclasses import dataclass
from enum import Enum

from hypothesis import given, settings
from hypothesis import strategies as st

from joulestat.domain.device import CallError, PowerLimits, Reading
from joulestat.domain.units import NS_PER_MILLISECOND, NS_PER_SECOND, power_to_uj
from joulestat.metering.counter import DRAW_FACTOR, REGISTER_PERIOD_NS
from joulestat.metering.meter import STILL_NS, Meter, MeterRecord

PLANS = int(os.environ.get("FAULT_PLANS", "300"))
MAX_WATTS = 300.0
TICK_NS = 100 * NS_PER_MILLISECOND
ONE_TICK_UJ = power_to_uj(MAX_WATTS, TICK_NS)
HEALTHY_TICKS = 40


class Fault(Enum):
    """What a driver does to the energy register."""

    ZERO = "reads zero"
    DIP = "reads 8.5 kJ less"
    JUMP = "reads 10 MJ more"
    GARBAGE = "reads 2^64 - 1 mJ"
    STALE = "stands still, counts on underneath"
    FROZEN = "stands still and loses what is drawn"
    FAILS = "the call fails"
    RESET = "begins again at zero (driver reload)"


@dataclass(frozen=True)
class Episode:
    """A stretch of ticks with one fault, after one without."""

    healthy_ticks: int
    fault: Fault
    ticks: int
    watts: float
    restart: bool


EPISODES = st.lists(
    st.builds(
        Episode,
        healthy_ticks=st.integers(HEALTHY_TICKS, 90),
        fault=st.sampled_from(Fault),
        ticks=st.integers(1, 60),
        watts=st.integers(25, int(MAX_WATTS)).map(float),
        restart=st.booleans(),
    ),
    min_size=1,
    max_size=5,
)


class Card:
    """A card whose power moves in straight lines, so that its energy is known exactly."""

    def __init__(self) -> None:
        self.now_ns = 50 * NS_PER_SECOND
        self.watts = 100.0
        self.true_uj = 0
        self.hidden_uj = 22_000_000_000_000  # what the register would say without faults
        self.shown_uj = self.hidden_uj

    def tick(self, target_watts: float, fault: Fault | None) -> Reading:
        before, self.watts = self.watts, self.watts + (target_watts - self.watts) / 4
        drawn_uj = power_to_uj((before + self.watts) / 2, TICK_NS)
        self.now_ns += TICK_NS
        self.true_uj += drawn_uj
        if fault is not Fault.FROZEN:
            self.hidden_uj += drawn_uj
        if fault not in (Fault.FROZEN, Fault.STALE):
            self.shown_uj = self.hidden_uj
        return self.reading(fault)

    def reading(self, fault: Fault | None) -> Reading:
        raw_uj: int | None = self.shown_uj
        if fault is Fault.ZERO:
            raw_uj = 0
        elif fault is Fault.DIP:
            raw_uj = self.shown_uj - 8_500_000_000
        elif fault is Fault.JUMP:
            raw_uj = self.shown_uj + 10_000_000_000_000
        elif fault is Fault.GARBAGE:
            raw_uj = (2**64 - 1) * 1_000
        elif fault is Fault.FAILS:
            raw_uj = None
        return Reading(
            at_ns=self.now_ns,
            energy_counter_uj=raw_uj,
            power_watts=self.watts,
            limits=PowerLimits(max_watts=MAX_WATTS),
            errors=(CallError("energy", "UNKNOWN"),) if fault is Fault.FAILS else (),
            counter_failed=fault is Fault.FAILS,
        )


def total_uj(meter: Meter) -> int:
    assert meter.state is not None
    return meter.state.total_uj


def watch(meter: Meter, reading: Reading) -> None:
    """Take a reading; the total may not fall, nor rise faster than the card can draw."""
    before = total_uj(meter) if meter.state else None
    meter.observe(reading)
    if before is not None:
        step_uj = total_uj(meter) - before
        assert 0 <= step_uj <= power_to_uj(DRAW_FACTOR * MAX_WATTS, TICK_NS + REGISTER_PERIOD_NS)


@settings(max_examples=PLANS, deadline=None)
@given(plan=EPISODES)
def test_no_fault_plan_makes_energy_fall_jump_or_drift_from_the_truth(plan: list[Episode]) -> None:
    card, meter = Card(), Meter()
    for _ in range(5):
        watch(meter, card.tick(100.0, None))
    began_uj, true_began_uj = total_uj(meter), card.true_uj
    unknowable_uj = 0
    for episode in plan:
        for _ in range(episode.healthy_ticks):
            watch(meter, card.tick(episode.watts, None))
        if episode.restart:
            assert meter.record is not None
            assert meter.state is not None
            by_power, before_uj = meter.state.remembered, card.true_uj
            text = meter.record.to_document()
            meter = Meter(MeterRecord.from_document(text))
            watch(meter, card.tick(episode.watts, None))
            # Across a restart the register is known, power is not.
            unknowable_uj += (card.true_uj - before_uj) * by_power
        if episode.fault is Fault.RESET:
            card.hidden_uj = card.shown_uj = 0
        before_uj = card.true_uj
        for _ in range(episode.ticks):
            watch(meter, card.tick(episode.watts, episode.fault))
        if episode.fault is Fault.FROZEN and episode.ticks * TICK_NS <= STILL_NS:
            # A register that leaves out a moment and goes on tells nobody.
            unknowable_uj += card.true_uj - before_uj
    for _ in range(HEALTHY_TICKS):
        watch(meter, card.tick(200.0, None))

    increase_uj, true_uj = total_uj(meter) - began_uj, card.true_uj - true_began_uj
    assert abs(increase_uj - true_uj) <= ONE_TICK_UJ + unknowable_uj
