"""For how much of a step each GPU waits for the slowest one, seen from what it draws.

In synchronous data parallel training all GPUs take the same time T per step, the slowest one busy
all along. A GPU that is busy for a share b of it, drawing its limit c, and waits at w otherwise,
draws P = w + (c - w) * b on the mean. So b = (P - w) / (c - w), which falls with w since P <= c:
with a w that is *less* than what waiting really takes, b comes out too large and the slack 1 - b
too small. Zero is always less. By hand: limit 300 W, mean 270 W, waiting really at 120 W: b is
150 / 180 = 0.83; taken from w = 0 it is 0.9, so 10 % of slack are seen where 17 % are.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from joulestat.domain.plan import FittedPoint
from joulestat.optimizer.fleet.fitted import curve_at
from joulestat.optimizer.fleet.gpu_facts import Stretch

WAITING_AT_MOST = 0.6
"""Of what a busy GPU draws: more than any measured or plausible draw of a waiting one."""


@dataclass(frozen=True, slots=True)
class Slack:
    """How long one GPU waits.

    Attributes:
        ratio: At least this share of a step; 0 for the busiest GPU under the common limit, below
            0 for a lowered one that is busier.
        stderr: Its standard error.
    """

    ratio: float
    stderr: float


def slacks(
    stretch: Stretch,
    curve: Sequence[FittedPoint],
    common_watts: int,
    waiting_watts: float = 0.0,
) -> dict[str, Slack]:
    """Return each GPU's slack in a stretch, beside the busiest one under the common limit.

    All GPUs of a run are taken to draw alike when they are busy under like limits; under another
    one, as much as the limit and the run's curve allow. Where one card needs less than another,
    slack is seen that is none: the run's step time must be watched.

    Args:
        stretch: Under which limits they drew what.
        curve: The run's energy and time by common limit.
        common_watts: The limit that the others are compared with.
        waiting_watts: Less than what a waiting GPU draws; 0 is always right, and most careful.

    Returns:
        Empty where draws, their errors, or the curve at these limits are not known, and where no
        GPU is under the common limit.
    """
    at_common = curve_at(curve, common_watts)
    untouched = [u for u, watts in stretch.limits_watts.items() if watts >= common_watts]
    if stretch.power_stderr_watts is None or at_common is None or not untouched:
        return {}
    busiest = max(untouched, key=lambda uuid: stretch.power_watts[uuid])
    highest_watts = stretch.power_watts[busiest]
    n_gpus = len(stretch.limits_watts)
    shares: dict[str, _Share] = {}
    for uuid, limit_watts in stretch.limits_watts.items():
        at = curve_at(curve, min(limit_watts, common_watts))
        if at is None:
            return {}
        by_curve = _busy_ratio(
            _draw_watts(at, n_gpus), _draw_watts(at_common, n_gpus), highest_watts
        )
        # Not more than the limit, nor than the curve says: a draw that is taken too large would
        # show slack where there is none.
        busy_watts = min(float(limit_watts), highest_watts, highest_watts * by_curve)
        over_waiting_watts = stretch.power_watts[uuid] - waiting_watts
        if busy_watts <= waiting_watts or over_waiting_watts <= 0:
            return {}
        span_watts = busy_watts - waiting_watts
        stderr = stretch.power_stderr_watts[uuid] / span_watts
        shares[uuid] = _Share(over_waiting_watts / span_watts, stderr)
    top = shares[busiest]
    return {
        uuid: Slack(
            1.0 - share.ratio / top.ratio,
            0.0
            if uuid == busiest
            else math.hypot(share.stderr, share.ratio / top.ratio * top.stderr) / top.ratio,
        )
        for uuid, share in shares.items()
    }


def carried(
    before: Slack, now: Slack, curve: Sequence[FittedPoint], common_watts: int, limit_watts: int
) -> Slack:
    """Return the larger of two lower bounds of a GPU's slack under a lowered limit.

    Under the common limit all GPUs draw alike when busy, so the slack seen there is the better
    one; from there the curve of step time says what is left of it. But only while some is seen
    now: another GPU may have become the slowest.

    Args:
        before: Its slack under the common limit.
        now: Its slack as seen now.
        curve: The run's energy and time by common limit.
        common_watts: The common limit.
        limit_watts: The GPU's limit now.
    """
    at, at_common = curve_at(curve, limit_watts), curve_at(curve, common_watts)
    if now.ratio <= 0 or at is None or at_common is None:
        return now
    longer = at.seconds_per_step / at_common.seconds_per_step
    left = Slack(1.0 - (1.0 - before.ratio) * longer, before.stderr * longer)
    return max(left, now, key=lambda slack: slack.ratio)


@dataclass(frozen=True, slots=True)
class _Share:
    """For which share of a step a GPU is busy, at most."""

    ratio: float
    stderr: float


def _busy_ratio(mean_watts: float, mean_at_common_watts: float, busy_watts: float) -> float:
    """Return what a busy GPU draws under a limit beside the common one, rather too little.

    The run's mean draw has waiting in it, which falls less with the limit than working does: mean
    = w * (1 - b) + busy * b. The w that takes most off is the largest that waiting may draw.
    """
    w_watts = WAITING_AT_MOST * busy_watts
    waiting_share = max(0.0, busy_watts - mean_at_common_watts) / (busy_watts - w_watts)
    waiting_part_watts = w_watts * min(waiting_share, 1.0)
    if mean_watts <= waiting_part_watts or mean_at_common_watts <= waiting_part_watts:
        return 0.0
    return (mean_watts - waiting_part_watts) / (mean_at_common_watts - waiting_part_watts)


def _draw_watts(at: FittedPoint, n_gpus: int) -> float:
    return at.joules_per_step / at.seconds_per_step / n_gpus
