"""For how much of a step each GPU waits for the slowest one, seen from what it draws.

In synchronous data parallel training all GPUs take the same time T per step, the slowest one busy
all along. A GPU that is busy for a share b of it, drawing its limit c, and waits at w otherwise,
draws P = w + (c - w) * b on the mean. So b = (P - w) / (c - w), which falls with w since P <= c:
with a w that is *less* than what waiting really takes, b comes out too large and the slack 1 - b
too small. Zero is always less. By hand: limit 300 W, mean 270 W, waiting really at 120 W: b is
150 / 180 = 0.83; taken from w = 0 it is 0.9, so 10 % of slack are seen where 17 % are.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from joulestat.optimizer.fleet.gpu_facts import Stretch


@dataclass(frozen=True, slots=True)
class Slack:
    """How long one GPU waits.

    Attributes:
        ratio: At least this share of a step, 0 for the busiest GPU.
        stderr: Its standard error.
    """

    ratio: float
    stderr: float


def slacks(stretch: Stretch, waiting_watts: float = 0.0) -> dict[str, Slack]:
    """Return each GPU's slack in a stretch, beside the busiest one's.

    Limits may differ. A limit above the highest draw does not bind and stands for that draw: all
    GPUs of a run are taken to draw alike when they are busy. Where that is wrong, because one card
    needs less than another, slack is seen that is none: the run's step time must be watched.

    Args:
        stretch: Under which limits they drew what.
        waiting_watts: Less than what a waiting GPU draws; 0 is always right, and most careful.

    Returns:
        Empty where errors or draws are not known.
    """
    if stretch.power_stderr_watts is None or not stretch.power_watts:
        return {}
    highest_watts = max(stretch.power_watts.values())
    shares: dict[str, tuple[float, float]] = {}
    for uuid, limit_watts in stretch.limits_watts.items():
        power_watts = stretch.power_watts[uuid]
        busy_watts = min(float(limit_watts), highest_watts) - waiting_watts
        if busy_watts <= 0 or power_watts <= waiting_watts:
            return {}
        share = (power_watts - waiting_watts) / busy_watts
        shares[uuid] = (share, stretch.power_stderr_watts[uuid] / busy_watts)
    return _beside_the_busiest(shares)


def _beside_the_busiest(shares: Mapping[str, tuple[float, float]]) -> dict[str, Slack]:
    busiest = max(shares, key=lambda uuid: shares[uuid][0])
    top, top_stderr = shares[busiest]
    return {
        uuid: Slack(
            1.0 - share / top,
            0.0 if uuid == busiest else math.hypot(stderr, share / top * top_stderr) / top,
        )
        for uuid, (share, stderr) in shares.items()
    }
