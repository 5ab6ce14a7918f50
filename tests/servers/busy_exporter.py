"""A real exporter whose simulated GPUs work all the time: the truth of any span is known."""

from pathlib import Path
from types import TracebackType
from typing import Self

from joulestat.demo.trainer import WORKLOAD
from joulestat.devices.models import V100
from joulestat.devices.world import SimulatedWorld
from joulestat.domain.units import uj_to_joules
from joulestat.loops.system_clock import SystemClock
from servers.exporter import Exporter

NOISE_RATIO = 0.02
"""Of the cards' draw: enough to tell energy that was read from energy that was assumed."""


class BusyExporter(Exporter):
    """An exporter to train beside; what is trained changes nothing about what the GPUs draw.

    It samples so often that its answers are at most 20 ms old.
    """

    def __init__(self, folder: Path, *flags: str, gpus: int = 2) -> None:
        super().__init__(folder, "--sampling.interval", "20ms", *flags, gpus=gpus)
        self._hardware: SimulatedWorld | None = None

    def __enter__(self) -> Self:
        """Put all GPUs to work, and start."""
        self._hardware = SimulatedWorld.open(
            self.world_file,
            model=V100.name,
            gpus=self.gpus,
            seed=1,
            clock=SystemClock(),
            noise_ratio=NOISE_RATIO,
        )
        for uuid in self._hardware.uuids:
            self._hardware.occupy(uuid, WORKLOAD)
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, traceback)
        if self._hardware is not None:
            self._hardware.close()

    def true_joules(self, start_ns: int, end_ns: int) -> list[float]:
        """Return what each GPU took between two instants of CLOCK_MONOTONIC, J, by index."""
        assert self._hardware is not None
        return [
            uj_to_joules(
                self._hardware.energy_uj(uuid, end_ns) - self._hardware.energy_uj(uuid, start_ns)
            )
            for uuid in self._hardware.uuids
        ]

    @property
    def uuids(self) -> tuple[str, ...]:
        """The GPUs in order of their index."""
        assert self._hardware is not None
        return self._hardware.uuids

    def run_joules(self, run: str, phase: str | None = None) -> float:
        """Return what /metrics says a run took, J; in all phases for None."""
        wanted = {"run": run} if phase is None else {"run": run, "phase": phase}
        return self.value("run_energy_joules_total", **wanted)
