"""What is known of a run's GPUs one by one: their limits, their draw, and the run's pace."""

from collections.abc import Mapping
from dataclasses import dataclass

from joulestat.domain.units import same_limit


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a run's time in which the limit of none of its GPUs changed.

    Attributes:
        start_seconds: Unix time of the first look in it.
        end_seconds: Unix time of the last.
        limits_watts: Limit in force by device UUID, whole W.
        power_watts: Mean draw by device UUID: the run's energy on it over the stretch's time.
        power_stderr_watts: Standard error of that, by device UUID, from time slices; None on too
            few slices to say.
        step_seconds: Wall time per step.
        step_stderr_seconds: Standard error of that; None on too few slices to say.
        steps: Steps made.
    """

    start_seconds: float
    end_seconds: float
    limits_watts: Mapping[str, int]
    power_watts: Mapping[str, float]
    power_stderr_watts: Mapping[str, float] | None
    step_seconds: float
    step_stderr_seconds: float | None
    steps: float

    def all_at(self, power_limit_watts: int) -> bool:
        """Tell whether all GPUs stood at this limit."""
        return all(same_limit(watts, power_limit_watts) for watts in self.limits_watts.values())


@dataclass(frozen=True, slots=True)
class GpuEvidence:
    """A run's stretches, as of one moment.

    Attributes:
        run: Its name.
        gpu_uuids: Its GPUs.
        stretches: In time order, those long enough to say something; the last one is now. Long
            ones are cut, because what is slow now must not hide behind what was fast before.
    """

    run: str
    gpu_uuids: tuple[str, ...]
    stretches: tuple[Stretch, ...]


@dataclass(frozen=True, slots=True)
class GpuLimits:
    """What each GPU of a run is to have.

    Attributes:
        limits_watts: Limit by device UUID, whole W, for all its GPUs; never above the common one.
        reason: Why, in one sentence for people.
        slack_ratios: Share of a step for which each GPU at least waits for the slowest one, by
            device UUID; empty where that is not known.
    """

    limits_watts: Mapping[str, int]
    reason: str
    slack_ratios: Mapping[str, float]

    @property
    def differ(self) -> bool:
        """Whether not all GPUs are to have the same limit."""
        return len(set(self.limits_watts.values())) > 1
