"""What the limits of all devices of this node may add up to."""

import threading
from collections.abc import Iterable
from functools import partial

from joulestat.domain.errors import DeviceError, InvalidLease
from joulestat.domain.units import LIMIT_TOLERANCE_WATTS
from joulestat.power.controlled import ControlledDevice
from joulestat.power.policy import LeasePolicy
from joulestat.power.side_by_side import Spawn, side_by_side


class NodeCeiling:
    """Refuses what would raise the sum too high. Any thread may call any method.

    A claim stands from the check until the limit is read back, so that two requests that are
    checked at once cannot both take the last watts.
    """

    def __init__(self, policy: LeasePolicy, spawn: Spawn) -> None:
        self._ceiling_watts = policy.node_ceiling_watts
        self._timeout_seconds = policy.driver_timeout_seconds
        self._spawn = spawn
        self._lock = threading.Lock()
        self._claims_watts: dict[str, float] = {}

    def claim(
        self,
        device: ControlledDevice,
        among: Iterable[ControlledDevice],
        *,
        found_watts: float,
        wanted_watts: float,
    ) -> None:
        """Take room for a device's new limit; ``done`` gives it back. Its lock is held.

        Args:
            device: Whose limit is to be written.
            among: All devices of this node whose limits count.
            found_watts: Where it stands.
            wanted_watts: Where it shall stand.

        Raises:
            InvalidLease: It would raise the sum above the ceiling; it names the numbers.
        """
        ceiling_watts = self._ceiling_watts
        if ceiling_watts is None or wanted_watts <= found_watts:
            return
        others = [each for each in among if each is not device]
        # Other tools change limits too. A device that is busy or hangs counts as last known.
        looks = {each.uuid: partial(_look, each) for each in others}
        side_by_side(looks, self._spawn, self._timeout_seconds, failed=None)
        with self._lock:
            rest_watts = sum(self._counted_watts(each) for each in others)
            sum_watts = rest_watts + wanted_watts
            if sum_watts > ceiling_watts + LIMIT_TOLERANCE_WATTS:
                raise InvalidLease(
                    f"{wanted_watts:g} W on {device.uuid} and {rest_watts:g} W on the "
                    f"{len(others)} other GPUs make {sum_watts:g} W, but this host's policy "
                    f"allows {ceiling_watts:g} W for all its GPUs; lower another one first",
                    field="power_limit_watts",
                    value=wanted_watts,
                    allowed=f"..{max(ceiling_watts - rest_watts, found_watts):g}",
                )
            self._claims_watts[device.uuid] = wanted_watts

    def done(self, device: ControlledDevice) -> None:
        """Give a claim back, once the device's limit is known again, or was not changed."""
        with self._lock:
            self._claims_watts.pop(device.uuid, None)

    def _counted_watts(self, device: ControlledDevice) -> float:
        known = [
            watts
            for watts in (device.last_watts, self._claims_watts.get(device.uuid))
            if watts is not None
        ]
        if not known:
            raise InvalidLease(
                f"the power limit of {device.uuid} cannot be read, so nobody can tell whether "
                "this host's ceiling for all its GPUs would hold; nothing was changed",
                field="power_limit_watts",
                value="(not judged)",
                allowed="limits that are lower than now",
            )
        return max(known)


def _look(device: ControlledDevice) -> None:
    """Read a device's limit unless its driver is busy; ``last_watts`` is what remains of it."""
    if not device.lock.acquire(blocking=False):
        return
    try:
        device.read_watts()
    except DeviceError:
        return
    finally:
        device.lock.release()
