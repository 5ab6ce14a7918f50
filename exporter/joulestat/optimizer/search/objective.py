"""What "best" means: one class per objective, all per step and over all devices of the run."""

import math
from dataclasses import dataclass
from typing import Any, Protocol

from joulestat.domain.errors import ConfigError
from joulestat.domain.tariff import UNKNOWN_TARIFF, Tariff

MIN_SLOWDOWN = 1.01


@dataclass(frozen=True, slots=True)
class Reference:
    """The run as it was before any lease, and what is still before it.

    Attributes:
        power_limit_watts: The limit then, per GPU.
        joules_per_step: Energy at that limit, all devices.
        seconds_per_step: Wall time at that limit.
        total_limit_watts: That limit summed over all devices of the run. One device's limit beside
            the energy of eight would make eta = 0.5 act like 0.89.
        n_gpus: Devices of the run.
        now_seconds: Unix time of the decision.
        steps_left: Steps still planned; None where the run did not say how many it plans.
        joules_left: What is left of its energy budget for training steps, if the other phases go
            on taking as much per step as they have; None where it has none.
        tariff: What a joule costs there.
    """

    power_limit_watts: int
    joules_per_step: float
    seconds_per_step: float
    total_limit_watts: float
    n_gpus: int = 1
    now_seconds: float = 0.0
    steps_left: float | None = None
    joules_left: float | None = None
    tariff: Tariff = UNKNOWN_TARIFF


class Objective(Protocol):
    """Ranks limits: the lowest value among those allowed is best.

    ``value`` takes single numbers or numpy arrays of one shape alike.
    """

    name: str

    def parameters(self) -> dict[str, str | float]:
        """Return the name and the parameters, as they are shown."""
        ...

    def value(self, joules: Any, seconds: Any, reference: Reference) -> Any:
        """Return what is to be made small, per step."""
        ...

    def most_seconds(self, reference: Reference) -> float | None:
        """Return how long a step may take at most; None for any time."""
        ...

    def most_joules(self, reference: Reference) -> float | None:
        """Return what a step may cost at most, J; None for any energy."""
        ...

    def missing(self, reference: Reference) -> str:
        """Return what has to be known before this can be answered; empty if nothing is."""
        ...

    def first_ratio(self) -> float:
        """Return at which share of the reference limit the best is likely, to look there first."""
        ...


class Unbound:
    """An objective that allows every limit."""

    def most_seconds(self, reference: Reference) -> float | None:
        """Allow any time."""
        del reference
        return None

    def most_joules(self, reference: Reference) -> float | None:
        """Allow any energy."""
        del reference
        return None

    def missing(self, reference: Reference) -> str:
        """Need nothing else."""
        del reference
        return ""


class LeastEnergy(Unbound):
    """An objective that wants the least energy."""

    def value(self, joules: Any, seconds: Any, reference: Reference) -> Any:
        """Return the energy of one step, J."""
        del seconds, reference
        return joules


class Cost(Unbound):
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

    def value(self, joules: Any, seconds: Any, reference: Reference) -> Any:
        """Return the cost of one step, J."""
        return self.eta * joules + (1 - self.eta) * reference.total_limit_watts * seconds

    def first_ratio(self) -> float:
        """Look lower the more energy counts: 0.8 to 0.55."""
        return 0.8 - 0.25 * self.eta


class Slowdown(LeastEnergy):
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

    def most_seconds(self, reference: Reference) -> float | None:
        """Return the bound, s per step."""
        return self.max_slowdown * reference.seconds_per_step

    def first_ratio(self) -> float:
        """Look lower the more time may be lost: 0.74 to 0.55."""
        return min(0.74, max(0.55, 0.7 - (self.max_slowdown - 1.05)))


class Energy(LeastEnergy):
    """Least energy per step, however long it takes."""

    name = "energy"

    def parameters(self) -> dict[str, str | float]:
        """Return the name."""
        return {"name": self.name}

    def first_ratio(self) -> float:
        """Look where measured trainings had their least energy: about half of the limit."""
        return 0.55
