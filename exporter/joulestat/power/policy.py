"""What the host's configuration allows of leases; no request can widen it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from joulestat.domain.errors import InvalidLease
from joulestat.domain.units import LIMIT_TOLERANCE_WATTS


@dataclass(frozen=True, slots=True)
class Bounds:
    """The lowest and the highest limit that may be leased, W; None leaves it to the driver."""

    floor_watts: float | None = None
    ceiling_watts: float | None = None

    def within(self, outer: "Bounds") -> "Bounds":
        """Return these bounds, and where there is none the outer ones."""
        return Bounds(
            outer.floor_watts if self.floor_watts is None else self.floor_watts,
            outer.ceiling_watts if self.ceiling_watts is None else self.ceiling_watts,
        )

    def of(self, low_watts: float, high_watts: float) -> tuple[float, float]:
        """Return what is left of a driver's range, W; the first above the second: nothing."""
        floor_watts = low_watts if self.floor_watts is None else self.floor_watts
        ceiling_watts = high_watts if self.ceiling_watts is None else self.ceiling_watts
        return max(low_watts, floor_watts), min(high_watts, ceiling_watts)


@dataclass(frozen=True, slots=True)
class LeasePolicy:
    """What the host's configuration allows; no request can widen it.

    Attributes:
        max_ttl_seconds: The longest lease.
        min_ttl_seconds: The shortest: below it, renewing would be all a client does.
        write_interval_seconds: One write to a device is earned back in this time.
        write_burst: Writes to a device that may follow each other at once.
        driver_timeout_seconds: How long a request waits for an earlier call to the same
            device's driver to return.
        bounds: Of every device, inside of what its driver accepts.
        models: Bounds by model, as the driver names it; they replace the general ones.
        max_step_ratio: How far one write may move a limit, as a share of the driver's range;
            None for as far as the bounds let it.
        node_ceiling_watts: What the limits of all devices of this node may add up to; None for
            as much as they like. A lease that would raise the sum above it is refused; one that
            lowers it, and every end of a lease, is not.
    """

    max_ttl_seconds: float = 21_600.0
    min_ttl_seconds: float = 5.0
    write_interval_seconds: float = 10.0
    write_burst: int = 3
    driver_timeout_seconds: float = 5.0
    bounds: Bounds = Bounds()
    models: Mapping[str, Bounds] = field(default_factory=lambda: MappingProxyType({}))
    max_step_ratio: float | None = None
    node_ceiling_watts: float | None = None

    def bounds_of(self, model: str) -> Bounds:
        """Return the bounds of a device's model; the empty name has the general ones."""
        wanted = model.casefold()
        for name, bounds in self.models.items():
            if name.casefold() == wanted:
                return bounds.within(self.bounds)
        return self.bounds


def check_limit(
    wanted_watts: float, policy: LeasePolicy, model: str, range_watts: tuple[float, float]
) -> None:
    """Refuse a limit outside of what the driver accepts or the policy allows; never clamp it.

    A silent clamp would hide a client that counts in milliwatts.

    Raises:
        InvalidLease: It names the bound, and whose it is.
    """
    # Written so that NaN fails too.
    if not range_watts[0] <= wanted_watts <= range_watts[1]:
        raise _outside(wanted_watts, range_watts, "this GPU's driver accepts")
    low_watts, high_watts = policy.bounds_of(model).of(*range_watts)
    if low_watts > high_watts:
        raise InvalidLease(
            f"this host's policy allows no limit of this GPU ({model or 'of no known model'}): "
            f"its floor and ceiling, {low_watts:g} and {high_watts:g} W, leave nothing of what the "
            "driver accepts; nothing was changed",
            field="power_limit_watts",
            value=wanted_watts,
            allowed="nothing, by this host's policy",
        )
    if not low_watts <= wanted_watts <= high_watts:
        raise _outside(wanted_watts, (low_watts, high_watts), "this host's policy allows this GPU")


def _outside(wanted_watts: float, range_watts: tuple[float, float], whose: str) -> InvalidLease:
    low_watts, high_watts = range_watts
    return InvalidLease(
        f"power_limit_watts is {wanted_watts:g}, but {whose} {low_watts:g} to {high_watts:g} W; "
        "nothing was changed",
        field="power_limit_watts",
        value=wanted_watts,
        allowed=f"{low_watts:g}..{high_watts:g}",
    )


def check_step(
    found_watts: float,
    wanted_watts: float,
    policy: LeasePolicy,
    model: str,
    range_watts: tuple[float, float],
) -> None:
    """Refuse a write that moves the limit too far at once; ``check_limit`` comes before.

    Raises:
        InvalidLease: It names where a write may go from where the limit stands.
    """
    if policy.max_step_ratio is None:
        return
    step_watts = policy.max_step_ratio * (range_watts[1] - range_watts[0])
    if abs(wanted_watts - found_watts) <= step_watts + LIMIT_TOLERANCE_WATTS:
        return
    low_watts, high_watts = policy.bounds_of(model).of(*range_watts)
    least_watts = max(low_watts, found_watts - step_watts)
    most_watts = min(high_watts, found_watts + step_watts)
    # The limit may stand so far outside of the policy that no step leads into it.
    leads_in = least_watts <= most_watts
    raise InvalidLease(
        f"power_limit_watts is {wanted_watts:g}, but the limit stands at {found_watts:g} W and "
        f"this host's policy lets one request move it by {step_watts:g} W at most; "
        + ("go there in several steps" if leads_in else "nothing that it allows is that near"),
        field="power_limit_watts",
        value=wanted_watts,
        allowed=f"{least_watts:g}..{most_watts:g}" if leads_in else "nothing, from there",
    )
