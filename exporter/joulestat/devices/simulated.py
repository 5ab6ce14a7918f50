"""The simulated backend: what a driver shows of a :class:`SimulatedWorld`, faults included."""

import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from joulestat.devices.world import Fault, SimulatedWorld
from joulestat.domain.clock import Clock
from joulestat.domain.device import (
    CallError,
    Details,
    Device,
    PowerLimits,
    Reading,
    ThrottleReason,
)
from joulestat.domain.errors import DeviceError, LimitPermissionDenied, StateError

_HANG_LOOK_SECONDS = 0.01
"""How often a hanging call looks whether the fault is over."""
_IDLE_MEMORY_SHARE = 0.02
_BUSY_MEMORY_SHARE = 0.75
_POWER_CAP = frozenset({ThrottleReason.POWER_CAP})


class SimulatedBackend:
    """Reads the GPUs of a world as a driver would. Owns the world: closing it closes both.

    Attributes:
        world: The hardware behind, for those who want the truth.
    """

    name = "simulated"
    serial = False

    def __init__(self, world: SimulatedWorld, clock: Clock) -> None:
        self.world = world
        self._clock = clock
        self._closed = threading.Event()
        self._details = dict.fromkeys(world.uuids, Details())
        self._devices = tuple(
            Device(
                uuid=uuid,
                index=index,
                vendor=world.model.vendor,
                model=f"{world.model.name} (simulated)",
                pci_bus_id=f"{index >> 8:08X}:{index & 0xFF:02X}:00.0",
                driver_version="simulated",
            )
            for index, uuid in enumerate(world.uuids)
        )

    def devices(self) -> Sequence[Device]:
        """Return the world's GPUs in order of index."""
        return self._devices

    def parent_of(self, part_uuid: str) -> None:
        """Return None: these GPUs are not cut into parts."""
        del part_uuid

    def processes(self, device_uuid: str) -> None:
        """Return None: nothing tells who is behind a simulated workload."""
        del device_uuid

    def refresh(self) -> bool:
        """Return False: a world keeps its GPUs."""
        return False

    def read(self, device_uuid: str, *, details: bool) -> Reading:
        """Read one GPU; see ``Backend.read``.

        A lost GPU fails at the first call, and the rest of the round goes unasked. Blocks under
        ``Fault.HANG`` until that is mended or the backend is closed.
        """
        try:
            self.await_driver(device_uuid)
            return self._read(device_uuid, details=details)
        except DeviceError as error:
            failed = CallError("energy_counter", error.error)
        except StateError:
            failed = CallError("energy_counter", "UNKNOWN")
        return Reading(
            at_ns=self._clock.monotonic_ns(),
            energy_counter_uj=None,
            power_watts=None,
            details=Details() if details else self._details.get(device_uuid, Details()),
            errors=(failed,),
        )

    def limiter(self, device_uuid: str) -> "SimulatedLimiter":
        """Return what sets this GPU's limit: every simulated card has a range."""
        return SimulatedLimiter(self, device_uuid)

    def close(self) -> None:
        """Let hanging calls go and close the world. Idempotent; later reads fail."""
        self._closed.set()
        self.world.close()

    def await_driver(self, device_uuid: str) -> Fault | None:
        """Return when the driver answers for this GPU, with the fault that is left.

        Raises:
            DeviceError: The GPU is lost or unknown, or the backend was closed.
        """
        while not self._closed.is_set():
            try:
                fault = self.world.fault(device_uuid)
            except StateError as error:
                raise DeviceError(str(error), call="driver", error="UNKNOWN") from error
            if fault is Fault.LOST:
                message = f"simulated {device_uuid} has fallen off the bus"
                raise DeviceError(message, call="driver", error="GPU_IS_LOST")
            if fault is not Fault.HANG:
                return fault
            self._closed.wait(_HANG_LOOK_SECONDS)
        message = "the simulated backend was closed"
        raise DeviceError(message, call="driver", error="UNINITIALIZED")

    def _read(self, device_uuid: str, *, details: bool) -> Reading:
        world = self.world
        at_ns = self._clock.monotonic_ns()
        counter_uj = world.counter_uj(device_uuid, at_ns)
        power_watts = round(world.draw_watts(device_uuid, at_ns), 3)
        set_watts = world.limit_watts(device_uuid)
        if details:
            self._details[device_uuid] = self._read_details(device_uuid, at_ns)
        model = world.model
        return Reading(
            at_ns,
            counter_uj,
            power_watts,
            PowerLimits(
                set_watts,
                set_watts,
                model.default_limit_watts,
                model.min_limit_watts,
                model.max_limit_watts,
            ),
            self._details[device_uuid],
        )

    def _read_details(self, device_uuid: str, at_ns: int) -> Details:
        model = self.world.model
        workload = self.world.workload(device_uuid)
        reasons: frozenset[ThrottleReason] = frozenset()
        clock_hertz, memory_share = model.idle_sm_clock_hertz, _IDLE_MEMORY_SHARE
        if workload is not None:
            limit_watts = self.world.acting_limit_watts(device_uuid, at_ns)
            if limit_watts < model.full_watts(workload):
                reasons = _POWER_CAP
            speed = model.relative_speed(limit_watts, workload)
            clock_hertz, memory_share = speed * model.max_sm_clock_hertz, _BUSY_MEMORY_SHARE
        return Details(
            throttle_reasons=reasons,
            utilization_ratio=0.0 if workload is None else 1.0,
            temperature_celsius=float(round(self.world.temperature_celsius(device_uuid, at_ns))),
            sm_clock_hertz=round(clock_hertz / 1e6) * 1e6,
            memory_used_bytes=round(memory_share * model.memory_size_bytes),
            memory_size_bytes=model.memory_size_bytes,
        )


class SimulatedLimiter:
    """Sets one simulated GPU's limit, to the mW; see ``Limiter``. Made by the backend.

    Calls block under ``Fault.HANG``, like reads.
    """

    def __init__(self, backend: SimulatedBackend, device_uuid: str) -> None:
        self._backend = backend
        self._device_uuid = device_uuid

    def range_watts(self) -> tuple[float, float]:
        """Return the model's lowest and highest limit, W."""
        self._await_driver()
        model = self._backend.world.model
        return model.min_limit_watts, model.max_limit_watts

    def read_watts(self) -> float:
        """Return the limit as set, W."""
        self._await_driver()
        return self._backend.world.limit_watts(self._device_uuid)

    def enforced_watts(self) -> float | None:
        """Return the limit in force, W: the set one, as nothing else limits simulated cards.

        A driver says so at once, before the card has reacted.
        """
        return self.read_watts()

    def write_watts(self, limit_watts: float) -> None:
        """Set the limit; under ``Fault.STICKY`` say yes and do nothing."""
        fault = self._await_driver()
        if fault is Fault.NO_PERMISSION:
            message = (
                f"simulated {self._device_uuid} may not be limited by this process: its fault "
                f"is {fault.value!r}"
            )
            raise LimitPermissionDenied(message, call="set_power_limit", error="NO_PERMISSION")
        if fault is not Fault.STICKY:
            self._backend.world.set_limit(self._device_uuid, limit_watts)

    def _await_driver(self) -> Fault | None:
        return self._backend.await_driver(self._device_uuid)


def open_simulated(
    *, path: Path | None, model: str, gpus: int, seed: int, clock: Clock
) -> SimulatedBackend:
    """Open simulated GPUs.

    Args:
        path: The world's file, which outlives this process and is shared with others; None for
            a world of one's own that ends with it.
        model: Name of a built-in card.
        gpus: How many.
        seed: Decides UUIDs and noise.
        clock: Stamps the readings.

    Raises:
        ConfigError: A value is out of range, or the world at ``path`` is another one.
        StateError: The file cannot be used, or is something else.
    """
    if path is not None:
        return SimulatedBackend(
            SimulatedWorld.open(path, model=model, gpus=gpus, seed=seed, clock=clock), clock
        )
    try:
        # The folder goes at once: the mapping lives on, and even SIGKILL leaves nothing behind.
        with tempfile.TemporaryDirectory(prefix="joulestat-") as folder:
            return open_simulated(
                path=Path(folder) / "world", model=model, gpus=gpus, seed=seed, clock=clock
            )
    except OSError as error:
        raise StateError(
            f"no room for simulated GPUs in the temporary folder: {error}; give them a state file"
        ) from error
