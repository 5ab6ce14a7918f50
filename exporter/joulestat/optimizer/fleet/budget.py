"""One power budget for all runs: the limits under which they get most done together.

What is kept under the budget is the sum of the *limits*, not of what is drawn: a limit is what a
GPU may draw at any time, and a breaker does not wait for averages.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from joulestat.domain.errors import ConfigError
from joulestat.optimizer.fleet.division import Division, RunCurve, Share
from joulestat.optimizer.fleet.speed import GRID_WATTS, SpeedCurve, speed_curve

KEEP_WITHIN_RATIO = 0.001
"""Limits in force stay if they get within this of the most done: a curve that is measured anew
every minute moves by more than that, and each change costs a measurement."""


@dataclass(frozen=True, slots=True)
class _Limitable:
    """A run, its curve, and the index of the lowest limit that it may get."""

    run: RunCurve
    curve: SpeedCurve
    lowest: int

    def watts(self, index: int) -> int:
        return self.run.n_gpus * self.curve.limits_watts[index]

    def step_watts(self, index: int) -> int:
        return self.watts(index + 1) - self.watts(index)

    def gpus_per_watt(self, index: int) -> float:
        """Return what a watt more is worth at a limit; the runs' GPUs count on both sides."""
        gain = self.curve.worths[index + 1] - self.curve.worths[index]
        return self.run.weight * gain / self.step_watts(index)

    def worth(self, index: int) -> float:
        return self.run.weight * self.curve.worths[index]


def divide_budget(
    runs: Sequence[RunCurve], budget_watts: float, *, reserved_watts: float = 0.0
) -> Division:
    """Return the limits whose sum stays within the budget and whose weighted speed is highest.

    Each run's speed is taken by its concave envelope. Then the best division is found by giving
    step after step of 5 W to the run that gains most per watt. That is exact where runs have
    equally many GPUs; else it is off by less than the first step that did not fit is worth.

    Args:
        runs: All runs under the budget.
        budget_watts: For the sum of all limits.
        reserved_watts: Limits of GPUs that no run holds: they may begin to draw at any time.

    Raises:
        ConfigError: The budget is less than the least that the runs can be given.
    """
    fixed_watts = reserved_watts + sum(
        run.n_gpus * run.reference_watts for run in runs if not run.can_be_limited
    )
    limitable = [_limitable(run) for run in runs if run.can_be_limited]
    _check(limitable, budget_watts, fixed_watts)
    room_watts = budget_watts - fixed_watts
    chosen, price = _fill(limitable, room_watts)
    best = sum(item.worth(index) for item, index in zip(limitable, chosen, strict=True))
    in_force = [_in_force(item) for item in limitable]
    kept = _all_kept(limitable, in_force, room_watts, best)
    if kept is None:
        kept = _near_kept(limitable, chosen, in_force, room_watts)
    shares = iter(
        _share(item, index, kept=index == now != first)
        for item, index, now, first in zip(limitable, kept, in_force, chosen, strict=True)
    )
    in_order = tuple(next(shares) if run.can_be_limited else _fixed_share(run) for run in runs)
    total_weight = sum(run.weight for run in runs)
    done = sum(run.weight * share.speed_ratio for run, share in zip(runs, in_order, strict=True))
    return Division(
        budget_watts=budget_watts,
        reserved_watts=reserved_watts,
        limits_watts=reserved_watts
        + sum(share.n_gpus * share.power_limit_watts for share in in_order),
        shares=in_order,
        throughput_ratio=done / total_weight if total_weight else 1.0,
        gpus_per_watt=price,
    )


def _limitable(run: RunCurve) -> _Limitable:
    min_watts = run.reference_watts if run.min_watts is None else run.min_watts
    curve = speed_curve(run.fitted, min_watts, run.reference_watts, run.max_watts)
    slowest = 0 if run.max_slowdown is None else curve.index_at_least(1.0 / run.max_slowdown)
    return _Limitable(run, curve, slowest)


def _check(limitable: Sequence[_Limitable], budget_watts: float, fixed_watts: float) -> None:
    least_watts = fixed_watts + sum(item.watts(item.lowest) for item in limitable)
    if least_watts <= budget_watts:
        return
    floor_watts = fixed_watts + sum(item.watts(0) for item in limitable)
    why = (
        "at the lowest limits that their GPUs accept"
        if floor_watts == least_watts
        else f"to be no slower than asked ({floor_watts / 1e3:g} kW at the lowest limits of all)"
    )
    cannot = f", {fixed_watts / 1e3:g} kW of it for GPUs that cannot be limited"
    raise ConfigError(
        f"a budget of {budget_watts / 1e3:g} kW is too small: the runs need "
        f"{least_watts / 1e3:g} kW {why}{cannot if fixed_watts else ''}; raise the budget or "
        "stop a run",
        field="power_budget_kw",
        value=f"{budget_watts / 1e3:g}",
        place="--power-budget-kw",
        allowed=f"{least_watts / 1e3:g} or more",
    )


def _fill(limitable: Sequence[_Limitable], room_watts: float) -> tuple[list[int], float]:
    """Give step by step; of steps equally good the slowest run's first: like runs get like limits.

    Returns:
        Index of the limit of each run, and what a watt more would be worth.
    """
    chosen = [item.lowest for item in limitable]
    left_watts = room_watts - sum(item.watts(item.lowest) for item in limitable)
    waiting: list[tuple[float, float, int]] = []
    price = 0.0

    def wait(number: int) -> None:
        item, index = limitable[number], chosen[number]
        if index + 1 < len(item.curve.limits_watts):
            # Rounded, so that steps along one straight line are equally good.
            gain = round(item.gpus_per_watt(index), 12)
            heapq.heappush(waiting, (-gain, item.curve.worths[index], number))

    for number in range(len(limitable)):
        wait(number)
    while waiting:
        negative_gain, _, number = heapq.heappop(waiting)
        step_watts = limitable[number].step_watts(chosen[number])
        if step_watts > left_watts:
            # Its next step is worth no more per watt: this run has what it gets.
            price = max(price, -negative_gain)
            continue
        left_watts -= step_watts
        chosen[number] += 1
        wait(number)
    return chosen, price


def _in_force(item: _Limitable) -> int | None:
    """Return the index of the limit in force; None where there is none that could stay."""
    limits, current = item.curve.limits_watts, item.run.current_watts
    if current is None or current not in limits:
        return None
    index = limits.index(current)
    return index if index >= item.lowest else None


def _all_kept(
    limitable: Sequence[_Limitable],
    in_force: Sequence[int | None],
    room_watts: float,
    best: float,
) -> list[int] | None:
    """Return the limits in force if all may stay and get nearly as much done; None otherwise."""
    known = [index for index in in_force if index is not None]
    if len(known) < len(limitable):
        return None
    pairs = list(zip(limitable, known, strict=True))
    if sum(item.watts(index) for item, index in pairs) > room_watts:
        return None
    worth = sum(item.worth(index) for item, index in pairs)
    return known if worth >= (1.0 - KEEP_WITHIN_RATIO) * best else None


def _near_kept(
    limitable: Sequence[_Limitable],
    chosen: Sequence[int],
    in_force: Sequence[int | None],
    room_watts: float,
) -> list[int]:
    """Keep each limit in force that is one step off: first those that free watts."""
    kept = list(chosen)
    left_watts = room_watts - sum(
        item.watts(index) for item, index in zip(limitable, chosen, strict=True)
    )
    near = [
        (item.watts(now) - item.watts(index), number, now)
        for number, (item, index, now) in enumerate(zip(limitable, chosen, in_force, strict=True))
        if now is not None
        and abs(item.curve.limits_watts[now] - item.curve.limits_watts[index]) <= GRID_WATTS
    ]
    for more_watts, number, now in sorted(near):
        if more_watts <= left_watts:
            left_watts -= more_watts
            kept[number] = now
    return kept


def _share(item: _Limitable, index: int, *, kept: bool) -> Share:
    return Share(
        run=item.run.run,
        n_gpus=item.run.n_gpus,
        power_limit_watts=item.curve.limits_watts[index],
        reference_watts=item.run.reference_watts,
        speed_ratio=item.curve.speeds[index],
        measured=item.curve.measured and index >= item.curve.known_from,
        limited=True,
        kept=kept,
        raises=item.run.current_watts is not None
        and item.curve.limits_watts[index] > item.run.current_watts,
        policy_watts=item.run.policy_watts,
    )


def _fixed_share(run: RunCurve) -> Share:
    return Share(
        run=run.run,
        n_gpus=run.n_gpus,
        power_limit_watts=run.reference_watts,
        reference_watts=run.reference_watts,
        speed_ratio=1.0,
        measured=False,
        limited=False,
    )
