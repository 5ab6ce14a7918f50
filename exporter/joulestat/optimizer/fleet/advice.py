"""Budgets and per-GPU limits as decisions, and the runs that go into a budget."""

from collections.abc import Sequence
from dataclasses import replace

from joulestat.domain.plan import Action, Decision, Expected, FittedPoint
from joulestat.domain.units import same_limit
from joulestat.optimizer.fleet.division import Division, RunCurve, Share
from joulestat.optimizer.fleet.fitted import curve_at
from joulestat.optimizer.fleet.gpu_facts import GpuLimits
from joulestat.optimizer.history.facts import Limits, RunHistory


def run_curve(
    history: RunHistory,
    decision: Decision,
    *,
    priority: float = 1.0,
    max_slowdown: float | None = None,
) -> RunCurve | None:
    """Return what a budget must know of a run.

    A run that is not to be touched (GPUs shared with another run, limits that differ or that
    somebody else set, samples too old) is counted with its reference limit and left alone.

    Args:
        history: What is known of the run.
        decision: What was decided for it alone; its fitted curve is used.
        priority: See ``RunCurve``.
        max_slowdown: See ``RunCurve``.

    Returns:
        None where it holds no GPU, or nothing is known of what its GPUs may draw: the caller
        must then set aside what they may draw at most.
    """
    limits = history.limits
    most_watts = limits.reference_watts
    if most_watts is None and limits.max_watts is not None:
        most_watts = round(limits.max_watts)
    if most_watts is None or not history.gpu_uuids:
        return None
    touchable = (
        history.live
        and not history.shared_with
        and not limits.foreign
        and not limits.unequal_reference
        and limits.reference_watts is not None
    )
    return RunCurve(
        run=history.run,
        n_gpus=len(history.gpu_uuids),
        reference_watts=most_watts,
        min_watts=limits.min_watts if touchable else None,
        fitted=decision.curve,
        priority=priority,
        max_slowdown=max_slowdown,
        current_watts=limits.current_watts if limits.leased else None,
        policy_watts=_policy_watts(limits),
    )


def _policy_watts(limits: Limits) -> tuple[float, float] | None:
    if not limits.cut_by_policy or limits.min_watts is None or limits.max_watts is None:
        return None
    return limits.min_watts, limits.max_watts


def as_decisions(division: Division, decisions: Sequence[Decision]) -> list[Decision]:
    """Return what to hold for each run under the budget.

    In the order in which they must be published: first those that lower a limit, so that the sum
    stays within the budget on the way, too; a caller must not raise what comes after a failure.

    Args:
        division: The divided budget.
        decisions: What was decided for each run alone: evidence and curve are kept. A probe at a
            limit within the run's share goes on; no other limit of theirs counts.
    """
    alone = {decision.run: decision for decision in decisions}
    pairs = [(share, alone[share.run]) for share in division.shares if share.run in alone]
    pairs.sort(key=lambda pair: pair[0].power_limit_watts - pair[0].reference_watts)
    pairs.sort(key=lambda pair: pair[0].raises)
    return [_decision(division, share, decision) for share, decision in pairs]


def with_gpu_limits(decision: Decision, gpus: GpuLimits) -> Decision:
    """Return a decision with a limit for each GPU, where it holds one common limit.

    The common limit stays what the decision is about: what it was chosen by, and what it expects
    of time. Why the GPUs differ is added to its numbers, and to its reason where they do.

    Args:
        decision: What was decided for the run as a whole.
        gpus: What each of its GPUs is to have, at most that.
    """
    if decision.action is not Action.HOLD:
        return decision
    numbers = (*decision.numbers, gpus.reason, *_slack_numbers(gpus))
    if not gpus.differ:
        return replace(decision, numbers=numbers)
    return replace(
        decision,
        reason=f"{decision.reason} {gpus.reason}",
        gpu_power_limits_watts=dict(gpus.limits_watts),
        numbers=numbers,
    )


def _slack_numbers(gpus: GpuLimits) -> tuple[str, ...]:
    return tuple(
        f"{uuid} waits for at least {100 * max(0.0, gpus.slack_ratios[uuid]):.1f} % of a step and "
        f"gets {watts} W."
        for uuid, watts in gpus.limits_watts.items()
        if uuid in gpus.slack_ratios
    )


def _decision(division: Division, share: Share, alone: Decision) -> Decision:
    if not share.limited:
        return replace(
            alone,
            action=Action.NONE,
            power_limit_watts=None,
            expected=None,
            reason=f"The run cannot be limited: {_budget(division)} sets aside its reference limit "
            f"of {share.reference_watts} W for each of its {share.n_gpus} GPU(s).",
        )
    probing = alone.action is Action.PROBE and alone.power_limit_watts is not None
    if probing and (alone.power_limit_watts or 0) <= share.power_limit_watts:
        return alone
    if share.needs_no_lease:
        return replace(
            alone,
            action=Action.NONE,
            power_limit_watts=None,
            expected=None,
            reason=f"{_reason(division, share)} The host's policy allows {_range(share)}, so no "
            "lease holds it: it comes back by itself.",
        )
    return replace(
        alone,
        action=Action.HOLD,
        power_limit_watts=share.power_limit_watts,
        reason=_reason(division, share),
        expected=_expected(alone.curve, share),
        numbers=(*alone.numbers, *_numbers(division, share)),
    )


def _reason(division: Division, share: Share) -> str:
    speed = f"{100 * share.speed_ratio:.1f} % of its speed at {share.reference_watts} W"
    known = "measured" if share.measured else "assumed: so low it was not measured yet"
    if same_limit(share.power_limit_watts, share.reference_watts):
        return f"The reference limit of {share.reference_watts} W fits {_budget(division)}."
    kept = ", kept because another is hardly better" if share.kept else ""
    bound = f" The host's policy allows {_range(share)}." if share.is_at_bound else ""
    return (
        f"Share of {_budget(division)} under which all runs together get most done{kept}: the run "
        f"keeps {speed} ({known}).{bound}"
    )


def _range(share: Share) -> str:
    low_watts, high_watts = share.policy_watts or (0.0, float(share.reference_watts))
    return f"{low_watts:g} to {high_watts:g} W"


def _budget(division: Division) -> str:
    return f"the power budget of {division.budget_watts / 1e3:g} kW"


def _expected(curve: Sequence[FittedPoint], share: Share) -> Expected | None:
    """Return what the measured curve says at the share's limit; None where it was not measured."""
    if not share.measured:
        return None
    reference = curve_at(curve, share.reference_watts)
    at = curve_at(curve, share.power_limit_watts)
    if reference is None or at is None:
        return None
    return Expected(
        energy_saving_ratio=1 - at.joules_per_step / reference.joules_per_step,
        slowdown_ratio=at.seconds_per_step / reference.seconds_per_step,
    )


def _numbers(division: Division, share: Share) -> tuple[str, ...]:
    reserved = division.reserved_watts
    idle = f", of which {reserved / 1e3:g} kW for GPUs of no run" if reserved else ""
    sums = (
        f"The limits of all GPUs add up to {division.limits_watts / 1e3:g} of "
        f"{division.budget_watts / 1e3:g} kW{idle}."
    )
    throughput = (
        f"All runs together keep {100 * division.throughput_ratio:.1f} % of their speed, weighted "
        "by GPUs and priority."
    )
    price = f"One more kW would be worth {1e3 * division.gpus_per_watt:.2f} GPUs at full speed."
    own = f"This run gets {share.power_limit_watts} W for each of {share.n_gpus} GPU(s)."
    return (sums, throughput, price, own)
