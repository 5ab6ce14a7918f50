"""What a report tells: the energy of a run, by GPU, by phase and over time."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GpuEnergy:
    """The energy of a run on one GPU.

    Attributes:
        node: Where it is.
        gpu: Its index there, as the exporter shows it; empty where it shows none.
        gpu_uuid: Its identity.
        joules: Of the whole run, all phases.
        model: What the vendor calls it; empty where unknown.
    """

    node: str
    gpu: str
    gpu_uuid: str
    joules: float
    model: str = ""


@dataclass(frozen=True, slots=True)
class Portion:
    """Energy that a run took on one node between two looks at its counters.

    Attributes:
        node: Which node.
        start_seconds: Unix time of the earlier look.
        end_seconds: Unix time of the later one; not before the earlier one, but maybe the same.
        joules: Of all the run's GPUs on the node.
    """

    node: str
    start_seconds: float
    end_seconds: float
    joules: float


@dataclass(frozen=True, slots=True)
class RunEnergy:
    """The energy of one run, as of one moment.

    Attributes:
        run: Its name.
        births_seconds: Unix times at which it was begun: of its first push on any node, and of
            those at which a node counted it from 0 anew. In order.
        end_seconds: Unix time at which it ended; where it did not say so, when it was seen last.
        ended: Whether it said on all nodes that it is over.
        gpus: By GPU: nodes by name, and GPUs of a node by index.
        joules_by_phase: By phase: train, eval, checkpoint, other.
        portions: Over time, in order of their ends. They add up to the GPUs' energy.
        problems: What makes these figures doubtful, for people.
    """

    run: str
    births_seconds: tuple[float, ...]
    end_seconds: float
    ended: bool
    gpus: tuple[GpuEnergy, ...]
    joules_by_phase: Mapping[str, float]
    portions: tuple[Portion, ...]
    problems: tuple[str, ...] = ()

    @property
    def start_seconds(self) -> float:
        """When it began."""
        return self.births_seconds[0]

    @property
    def joules(self) -> float:
        """The energy of all GPUs."""
        return sum(gpu.joules for gpu in self.gpus)
