"""Leases of random lengths on eight GPUs: each ends in its time, whatever the wall clock does."""

import os
import random
from collections.abc import Callable

import pytest

from fakes.host import Host
from fakes.quick_disk import quick_folder
from joulestat.domain.units import ns_to_seconds, same_limit
from joulestat.power.leases import LeasePolicy

LEASES = int(os.environ.get("LEASES", "600"))
N_CARDS = 8
EXPIRY_INTERVAL_SECONDS = 0.25
YEAR_SECONDS = 365.0 * 86_400.0
SLEW_RATIO = 500e-6
POLICY = LeasePolicy(write_interval_seconds=0.0)
BASELINES_WATTS = [283.517, 300.0, 250.001, 299.999, 211.25, 399.123, 100.0, 345.678]


Measured = Callable[[str, object], None]


@pytest.mark.promise("lease-end", "lease-clock")
@pytest.mark.parametrize("wall", ["steps", "slews"])
def test_no_lease_ends_early_and_none_late(wall: str, record_property: Measured) -> None:
    chance = random.Random(7)
    latest_seconds = 0.0
    with quick_folder() as folder:
        host = Host(folder, POLICY, n_cards=N_CARDS)
        for card, watts in zip(host.cards.values(), BASELINES_WATTS, strict=True):
            card.limit_watts = watts
        n_granted = 0
        while n_granted < LEASES or any(map(host.governor.lease, host.cards)):
            passed_seconds = chance.uniform(0.05, EXPIRY_INTERVAL_SECONDS)
            if wall == "steps":
                host.clock.step_wall(chance.choice([-YEAR_SECONDS, 0.0, YEAR_SECONDS]))
            else:
                host.clock.step_wall(passed_seconds * chance.choice([-SLEW_RATIO, SLEW_RATIO]))
            held = {gpu: host.governor.lease(gpu) for gpu in host.cards}
            host.pass_time(passed_seconds)
            now_ns = host.clock.boottime_ns()
            for (gpu, card), baseline_watts in zip(
                host.cards.items(), BASELINES_WATTS, strict=True
            ):
                lease = held[gpu]
                if lease is not None and now_ns < lease.expires_boottime_ns:
                    assert same_limit(lease.target_watts, card.limit_watts), "too early"
                    continue
                # Not by a milliwatt elsewhere, and within the interval that has just passed.
                assert baseline_watts == card.limit_watts, "too late"
                if lease is not None:
                    late_seconds = ns_to_seconds(now_ns - lease.expires_boottime_ns)
                    latest_seconds = max(latest_seconds, late_seconds)
                if n_granted < LEASES:
                    watts = chance.uniform(100.0, 400.0)
                    host.grant(watts, ttl=chance.uniform(5.0, 40.0), gpu=gpu)
                    n_granted += 1
        host.stop()
    moved = {"steps": "steps by a year", "slews": f"runs off by {SLEW_RATIO:g}"}[wall]
    record_property(
        "measured",
        f"wall clock {moved}: of {n_granted:,} leases none early, the latest {latest_seconds:.2f} s"
        " after its end",
    )


@pytest.mark.promise("lease-clock")
def test_another_boot_drops_every_lease_and_writes_nothing() -> None:
    with quick_folder() as folder:
        host = Host(folder, POLICY, n_cards=N_CARDS)
        for gpu in host.cards:
            host.grant(200.0, gpu=gpu)
        host.clock.reboot("boot-2")
        for card in host.cards.values():
            card.limit_watts = 300.0
            card.written.clear()
        host.kill()
        host.start()

        assert dict.fromkeys(host.cards) == {gpu: host.governor.lease(gpu) for gpu in host.cards}
        assert [] == [each for card in host.cards.values() for each in card.written]
        assert [] == list(host.journal.records())
        host.stop()
