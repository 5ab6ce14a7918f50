"""What "best" means: one class per objective, all per step and over all devices of the run."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from joulestat.domain.errors import ConfigError
from joulestat.optimizer.evidence.curve import Estimate

MIN_SLOWDOWN = 1.01
CLEARLY_FASTER = 0.9
"""Going lower is worth a probe while less than this share of the allowed slowdown (in ln) is
used."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The run as it was before any lease.

    Attributes:
        estimate: Energy and time per step at the reference limit.
        total_limit_watts: The reference limit summed over all devices of the run. One device's
            limit beside the energy of eight would make eta = 0.5 act like 0.89.
    """

    estimate: Estimate
    total_limit_watts: float


class Objective(Protocol):
    """Ranks limits: the lowest value among those allowed is best."""

    name: str

    def parameters(self) -> dict[str, str | float]:
        """Return the name and the parameters, as they are shown."""
        ...

    def value(self, at: Estimate, reference: Reference) -> float:
        """Return what is to be made small, per step."""
        ...

    def value_stderr(self, at: Estimate, reference: Reference) -> float:
        """Return the standard error of the value."""
        ...

    def allows(self, at: Estimate, reference: Reference) -> bool:
        """Tell whether this limit may be chosen at all."""
        ...

    def may_go_below(self, at: Estimate, reference: Reference) -> bool:
        """Tell whether a still lower limit could be allowed."""
        ...


class Cost:
    """Energy against time: eta * E + (1 - eta) * P_ref * T.

    eta = 1 looks at energy alone, eta = 0 at time alone. P_ref, the reference limit summed over
    the devices, turns seconds into joules.

    Source:
        Zeus (NSDI'23), with the limits of all devices of the run where it had one device's.
    """

    name = "cost"

    def __init__(self, eta: float = 0.5) -> None:
        """Weigh energy with ``eta``, from 0 to 1.

        Raises:
            ConfigError: eta is outside of that.
        """
        if not 0 <= eta <= 1:
            raise ConfigError(
                f"eta is {eta}, but must be from 0 (time alone) to 1 (energy alone)",
                field="eta",
                value=eta,
                place="--eta",
                allowed="0 to 1",
            )
        self.eta = eta

    def parameters(self) -> dict[str, str | float]:
        """Return name and eta."""
        return {"name": self.name, "eta": self.eta}

    def value(self, at: Estimate, reference: Reference) -> float:
        """Return the cost of one step, J."""
        time_cost = reference.total_limit_watts * at.seconds_per_step
        return self.eta * at.joules_per_step + (1 - self.eta) * time_cost

    def value_stderr(self, at: Estimate, reference: Reference) -> float:
        """Return its error. Energy is power times time: their errors go together, and add up."""
        time_stderr = reference.total_limit_watts * at.seconds_stderr
        return self.eta * at.joules_stderr + (1 - self.eta) * time_stderr

    def allows(self, at: Estimate, reference: Reference) -> bool:
        """Allow every limit."""
        del at, reference
        return True

    def may_go_below(self, at: Estimate, reference: Reference) -> bool:
        """Allow every limit."""
        return self.allows(at, reference)


class Slowdown:
    """Least energy with steps at most so many times as long as at the reference limit.

    Not the lowest limit that is fast enough: below the energy optimum a lower limit costs more
    energy, because idle power is drawn for longer. The two differ for a quarter of runs.
    """

    name = "slowdown"

    def __init__(self, max_slowdown: float = 1.05) -> None:
        """Allow steps to take ``max_slowdown`` times as long, at least 1.01.

        Raises:
            ConfigError: It is below 1.01, or no number.
        """
        if not MIN_SLOWDOWN <= max_slowdown < math.inf:
            raise ConfigError(
                f"the slowdown allowed is {max_slowdown}, but must be at least {MIN_SLOWDOWN}: "
                "step times are not known better than about 1 %, so a tighter bound would be "
                "decided by noise; to keep the reference limit, do not optimize",
                field="max_slowdown",
                value=max_slowdown,
                place="--max-slowdown",
                allowed=f"{MIN_SLOWDOWN} or more",
            )
        self.max_slowdown = max_slowdown

    def parameters(self) -> dict[str, str | float]:
        """Return name and bound."""
        return {"name": self.name, "max_slowdown": self.max_slowdown}

    def value(self, at: Estimate, reference: Reference) -> float:
        """Return the energy of one step, J."""
        del reference
        return at.joules_per_step

    def value_stderr(self, at: Estimate, reference: Reference) -> float:
        """Return the error of the energy, J."""
        del reference
        return at.joules_stderr

    def allows(self, at: Estimate, reference: Reference) -> bool:
        """Allow limits whose slowdown keeps the bound even if it is one standard error worse."""
        if at.power_limit_watts == reference.estimate.power_limit_watts:
            return True
        return self._log_slowdown(at, reference) + _log_stderr(at, reference) <= math.log(
            self.max_slowdown
        )

    def may_go_below(self, at: Estimate, reference: Reference) -> bool:
        """Go on while a good part of the allowed slowdown is unused."""
        used = self._log_slowdown(at, reference)
        return used < CLEARLY_FASTER * math.log(self.max_slowdown)

    @staticmethod
    def _log_slowdown(at: Estimate, reference: Reference) -> float:
        return math.log(at.seconds_per_step / reference.estimate.seconds_per_step)


def best(
    candidates: Iterable[Estimate], objective: Objective, reference: Reference
) -> Estimate | None:
    """Return the best measured limit; None when none is allowed.

    Among limits equal within one standard error of their difference the highest wins: it is
    faster, and what cannot be told apart is not worth a lower clock.
    """
    allowed = [candidate for candidate in candidates if objective.allows(candidate, reference)]
    if not allowed:
        return None
    lowest = min(allowed, key=lambda candidate: objective.value(candidate, reference))
    value = objective.value(lowest, reference)
    stderr = objective.value_stderr(lowest, reference)

    def ties(candidate: Estimate) -> bool:
        excess = objective.value(candidate, reference) - value
        return excess <= math.hypot(stderr, objective.value_stderr(candidate, reference))

    return max(
        (candidate for candidate in allowed if candidate is lowest or ties(candidate)),
        key=lambda candidate: candidate.power_limit_watts,
    )


def _log_stderr(at: Estimate, reference: Reference) -> float:
    """Return the relative error of the slowdown."""
    return math.hypot(
        at.seconds_stderr / at.seconds_per_step,
        reference.estimate.seconds_stderr / reference.estimate.seconds_per_step,
    )
