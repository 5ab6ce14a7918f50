"""The devices whose limits the actuator sets: opens the backend, and looks again for others."""

import logging
from collections.abc import Callable

from joulestat.devices.backend import Backend
from joulestat.domain.device import Device
from joulestat.power.governor import Governor

LOOK_INTERVAL_SECONDS = 5.0
"""How soon a driver that was loaded, reloaded or updated is noticed."""

log = logging.getLogger(__name__)


class Cards:
    """Owns the backend; ``look`` belongs to one thread. Nothing is read but limits."""

    def __init__(self, open_backend: Callable[[], Backend | None], governor: Governor) -> None:
        """Prepare; no driver is asked yet.

        Args:
            open_backend: Opens it, or returns None where there is nothing to control yet.
            governor: Is given the limiters of devices as they come.
        """
        self._open_backend = open_backend
        self._governor = governor
        self._backend: Backend | None = None
        self._adopted: tuple[Device, ...] = ()
        self._told_of_none = False

    def look(self) -> None:
        """Notice what came, went or moved, and put back what a crash left. May block.

        Raises:
            BackendUnavailable: The backend that was asked for by name is not there.
        """
        if self._backend is None:
            self._backend = self._open_backend()
        else:
            self._backend.refresh()
        devices = tuple(self._backend.devices()) if self._backend is not None else ()
        if self._backend is not None and devices != self._adopted:
            self._adopt(self._backend, devices)
        elif not devices and not self._told_of_none:
            self._told_of_none = True
            log.warning("event=no_gpu cure=%r", "run 'joulestat doctor'")

    def _adopt(self, backend: Backend, devices: tuple[Device, ...]) -> None:
        limiters = {
            device.uuid: limiter
            for device in devices
            if (limiter := backend.limiter(device.uuid)) is not None
        }
        self._governor.adopt(limiters, {device.uuid: device.model for device in devices})
        self._adopted = devices
        log.info("event=gpus_adopted gpus=%d controlled=%d", len(devices), len(limiters))

    def close(self) -> None:
        """Close the backend; only when no call can be under way."""
        if self._backend is not None:
            self._backend.close()
