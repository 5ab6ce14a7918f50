"""What a policy allows: bounds by model, steps, and what a node's limits add up to."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fakes.host import BASELINE_WATTS, GPU, Host
from joulestat.domain.errors import InvalidLease
from joulestat.power.policy import Bounds, LeasePolicy, check_limit

RANGE = (100.0, 400.0)
STRICT = LeasePolicy(
    bounds=Bounds(200.0, 350.0), models={"NVIDIA H100": Bounds(ceiling_watts=300.0)}
)


@contextmanager
def host_with(folder: Path, policy: LeasePolicy, n_cards: int = 1) -> Iterator[Host]:
    host = Host(folder, policy, n_cards)
    yield host
    host.stop()


@pytest.mark.parametrize(
    ("model", "watts", "allowed"),
    [
        ("V100", 199.0, "200..350"),
        ("V100", 351.0, "200..350"),
        ("nvidia h100", 301.0, "200..300"),
        ("nvidia h100", 199.0, "200..300"),
    ],
)
def test_a_limit_outside_the_policy_is_refused_and_the_refusal_says_whose_bound_it_is(
    model: str, watts: float, allowed: str
) -> None:
    with pytest.raises(InvalidLease, match="this host's policy allows") as refused:
        check_limit(watts, STRICT, model, RANGE)

    assert ("power_limit_watts", allowed) == (refused.value.field, refused.value.allowed)


def test_a_policy_never_widens_what_the_driver_accepts() -> None:
    wide = LeasePolicy(bounds=Bounds(1.0, 10_000.0))

    with pytest.raises(InvalidLease, match="driver accepts 100 to 400 W"):
        check_limit(500.0, wide, "", RANGE)
    assert (100.0, 400.0) == wide.bounds_of("any").of(*RANGE)


def test_a_floor_above_all_that_a_card_can_do_allows_nothing() -> None:
    with pytest.raises(InvalidLease, match="leave nothing of what the driver accepts"):
        check_limit(400.0, LeasePolicy(bounds=Bounds(floor_watts=500.0)), "", RANGE)


def test_what_the_policy_refuses_never_reaches_the_card(tmp_path: Path) -> None:
    with host_with(tmp_path, STRICT) as host:
        with pytest.raises(InvalidLease):
            host.grant(150.0)

        assert [] == host.card.written
        assert {"refused": 1} == host.counts()
        control = host.governor.controls()[GPU]
        assert (200.0, 350.0) == (control.floor_watts, control.ceiling_watts)


def test_one_request_moves_a_limit_only_so_far(tmp_path: Path) -> None:
    with host_with(tmp_path, LeasePolicy(max_step_ratio=0.2)) as host:
        with pytest.raises(InvalidLease, match="move it by 60 W at most") as refused:
            host.grant(200.0)
        host.grant(240.0)

    assert "240..360" == refused.value.allowed


@pytest.mark.parametrize(
    ("ceiling_watts", "allowed", "what_to_do"),
    [(280.0, "240..280", "go there in several steps"),
     (220.0, "nothing, from there", "nothing that it allows is that near")],
)  # fmt: skip
def test_a_step_is_offered_only_to_where_the_policy_lets_a_limit_be(
    tmp_path: Path, ceiling_watts: float, allowed: str, what_to_do: str
) -> None:
    policy = LeasePolicy(max_step_ratio=0.2, bounds=Bounds(ceiling_watts=ceiling_watts))
    with (
        host_with(tmp_path, policy) as host,
        pytest.raises(InvalidLease, match=what_to_do) as refused,
    ):
        host.grant(200.0)

    assert allowed == refused.value.allowed


def test_the_limits_of_a_node_do_not_add_up_to_more_than_its_ceiling(tmp_path: Path) -> None:
    with host_with(tmp_path, LeasePolicy(node_ceiling_watts=600.0), n_cards=2) as host:
        with pytest.raises(InvalidLease, match=r"make 650 W, but .* allows 600 W") as refused:
            host.grant(350.0)
        host.grant(200.0, gpu="GPU-b")
        host.grant(400.0)

    assert "..300" == refused.value.allowed


def test_a_node_above_its_ceiling_may_still_go_down_and_back(tmp_path: Path) -> None:
    with host_with(tmp_path, LeasePolicy(node_ceiling_watts=400.0), n_cards=2) as host:
        host.grant(250.0)
        host.governor.release(GPU, principal="alice")

        assert BASELINE_WATTS == host.card.limit_watts


def test_what_another_tool_set_counts_towards_the_ceiling(tmp_path: Path) -> None:
    with host_with(tmp_path, LeasePolicy(node_ceiling_watts=700.0), n_cards=2) as host:
        host.grant(310.0)
        host.cards["GPU-b"].limit_watts = 380.0
        with pytest.raises(InvalidLease, match="380 W on the 1 other GPUs make 730 W"):
            host.grant(350.0)


def test_a_node_whose_other_limits_cannot_be_read_raises_none(tmp_path: Path) -> None:
    with host_with(tmp_path, LeasePolicy(node_ceiling_watts=700.0), n_cards=2) as host:
        host.cards["GPU-b"].fault = "lost"
        with pytest.raises(InvalidLease, match="GPU-b cannot be read"):
            host.grant(350.0)
        host.grant(250.0)
