"""The fit through what was measured: what a limit is expected to bring, and the whole curve."""

import numpy as np

from joulestat.domain.plan import Expected, FittedPoint, OperatingPoint
from joulestat.optimizer.search.objective import Reference
from joulestat.optimizer.search.outlook import Outlook


def expected_at(outlook: Outlook, position: int) -> Expected:
    """Return what a limit brings against the reference, drift and shared errors cancelled."""
    posterior, base = outlook.posterior, outlook.reference
    joules = np.log(posterior.joules[:, position] / posterior.joules[:, base]).mean()
    seconds = np.log(posterior.seconds[:, position] / posterior.seconds[:, base]).mean()
    return Expected(
        energy_saving_ratio=float(1 - np.exp(joules)), slowdown_ratio=float(np.exp(seconds))
    )


def expected_of(point: OperatingPoint | None, reference: Reference) -> Expected:
    """Return what a measured limit brought, out of the very sums that are shown beside it.

    None is the reference itself, measured too briefly to be shown.
    """
    if point is None:
        return Expected(energy_saving_ratio=0.0, slowdown_ratio=1.0)
    return Expected(
        energy_saving_ratio=1 - point.joules_per_step / reference.joules_per_step,
        slowdown_ratio=point.seconds_per_step / reference.seconds_per_step,
    )


def fitted_curve(outlook: Outlook) -> tuple[FittedPoint, ...]:
    """Return the fit from the lowest measured limit up: below it nothing is known."""
    posterior = outlook.posterior
    return tuple(
        FittedPoint(
            power_limit_watts=watts,
            joules_per_step=float(posterior.joules[:, index].mean()),
            seconds_per_step=float(posterior.seconds[:, index].mean()),
            joules_per_step_stderr=float(posterior.joules[:, index].std()),
            seconds_per_step_stderr=float(posterior.seconds[:, index].std()),
        )
        for index, watts in enumerate(posterior.limits_watts)
        if index >= posterior.lowest_measured
    )
