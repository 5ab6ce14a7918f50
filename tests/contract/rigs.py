"""For each backend, the hands that the contract needs on its hardware."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fakes.amd import host
from fakes.amd.remote import AmdHost, RemoteAmd
from fakes.clock import FakeClock
from fakes.nvml.remote import RemoteNvml
from fakes.nvml.standin import StandIn
from joulestat.devices.backend import Backend
from joulestat.devices.models import Workload
from joulestat.devices.simulated import SimulatedBackend
from joulestat.devices.world import Fault, SimulatedWorld

GPUS = 3


@dataclass(frozen=True)
class Words:
    """The vendor's names of the errors that the contract speaks of."""

    lost: str = "GPU_IS_LOST"
    closed: str = "UNINITIALIZED"
    refused: str = "INVALID_ARGUMENT"
    denied: str = "NO_PERMISSION"


@dataclass(frozen=True)
class Abilities:
    """What the hardware or its library can; what it cannot must be None and no error.

    Attributes:
        counts: Has an energy counter.
        tells_enforced: Tells the limit in force apart from the one that was set.
        tells_throttling: Tells why the clocks are held back.
        counter_scale: What the library's joule is to one joule.
    """

    counts: bool = True
    tells_enforced: bool = True
    tells_throttling: bool = True
    counter_scale: float = 1.0


class Rig(Protocol):
    """A backend over hardware that a test has in its hands."""

    backend: Backend
    words: Words
    can: Abilities

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

    words = Words()
    can = Abilities()

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

    words = Words()
    can = Abilities()

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


class AmdRig:
    """The real AMD backend over stand-ins for amdsmi, pyrsmi and the kernel's files."""

    def __init__(self, sources: tuple[str, ...], folder: Path) -> None:
        self._host = AmdHost(folder, sources=sources, cards=GPUS)
        with_amdsmi = "amdsmi" in sources
        self.words = (
            Words(lost="NOT_FOUND", closed="NOT_INIT", refused="INVAL", denied="NO_PERM")
            if with_amdsmi
            else Words(lost="ENODEV", closed="NOT_INIT", refused="EINVAL", denied="EACCES")
        )
        self.can = Abilities(
            counts=with_amdsmi,
            tells_enforced=False,
            tells_throttling=with_amdsmi,
            # The library's 15.3 uJ are really 2^-16 J: its joules are 0.27 % too many.
            counter_scale=15.3e-6 * 2**16,
        )
        self.backend = self._open()

    def _open(self) -> RemoteAmd:
        remote = RemoteAmd(self._host)
        remote.open()
        return remote

    def now_ns(self) -> int:
        return int(self.backend.ask("now_ns"))

    def advance(self, seconds: float) -> None:
        self._host.advance(seconds)
        self.backend.ask("advance", seconds)

    def occupy(self, index: int) -> None:
        self._host.change(index, demand_mw=240_000)

    def lose(self, index: int) -> None:
        self._host.fault(gpu=index, status=host.NOT_FOUND, errno=host.ENODEV)

    def find(self, index: int) -> None:
        self._host.heal()

    def forbid_writes(self) -> None:
        self._host.fault("amdsmi_set_power_cap", status=host.NO_PERM)
        self._host.fault("power1_cap write", errno=host.EACCES)

    def reopen(self) -> None:
        self.backend.kill()
        self.backend = self._open()

    def end(self) -> None:
        self.backend.kill()
