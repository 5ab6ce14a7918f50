"""Whether a run is slower than it was, and which GPU it is that the others wait for."""

import math
from collections.abc import Mapping

from joulestat.domain.units import same_limit
from joulestat.optimizer.fleet.gpu_facts import Stretch
from joulestat.optimizer.fleet.slack import Slack

SLOWER_RATIO = 0.005
SLOWER_ERRORS = 3.0
"""A run is slower if its steps are longer by more than 0.5 % and by more than so many standard
errors: looked at every minute for days, two errors would be exceeded by chance all the time."""

SETS_PACE_SLACK = 0.01
"""A GPU with less slack than this, or than two standard errors, is one that others wait for."""

FAILURE_KEPT_SECONDS = 6 * 3_600.0
"""For so long it is remembered how low was too low; after that another GPU may be the slowest."""


def is_slower(stretch: Stretch, baseline: Stretch) -> bool:
    """Tell whether steps took longer than in the baseline, beyond error."""
    more_seconds = stretch.step_seconds - baseline.step_seconds
    error_seconds = math.hypot(
        stretch.step_stderr_seconds or 0.0, baseline.step_stderr_seconds or 0.0
    )
    return more_seconds > max(SLOWER_RATIO * baseline.step_seconds, SLOWER_ERRORS * error_seconds)


def pace_setters(
    stretch: Stretch,
    before: Stretch,
    baseline: Stretch,
    waits: Mapping[str, Slack],
    common_watts: int,
) -> tuple[str, ...]:
    """Return the GPUs whose limit made the run slow.

    Those below the common limit that do not wait; where all seem to, those that were lowered last:
    what they seem to wait for is then an error in what they are taken to draw when busy. And all
    of them where steps were longer before already: then it helped nothing to raise those.

    Args:
        stretch: In which steps were longer.
        before: The stretch before it.
        baseline: The last one under the common limit.
        waits: Each GPU's slack in it; empty where that is not known.
        common_watts: The run's common limit.
    """
    lowered = [
        uuid
        for uuid, watts in stretch.limits_watts.items()
        if watts < common_watts and not same_limit(watts, common_watts)
    ]
    if is_slower(before, baseline):
        return tuple(lowered)
    setters = tuple(
        uuid
        for uuid in lowered
        if uuid in waits and waits[uuid].ratio <= max(SETS_PACE_SLACK, 2 * waits[uuid].stderr)
    )
    if setters:
        return setters
    return tuple(
        uuid
        for uuid in lowered
        if stretch.limits_watts[uuid] < before.limits_watts.get(uuid, common_watts)
    )
