"""All rows of the fault matrix, by vendor."""

from faults import amd, nvidia, nvidia_energy, nvidia_limits
from faults.fault import Fault

NVIDIA: tuple[Fault, ...] = (
    *nvidia.CALLS,
    *nvidia.GPUS_GO,
    *nvidia_energy.ENERGY,
    *nvidia_limits.LIMITS,
)

AMD: tuple[Fault, ...] = amd.ROWS
