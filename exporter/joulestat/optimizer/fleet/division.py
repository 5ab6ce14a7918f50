"""A power budget and the runs under it: what is known of each, and what each gets."""

import math
from dataclasses import dataclass

from joulestat.domain.plan import FittedPoint
from joulestat.domain.units import same_limit


@dataclass(frozen=True, slots=True)
class RunCurve:
    """One run that shares in the budget.

    Attributes:
        run: Its name.
        n_gpus: How many GPUs it holds.
        reference_watts: Limit per GPU before any lease, whole W; the mean where they differ. No
            run gets more.
        min_watts: Lowest limit that a lease may hold on all its GPUs; None where the run cannot be
            limited, or must not be: its reference limit is then set aside for it.
        fitted: Its measured curve; empty where there is none.
        priority: What its speed is worth beside that of others, per GPU; above 0.
        max_slowdown: How many times as long its steps may take at most; None for no bound.
        current_watts: The limit that is held for it now, per GPU; None without one.
        policy_watts: Lowest and highest limit that a lease may hold, where the hosts' policy makes
            that less than the cards accept; None elsewhere. The reference limit may lie outside:
            that one comes back without a lease.
    """

    run: str
    n_gpus: int
    reference_watts: int
    min_watts: float | None
    fitted: tuple[FittedPoint, ...] = ()
    priority: float = 1.0
    max_slowdown: float | None = None
    current_watts: int | None = None
    policy_watts: tuple[float, float] | None = None

    @property
    def max_watts(self) -> float:
        """The highest limit that a lease may hold; infinity where no policy says."""
        return math.inf if self.policy_watts is None else self.policy_watts[1]

    @property
    def can_be_limited(self) -> bool:
        """Whether there is a limit below the reference to give it."""
        if self.min_watts is None:
            return False
        return self.min_watts < self.reference_watts and self.min_watts <= self.max_watts

    @property
    def weight(self) -> float:
        """What its full speed is worth: GPUs times priority."""
        return self.n_gpus * self.priority


@dataclass(frozen=True, slots=True)
class Share:
    """What one run gets.

    Attributes:
        run: Its name.
        n_gpus: How many GPUs it holds.
        power_limit_watts: Limit per GPU, whole W.
        reference_watts: Limit per GPU before any lease.
        speed_ratio: Expected speed as a share of that at the reference limit.
        measured: Whether that was measured; assumed otherwise.
        limited: Whether the limit is to be held; False where the run cannot be limited.
        kept: Whether this is the limit in force, kept because a better one is hardly better.
        raises: Whether it is above the limit that is in force now.
        policy_watts: As the run's.
    """

    run: str
    n_gpus: int
    power_limit_watts: int
    reference_watts: int
    speed_ratio: float
    measured: bool
    limited: bool
    kept: bool = False
    raises: bool = False
    policy_watts: tuple[float, float] | None = None

    @property
    def needs_no_lease(self) -> bool:
        """Whether no lease may hold it: the reference limit, outside of the hosts' policy."""
        if self.policy_watts is None:
            return False
        return not self.policy_watts[0] <= self.power_limit_watts <= self.policy_watts[1]

    @property
    def is_at_bound(self) -> bool:
        """Whether it is one end of what the hosts' policy allows."""
        if self.policy_watts is None:
            return False
        return any(same_limit(self.power_limit_watts, end) for end in self.policy_watts)


@dataclass(frozen=True, slots=True)
class Division:
    """A budget, divided.

    Attributes:
        budget_watts: The budget.
        reserved_watts: What was set aside for GPUs of no run.
        limits_watts: Sum of all limits, what was set aside included; never above the budget.
        shares: One per run, in the order asked.
        throughput_ratio: Weighted mean of the runs' speeds.
        gpus_per_watt: Shadow price: how many GPUs' worth of full speed one more watt would
            bring. 0 where every run has all that it can use.
    """

    budget_watts: float
    reserved_watts: float
    limits_watts: float
    shares: tuple[Share, ...]
    throughput_ratio: float
    gpus_per_watt: float
