"""For each backend, the hands that the contract needs on its hardware."""

from pathlib import Path
from typing import Protocol

from fakes.clock import FakeClock
from fakes.nvml.remote import RemoteNvml
from fakes.nvml.standin import StandIn
from joulestat.devices.backend import Backend
from joulestat.devices.models import Workload
from joulestat.devices.simulated import SimulatedBackend
from joulestat.devices.world import Fault, SimulatedWorld

GPUS = 3


class Rig(Protocol):
    """A backend over hardware that a test has in its hands."""

    backend: Backend

    def now_ns(self) -> int:
        """CLOCK_MONOTONIC as the backend sees it."""
        ...

    def advance(self, seconds: float) -> None:
        """Let time pass, for the hardware too."""
        ...

    def occupy(self, index: int) -> None:
        """Make this GPU draw a constant power well above its lowest limit."""
        ...

    def lose(self, index: int) -> None:
        """Let this GPU fall off the bus."""
        ...

    def find(self, index: int) -> None:
        """Bring it back."""
        ...

    def forbid_writes(self) -> None:
        """Take from the process the privilege to set limits."""
        ...

    def reopen(self) -> None:
        """Have another process open the backend, after this one died without a farewell."""
        ...

    def end(self) -> None:
        """Let go of everything."""
        ...


class NvmlRig:
    """The real nvidia-ml-py over the stand-in library, in a process of its own."""

    def __init__(self, library_folder: Path, folder: Path) -> None:
        self._standin = StandIn(library_folder, folder, gpus=GPUS)
        self.backend = self._open()

    def _open(self) -> RemoteNvml:
        remote = RemoteNvml(self._standin)
        remote.open()
        return remote

    def now_ns(self) -> int:
        return int(self.backend.ask("now_ns"))

    def advance(self, seconds: float) -> None:
        self._standin.advance(seconds)
        self.backend.ask("advance", seconds)

    def occupy(self, index: int) -> None:
        self._standin.change(index, demand_mw=240_000)

    def lose(self, index: int) -> None:
        self._standin.plan(f"* {index} ret 15")

    def find(self, index: int) -> None:
        self._standin.plan()

    def forbid_writes(self) -> None:
        self._standin.plan("nvmlDeviceSetPowerManagementLimit * ret 4")

    def reopen(self) -> None:
        self.backend.kill()
        self.backend = self._open()

    def end(self) -> None:
        self.backend.kill()


class SimulatedRig:
    """The simulated backend over a world without noise, on a clock that is turned by hand."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "world"
        self._clock = FakeClock()
        self.backend = self._open()

    def _open(self) -> SimulatedBackend:
        world = SimulatedWorld.open(
            self._path, model="V100", gpus=GPUS, seed=1, clock=self._clock, noise_ratio=0.0
        )
        return SimulatedBackend(world, self._clock)

    def now_ns(self) -> int:
        return self._clock.monotonic_ns()

    def advance(self, seconds: float) -> None:
        self._clock.advance(seconds)

    def occupy(self, index: int) -> None:
        work = Workload(compute_share=0.3, base_step_seconds=0.2)
        self.backend.world.occupy(self._uuid(index), work)

    def lose(self, index: int) -> None:
        self.backend.world.set_fault(self._uuid(index), Fault.LOST)

    def find(self, index: int) -> None:
        self.backend.world.set_fault(self._uuid(index), None)

    def forbid_writes(self) -> None:
        for uuid in self.backend.world.uuids:
            self.backend.world.set_fault(uuid, Fault.NO_PERMISSION)

    def reopen(self) -> None:
        self.backend = self._open()

    def end(self) -> None:
        self.backend.close()

    def _uuid(self, index: int) -> str:
        return self.backend.world.uuids[index]
