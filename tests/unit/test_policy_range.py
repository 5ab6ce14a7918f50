"""What the host's policy lets a lease hold: shown, read back from history, and kept to."""

from dataclasses import replace
from urllib.parse import parse_qs

import httpx
import pytest

from fakes.campaign import points_of
from fakes.snapshots import device_state, leased
from joulestat.domain.device import PowerLimits
from joulestat.domain.limit import PowerControl, leasable_watts
from joulestat.domain.plan import Action, Decision, FittedPoint, Window
from joulestat.optimizer.evidence.profile import Minimum, Profile
from joulestat.optimizer.fleet.advice import as_decisions, run_curve
from joulestat.optimizer.fleet.budget import divide_budget
from joulestat.optimizer.history.facts import Limits, RunHistory
from joulestat.optimizer.history.limits import CEILING, FLOOR, MAX, MIN, limits_of, read_devices
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.optimizer.search.choose import choose
from joulestat.optimizer.search.objective import Cost, Objective, Slowdown

CARD = PowerLimits(300.0, 300.0, 300.0, 100.0, 350.0)
CONTROL = PowerControl(writable=True, lease=None, drift=False, changes={})
LIMITS = Limits(
    reference_watts=300, current_watts=300, min_watts=200.0, max_watts=300.0, cut_by_policy=True
)
SWEPT = {300: (200.0, 0.50), 250: (180.0, 0.51), 200: (160.0, 0.54), 180: (158.0, 0.60)}


@pytest.mark.parametrize(
    ("floor_watts", "ceiling_watts", "allowed"),
    [
        (None, None, (100.0, 350.0)),
        (200.0, 300.0, (200.0, 300.0)),
        (50.0, 900.0, (100.0, 350.0)),
        (400.0, None, (400.0, 350.0)),
    ],
)
def test_a_lease_may_hold_what_card_and_policy_both_allow(
    floor_watts: float | None, ceiling_watts: float | None, allowed: tuple[float, float]
) -> None:
    control = replace(CONTROL, floor_watts=floor_watts, ceiling_watts=ceiling_watts)

    assert allowed == leasable_watts(CARD, control)


def test_without_the_cards_own_range_nothing_is_said() -> None:
    assert (None, None) == leasable_watts(None, CONTROL)
    assert (None, None) == leasable_watts(replace(CARD, max_watts=None), CONTROL)


def read(**shown: tuple[float, float]) -> Limits:
    """Read the limits of two GPUs, ``a`` and ``b``, where Prometheus shows these ranges."""
    samples = [
        (metric, uuid, watts)
        for uuid, (own, policy) in {
            uuid: (shown[uuid], shown.get(f"{uuid}_policy")) for uuid in ("a", "b")
        }.items()
        for metric, watts in (
            *zip((MIN, MAX), own, strict=True),
            *(zip((FLOOR, CEILING), policy, strict=True) if policy else ()),
        )
    ]
    asked_at: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        form = parse_qs(request.content.decode())
        asked_at.extend(form["time"])
        result = [
            {"metric": {"__name__": metric, "gpu_uuid": uuid}, "value": [1.0, str(watts)]}
            for metric, uuid, watts in samples
            if metric in form["query"][0] and "count_values" not in form["query"][0]
        ]
        data = {"resultType": "vector", "result": result}
        return httpx.Response(200, json={"status": "success", "data": data})

    client = PrometheusClient("http://prometheus.test", transport=httpx.MockTransport(answer))
    limits = limits_of(read_devices(client, ("a", "b"), 0.0, 1_000.0), ("a", "b"), {})
    assert {1_000.0} == set(map(float, asked_at))
    return limits


def test_the_range_is_what_leases_might_have_had_at_the_instant_decided_about() -> None:
    found = read(
        a=(100.0, 350.0), a_policy=(200.0, 300.0), b=(100.0, 350.0), b_policy=(150.0, 280.0)
    )

    assert (200.0, 280.0, True) == (found.min_watts, found.max_watts, found.cut_by_policy)


def test_where_no_policy_is_shown_the_cards_range_is_all_there_is() -> None:
    without = read(a=(100.0, 350.0), b=(120.0, 350.0))
    uncut = read(a=(100.0, 350.0), a_policy=(100.0, 350.0), b=(100.0, 350.0))

    assert (120.0, 350.0, False) == (without.min_watts, without.max_watts, without.cut_by_policy)
    assert (100.0, 350.0, False) == (uncut.min_watts, uncut.max_watts, uncut.cut_by_policy)


def decide(
    measured: dict[int, tuple[float, float]],
    limits: Limits = LIMITS,
    objective: Objective | None = None,
    *,
    explore: bool = False,
) -> Decision:
    history = RunHistory(
        "llama",
        window=Window(1000.0, 2000.0),
        gpu_uuids=("GPU-0", "GPU-1"),
        limits=limits,
        live=True,
        fresh=True,
    )
    return choose(
        history,
        Profile(points_of(measured)),
        objective or Slowdown(1.5),
        minimum=Minimum(steps=30, seconds=60.0),
        explore=explore,
    )


def test_what_was_measured_below_the_floor_is_not_held() -> None:
    free = decide(SWEPT, replace(LIMITS, min_watts=100.0, max_watts=350.0, cut_by_policy=False))
    bound = decide(SWEPT)

    assert 180 == free.power_limit_watts
    assert (Action.HOLD, 200) == (bound.action, bound.power_limit_watts)
    assert bound.reason.endswith(" The host's policy allows 200 to 300 W.")


def test_the_first_look_is_within_the_policy_and_says_so_at_its_edge() -> None:
    low = decide({300: (200.0, 0.5)}, replace(LIMITS, min_watts=260.0), Cost(0.5), explore=True)
    high = decide(
        {300: (200.0, 0.5)}, replace(LIMITS, min_watts=100.0, max_watts=153.0), explore=True
    )

    assert (Action.PROBE, 260) == (low.action, low.power_limit_watts)
    assert low.reason.endswith(" The host's policy allows 260 to 300 W.")
    assert (Action.PROBE, 150) == (high.action, high.power_limit_watts)
    assert high.reason.endswith(" The host's policy allows 100 to 153 W.")


def test_no_look_is_worth_what_is_refused() -> None:
    only = decide({300: (200.0, 0.5)}, replace(LIMITS, min_watts=300.0), explore=True)

    assert Action.NONE is only.action
    assert (
        "Only the reference limit of 300 W is measured, and the host's policy allows 300 to 300 W."
    ) == only.reason


def test_a_reference_above_the_ceiling_is_left_to_itself() -> None:
    slow = {300: (200.0, 0.50), 250: (199.0, 0.90)}
    decision = decide(slow, replace(LIMITS, max_watts=280.0), Slowdown(1.05))

    assert (Action.NONE, None, None) == (
        decision.action,
        decision.power_limit_watts,
        decision.expected,
    )
    assert decision.reason.endswith(
        " But the host's policy allows 200 to 280 W, so no lease may hold 300 W: the limit from "
        "before any lease is left to itself."
    )


def test_gpus_whose_policies_have_nothing_in_common_get_no_advice() -> None:
    decision = decide(SWEPT, replace(LIMITS, min_watts=280.0, max_watts=250.0))

    assert Action.NONE is decision.action
    assert "the lowest that each may have is 280 W, the highest 250 W" in decision.reason


CURVE = tuple(
    FittedPoint(watts, watts * seconds, seconds, 0.0, 0.0)
    for watts, seconds in ((150, 2.0), (200, 1.5), (250, 1.2), (300, 1.0))
)


def share_of(budget_watts: float, limits: Limits) -> Decision:
    alone = replace(decide(SWEPT, limits), curve=CURVE)
    history = RunHistory("llama", gpu_uuids=alone.gpu_uuids, limits=limits, live=True, fresh=True)
    curve = run_curve(history, alone)
    assert curve is not None
    (share,) = as_decisions(divide_budget([curve], budget_watts), [alone])
    return share


def test_a_share_of_a_power_budget_keeps_to_the_policy() -> None:
    limits = replace(LIMITS, max_watts=250.0)

    assert (Action.HOLD, 230) == (
        share_of(460.0, limits).action,
        share_of(460.0, limits).power_limit_watts,
    )
    capped = share_of(580.0, limits)
    assert (Action.HOLD, 250) == (capped.action, capped.power_limit_watts)
    assert capped.reason.endswith(" The host's policy allows 200 to 250 W.")


def test_where_the_budget_has_room_for_the_reference_no_lease_holds_it_above_the_ceiling() -> None:
    share = share_of(600.0, replace(LIMITS, max_watts=250.0))

    assert (Action.NONE, None) == (share.action, share.power_limit_watts)
    assert share.reason.endswith(
        "The host's policy allows 200 to 250 W, so no lease holds it: it comes back by itself."
    )


def test_a_leased_gpu_of_the_example_still_shows_its_range() -> None:
    assert (100.0, 300.0) == leasable_watts(
        PowerLimits(250, 250, 300, 100, 300), leased(device_state()).control
    )
