"""Per-GPU limits for synchronous training: who waits for the slowest gives power up, at no loss.

A step is as long as on the slowest GPU. The slowest keeps the run's common limit; the others are
lowered as far as they still arrive just before it. Whether they do is watched on the run's step
time, and undone where they do not. Round after round, from history alone: nothing is remembered.
"""

import math
from collections.abc import Mapping, Sequence

from joulestat.domain.plan import FittedPoint
from joulestat.domain.units import same_limit
from joulestat.optimizer.fleet.fitted import curve_at
from joulestat.optimizer.fleet.gpu_facts import GpuEvidence, GpuLimits, Stretch
from joulestat.optimizer.fleet.pace import FAILURE_KEPT_SECONDS, is_slower, pace_setters
from joulestat.optimizer.fleet.slack import Slack, carried, slacks
from joulestat.optimizer.fleet.speed import GRID_WATTS

LEAST_SLACK = 0.02
LEAST_SLACK_ERRORS = 3.0
"""A GPU is lowered only if it waits for more than this share of a step, and more than so many
standard errors: less is not worth a write, or not told from noise."""

MOST_AT_ONCE = 0.1
"""Of the common limit, in one step: between measured limits a card may fall off a cliff."""

USED_AT_ONCE = 0.5
"""Share of a GPU's slack that one step takes. Between measured limits the curve may be twice as
steep as it is drawn: then the step takes all of it, and no more."""

FIRST_AT_MOST = 0.01
"""What the first step below the common limit may lengthen a GPU's own step by: it shows whether
the GPU waits at all, or only draws less than the others for the same work."""

ARRIVES_AT = 0.99
"""Share of a step after which a lowered GPU is to be done: 1 % in hand."""

NEEDED_STDERR = 0.0025
"""Step time must be known this well, 0.25 %, to tell a step that is 0.5 % longer."""

BINDS_FROM = 0.85
"""The common limit acts if the busiest GPU draws this share of it. Below that, cards draw less
because they need less, and what they draw says nothing about waiting."""

REFRESH_SECONDS = 6 * 3_600.0
"""The pace under the common limit is measured anew after this: data and temperature drift."""


def per_gpu_limits(
    evidence: GpuEvidence,
    curve: Sequence[FittedPoint],
    *,
    common_watts: int,
    min_watts: float,
    waiting_watts: float = 0.0,
) -> GpuLimits:
    """Return what limit each GPU of a run is to have now.

    Assumes that one GPU is slower than another by the same ratio at every limit.

    Args:
        evidence: What each GPU drew, and the run's pace, now and before.
        curve: The run's measured curve under common limits, lowest limit first.
        common_watts: The limit that the run has, or is to have, as a whole. No GPU gets more.
        min_watts: Lowest limit that all its GPUs accept.
        waiting_watts: Less than what a waiting GPU draws; 0 if that is not known.
    """
    common = dict.fromkeys(evidence.gpu_uuids, common_watts)
    obstacle = _obstacle(evidence, curve, common_watts)
    if obstacle:
        return GpuLimits(common, obstacle, {})
    now = evidence.stretches[-1]
    baseline = _baseline(evidence.stretches, common_watts)
    if baseline is None:
        return GpuLimits(
            common, f"First, the pace at {common_watts} W on all GPUs is measured.", {}
        )
    waits = slacks(now, curve, common_watts, waiting_watts)
    seen = {uuid: slack.ratio for uuid, slack in waits.items()}
    in_force = {uuid: min(now.limits_watts[uuid], common_watts) for uuid in evidence.gpu_uuids}
    if not (waits and _is_known(now) and _is_known(baseline)):
        return GpuLimits(in_force, "Still measuring how long the GPUs wait for each other.", seen)
    if is_slower(now, baseline):
        raised, reason = _undone(evidence.stretches, baseline, in_force, common_watts, waits)
        return GpuLimits(raised, reason, seen)
    if now.end_seconds - baseline.end_seconds > REFRESH_SECONDS:
        return GpuLimits(common, f"The pace at {common_watts} W is measured anew.", seen)
    highest_watts = max(now.power_watts.values())
    if highest_watts < BINDS_FROM * common_watts:
        return GpuLimits(
            in_force,
            f"The limit of {common_watts} W does not act: the busiest GPU draws "
            f"{highest_watts:.0f} W, so what a GPU draws does not tell whether it waits.",
            seen,
        )
    floor_watts = max(math.ceil(min_watts), _cheapest_watts(curve, common_watts, waiting_watts))
    floors = _learned_floors(evidence.stretches, curve, common_watts, waiting_watts)
    waited = slacks(baseline, curve, common_watts, waiting_watts)
    longer = max(1.0, now.step_seconds / baseline.step_seconds)
    lowered = {}
    for uuid, watts in in_force.items():
        slack = carried(waited.get(uuid, waits[uuid]), waits[uuid], curve, common_watts, watts)
        lowest_watts = max(floor_watts, floors.get(uuid, 0))
        lowered[uuid] = _lowered(curve, common_watts, watts, slack, longer, lowest_watts)
    return GpuLimits(lowered, _reason(in_force, lowered, common_watts, waits), seen)


def _obstacle(evidence: GpuEvidence, curve: Sequence[FittedPoint], common_watts: int) -> str:
    if len(evidence.gpu_uuids) < 2:
        return "The run holds one GPU, which waits for no other."
    if curve_at(curve, common_watts) is None or len(curve) < 2:
        return (
            f"How the run's pace depends on the limit is not measured around {common_watts} W yet; "
            "let the optimizer measure with --explore."
        )
    if not evidence.stretches:
        return "What each GPU draws under which limit is not known yet."
    complete = set(evidence.gpu_uuids)
    now = evidence.stretches[-1]
    if not complete <= now.limits_watts.keys() or not complete <= now.power_watts.keys():
        return "What each GPU draws is not known for all of the run's GPUs."
    return ""


def _baseline(stretches: Sequence[Stretch], common_watts: int) -> Stretch | None:
    """Return the last stretch under the common limit: what the pace is compared with."""
    return next((one for one in reversed(stretches) if one.all_at(common_watts)), None)


def _is_known(stretch: Stretch) -> bool:
    error = stretch.step_stderr_seconds
    return error is not None and error <= NEEDED_STDERR * stretch.step_seconds


def _undone(
    stretches: Sequence[Stretch],
    baseline: Stretch,
    in_force: Mapping[str, int],
    common_watts: int,
    waits: Mapping[str, Slack],
) -> tuple[dict[str, int], str]:
    """Put the GPUs that set the pace back to where the run was as fast as before."""
    now = stretches[-1]
    longer = f"Steps are {100 * (now.step_seconds / baseline.step_seconds - 1):.1f} % longer"
    setters = pace_setters(now, stretches[-2], baseline, waits, common_watts)
    if not setters:
        return dict.fromkeys(in_force, common_watts), (
            f"{longer} than at {common_watts} W on all GPUs, and not because of a lowered GPU: "
            "the pace is measured anew."
        )
    after = [one for one in stretches if one.end_seconds > baseline.end_seconds]
    fast = [one for one in after if not is_slower(one, baseline)]
    raised = dict(in_force)
    for uuid in setters:
        earlier = (one.limits_watts[uuid] for one in reversed(fast))
        higher = (watts for watts in earlier if watts >= in_force[uuid] + GRID_WATTS)
        raised[uuid] = min(next(higher, common_watts), common_watts)
    return raised, (
        f"{longer} than at {common_watts} W on all GPUs: the last step is undone on "
        f"{len(setters)} GPU(s) that others now wait for."
    )


def _cheapest_watts(curve: Sequence[FittedPoint], common_watts: int, waiting_watts: float) -> int:
    """Return the limit below which a GPU takes more energy although it waits for less.

    At a given step time T the energy is (P(p) - w) * T_i(p) + w * T. The run's mean draw serves
    for P(p): that its GPUs wait for a part of the time scales P - w alike at every limit.
    """
    allowed = [point for point in curve if point.power_limit_watts <= common_watts]
    return min(
        allowed or curve[:1],
        key=lambda at: at.joules_per_step - waiting_watts * at.seconds_per_step,
    ).power_limit_watts


def _learned_floors(
    stretches: Sequence[Stretch],
    curve: Sequence[FittedPoint],
    common_watts: int,
    waiting_watts: float,
) -> dict[str, int]:
    """Return how low each GPU may go after what went wrong lately: halfway back up."""
    floors: dict[str, int] = {}
    now_seconds = stretches[-1].end_seconds
    for number, one in enumerate(stretches):
        baseline = _baseline(stretches[:number], common_watts)
        recent = now_seconds - one.end_seconds <= FAILURE_KEPT_SECONDS
        if baseline is None or not recent or not is_slower(one, baseline):
            continue
        waits = slacks(one, curve, common_watts, waiting_watts)
        for uuid in pace_setters(one, stretches[number - 1], baseline, waits, common_watts):
            halfway = (one.limits_watts[uuid] + common_watts) / 2
            floor_watts = math.ceil(halfway / GRID_WATTS) * GRID_WATTS
            floors[uuid] = max(floors.get(uuid, 0), floor_watts)
    return floors


def _lowered(
    curve: Sequence[FittedPoint],
    common_watts: int,
    watts: int,
    slack: Slack,
    longer: float,
    floor_watts: int,
) -> int:
    """Return the limit of a GPU after one more step down; its own if it need not wait.

    Args:
        curve: Step time by limit.
        common_watts: The run's common limit.
        watts: The GPU's limit now.
        slack: How long it waits.
        longer: How many times as long steps are now as under the common limit, at least 1.
        floor_watts: Not below this.
    """
    at_now = curve_at(curve, watts)
    if slack.ratio <= max(LEAST_SLACK, LEAST_SLACK_ERRORS * slack.stderr) or at_now is None:
        return watts
    busy = 1.0 - slack.ratio + slack.stderr
    used = USED_AT_ONCE * (ARRIVES_AT / busy / longer - 1.0)
    first = min(used, FIRST_AT_MOST) if same_limit(watts, common_watts) else used
    floor_watts = max(floor_watts, math.ceil(watts - MOST_AT_ONCE * common_watts))
    lowest = watts
    for candidate in range(watts // GRID_WATTS * GRID_WATTS, floor_watts - 1, -GRID_WATTS):
        at = curve_at(curve, candidate)
        # One step of the grid is small enough for a first one, however steep it is there.
        most = first if candidate < watts - GRID_WATTS else used
        if at is None or at.seconds_per_step > at_now.seconds_per_step * (1.0 + most):
            break
        lowest = min(lowest, candidate)
    return lowest


def _reason(
    in_force: Mapping[str, int],
    lowered: Mapping[str, int],
    common_watts: int,
    waits: Mapping[str, Slack],
) -> str:
    most = 100 * max(slack.ratio for slack in waits.values())
    changed = sum(lowered[uuid] < in_force[uuid] for uuid in lowered)
    below = sum(not same_limit(watts, common_watts) for watts in lowered.values())
    if changed:
        return (
            f"{changed} of {len(lowered)} GPUs wait for the slowest one, up to {most:.1f} % of a "
            f"step at least, and give power up; the slowest keeps {common_watts} W."
        )
    if below:
        return f"{below} of {len(lowered)} GPUs wait for the slowest one and draw less, in time."
    return "No GPU waits long enough for another to give power up."
