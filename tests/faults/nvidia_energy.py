"""The rows for NVIDIA's energy register, and for power where there is none."""

from fakes.nvml import faults
from faults.fault import Fault, Logged
from faults.nvidia import ALL, GPUS, healed, planned
from faults.scene import Scene
from faults.shown import (
    ENERGY_GOES_ON,
    ENERGY_IS_WHOLE,
    WELL,
    absent,
    anomaly,
    present,
    source,
)

DIP_MJ = 8_500_000
AHEAD_MJ = 50_000  # no step down from what the exporter has read last
JUMP_MJ = 10_000_000_000
POWER_FIELD, POWER = "nvmlDeviceGetFieldValues", "nvmlDeviceGetPowerUsage"


def told(reason: str) -> Logged:
    return Logged("energy_anomaly", f"reason={reason}")


def freeze(scene: Scene, gpu: int, *, by_mj: int = 0) -> None:
    """Let the register show one value, so much away from the true one."""
    energy_mj = scene.host.gpu(gpu).energy_uj // 1_000
    scene.host.plan(faults.frozen_counter(gpu, max(0, energy_mj + by_mj)))


ENERGY = (
    Fault(
        "the register reads zero for a moment",
        inject=planned(faults.frozen_counter(0, 0)),
        gpus=(0,),
        exported=(WELL, anomaly("backwards"), source("hardware_counter"), ENERGY_GOES_ON),
        logged=(told("backwards"),),
        clear=healed,
        recovered=(WELL, anomaly("backwards"), ENERGY_IS_WHOLE),
        by="at the next true reading",
    ),
    Fault(
        "the register dips by 8.5 kJ for a moment",
        inject=lambda scene: freeze(scene, 1, by_mj=-DIP_MJ),
        gpus=(1,),
        exported=(WELL, anomaly("backwards"), source("hardware_counter"), ENERGY_GOES_ON),
        logged=(told("backwards"),),
        clear=healed,
        recovered=(WELL, anomaly("backwards"), ENERGY_IS_WHOLE),
        by="at the next true reading",
    ),
    Fault(
        "the register jumps by 10 MJ for a moment",
        inject=lambda scene: freeze(scene, 2, by_mj=JUMP_MJ),
        gpus=(2,),
        exported=(WELL, anomaly("jump"), source("hardware_counter"), ENERGY_GOES_ON),
        logged=(told("jump"),),
        clear=healed,
        recovered=(WELL, anomaly("jump"), ENERGY_IS_WHOLE),
        by="at the next true reading",
    ),
    Fault(
        "the register jumps by 10 MJ and counts on from there",
        inject=planned(faults.shifted_counter(3, JUMP_MJ)),
        gpus=(3,),
        exported=(WELL, anomaly("jump"), anomaly("reset"), ENERGY_IS_WHOLE),
        logged=(told("jump"), told("reset")),
        clear=healed,
        recovered=(WELL, anomaly("backwards"), ENERGY_IS_WHOLE),
        logged_then=(told("backwards"),),
        by="after three readings that agree: the step itself is never credited",
    ),
    Fault(
        "the register stands still while the card draws power",
        inject=lambda scene: freeze(scene, 0, by_mj=AHEAD_MJ),
        gpus=(0,),
        exported=(WELL, anomaly("frozen"), source("hardware_counter"), ENERGY_GOES_ON),
        logged=(told("frozen"),),
        clear=healed,
        recovered=(WELL, anomaly("frozen"), ENERGY_IS_WHOLE),
        by="as soon as it moves",
    ),
    Fault(
        "the register is reset to zero",
        inject=lambda scene: scene.host.change(2, energy_uj=0),
        gpus=(2,),
        exported=(WELL, anomaly("backwards"), anomaly("reset"), ENERGY_IS_WHOLE),
        logged=(told("backwards"), told("reset")),
        clear=lambda _: None,
        recovered=(WELL, ENERGY_IS_WHOLE),
        by="after three readings that agree: power tells what was drawn meanwhile",
    ),
    Fault(
        "power is NOT_SUPPORTED",
        inject=planned(
            faults.not_supported(POWER_FIELD, gpu=0), faults.not_supported(POWER, gpu=0)
        ),
        exported=(WELL, absent("gpu_power_watts"), source("hardware_counter"), ENERGY_GOES_ON),
        clear=healed,
        recovered=(WELL, present("gpu_power_watts"), ENERGY_IS_WHOLE),
        by="at the next slow beat",
    ),
    Fault(
        "there is no register: energy is NOT_SUPPORTED from the start",
        inject=planned(*(faults.not_supported(faults.ENERGY, gpu=gpu) for gpu in range(GPUS))),
        before_start=True,
        own=True,
        gpus=ALL,
        exported=(WELL, source("integrated_power"), ENERGY_GOES_ON),
        clear=healed,
        recovered=(WELL, source("hardware_counter"), ENERGY_GOES_ON),
        logged_then=(Logged("energy_source_changed", "source=hardware_counter"),),
        by="the register counts from where the integral stands",
    ),
)
