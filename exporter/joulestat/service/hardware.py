"""The devices of this node: opens the backend, has them read, and looks again for others."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from joulestat.config import SamplingConfig
from joulestat.devices.backend import Backend, Limiter
from joulestat.domain.clock import Clock
from joulestat.domain.device import Device
from joulestat.domain.run import Push
from joulestat.loops.driver_threads import device_reader
from joulestat.loops.heartbeat import Heartbeat
from joulestat.sampler import Instrument, Sampler
from joulestat.service import peers

LOOK_INTERVAL_SECONDS = 5.0
"""How soon a driver that was loaded, reloaded or updated is noticed. Costs a call or two."""

AdoptLimiters = Callable[[Mapping[str, Limiter], Mapping[str, str]], object]
"""Takes limiters and models, each by device UUID."""

ALL = "all"
"""How a rank names every device of its host."""

log = logging.getLogger(__name__)


class Hardware:
    """Owns the backend and the threads that read through it."""

    def __init__(
        self,
        open_backend: Callable[[], Backend | None],
        sampler: Sampler,
        adopt_limiters: AdoptLimiters,
        instrument: Callable[[Device], Instrument],
        sampling: SamplingConfig,
        clock: Clock,
    ) -> None:
        """Prepare; no driver is asked yet.

        Args:
            open_backend: Opens it, or returns None where there is nothing to read yet.
            sampler: Is given readings, and devices as they come.
            adopt_limiters: Is given the limiters and the models of devices as they come.
            instrument: Makes one for a device that is new.
            sampling: The beat.
            clock: The time.
        """
        self._open_backend = open_backend
        self._sampler = sampler
        self._adopt_limiters = adopt_limiters
        self._instrument = instrument
        self._sampling = sampling
        self._backend: Backend | None = None
        self._adopted: tuple[Device, ...] = ()
        self._readers: dict[str, Heartbeat] = {}
        self._look = Heartbeat(
            "look", LOOK_INTERVAL_SECONDS, self.look_again, delay_seconds=LOOK_INTERVAL_SECONDS
        )
        self.peers = peers.Peers(self._uuids, self._processes, monotonic_ns=clock.monotonic_ns)
        self._peer_look = Heartbeat("peers", peers.LOOK_INTERVAL_SECONDS, self.peers.look)

    def start(self) -> None:
        """Open the backend, put limits back that a crash left, and read.

        Raises:
            BackendUnavailable: The backend that was asked for by name is not there.
        """
        try:
            self._backend = self._open_backend()
            self._adopt()
        finally:
            # Also after a failure so late that nobody waits for this any more.
            self._look.start()
            self._peer_look.start()
        if not self._readers:
            log.warning("event=no_gpu cure=%r", "run 'joulestat doctor'")

    def whole(self, push: Push) -> Push:
        """Return a push with its devices' names in full.

        A partition becomes the device it is cut from: energy and limits belong to the whole, and
        ranks on parts of one share its energy. "all" becomes all devices, and the beginning of a
        UUID, as CUDA takes it, the one that begins so; what fits none is left for the ledger to
        refuse.
        """
        if ALL in push.gpus:
            return replace(push, gpus=tuple(self._uuids()))
        gpus = tuple(dict.fromkeys(self._device(uuid) for uuid in push.gpus))
        return push if gpus == push.gpus else replace(push, gpus=gpus)

    def look_again(self) -> None:
        """Notice what came, went or moved. Blocks as long as the driver does, on its own thread."""
        if self._backend is None:
            self._backend = self._open_backend()
        else:
            self._backend.refresh()
        # Not what just changed: to adopt that may have failed the last time.
        if self._backend is not None and tuple(self._backend.devices()) != self._adopted:
            self._adopt()

    def stop(self) -> int:
        """Let the calls in progress be the last ones, and close the backend.

        Returns:
            How many threads did not come back: their driver hangs.
        """
        loops = [self._look, self._peer_look, *self._readers.values()]
        for loop in loops:
            loop.ask_to_stop()
        hanging = [loop.join(0.5) for loop in loops].count(False)
        if self._backend is not None and not hanging:
            # Under a call that hangs, the library is left to the end of the process.
            self._backend.close()
        return hanging

    def _uuids(self) -> list[str]:
        return [device.uuid for device in self._adopted]

    def _device(self, name: str) -> str:
        known = self._uuids()
        backend = self._backend
        if name in known or backend is None:
            return name
        begins = [uuid for uuid in known if uuid.startswith(name)]
        return backend.parent_of(name) or (begins[0] if len(begins) == 1 else name)

    def _processes(self, uuid: str) -> frozenset[int] | None:
        backend = self._backend
        return None if backend is None else backend.processes(uuid)

    def _adopt(self) -> None:
        backend = self._backend
        devices = tuple(backend.devices()) if backend is not None else ()
        name = backend.name if backend is not None else "none"
        limiters = {
            device.uuid: limiter
            for device in devices
            if backend is not None and (limiter := backend.limiter(device.uuid)) is not None
        }
        self._adopt_limiters(limiters, {device.uuid: device.model for device in devices})
        self._sampler.adopt(name, devices, self._instrument)
        self._adopted = devices
        if backend is not None and backend.serial:
            # Only whom the sampler knows: the backend may have found others meanwhile.
            self._read(backend, name, self._uuids)
        elif backend is not None:
            for device in devices:
                self._read(backend, device.uuid, partial(list, [device.uuid]))

    def _read(self, backend: Backend, what: str, uuids: Callable[[], list[str]]) -> None:
        """Start a reader unless there is one already."""
        if what in self._readers:
            return
        self._readers[what] = device_reader(
            f"read-{what[:12]}",
            backend,
            uuids,
            self._sampler.deliver,
            interval_seconds=self._sampling.interval_seconds,
            details_interval_seconds=self._sampling.details_interval_seconds,
        )
        self._readers[what].start()
