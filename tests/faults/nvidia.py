"""The rows for NVIDIA: the driver as a whole, and its calls. Rows take turns on one exporter."""

from fakes.nvml import faults
from fakes.nvml.standin import LIBRARY, build_library
from faults.fault import Fault, Logged
from faults.scene import Scene
from faults.shown import (
    ENERGY_GOES_ON,
    ENERGY_IS_WHOLE,
    ENERGY_STANDS,
    WELL,
    absent,
    anomaly,
    errors,
    present,
    shows,
    source,
    up,
)

GPUS = 4
BUSY_MW = 180_000
NEXT_VERSION = "600.10.20"
ALL = tuple(range(GPUS))

READ_LIMIT = "nvmlDeviceGetPowerManagementLimit"
TEMPERATURE = "nvmlDeviceGetTemperatureV"


def failed(call: str, error: str) -> Logged:
    return Logged("driver_call_failed", f"call={call} error={error}")


def recovered(call: str, error: str) -> Logged:
    return Logged("driver_call_recovered", f"call={call} error={error}")


def planned(*lines: str):
    """Return what injects these lines of the stand-in's plan."""
    return lambda scene: scene.host.plan(*lines)


def healed(scene: Scene) -> None:
    scene.host.plan()


def unload(scene: Scene) -> None:
    scene.host.change(1, limit_mw=200_000)
    scene.host.plan("* * ret 9")


def load(scene: Scene) -> None:
    scene.host.reload_driver()
    scene.host.plan()


def take_library_away(scene: Scene) -> None:
    (scene.host.library_folder / LIBRARY).write_bytes(b"not a library")


def bring_library(scene: Scene) -> None:
    build_library(scene.host.library_folder)


def bring_next_library(scene: Scene) -> None:
    build_library(scene.host.library_folder, driver_version=NEXT_VERSION)


GONE = (absent("gpu_power_watts", "gpu_power_limit_watts", "gpu_temperature_celsius"),)

CALLS = (
    Fault(
        "a call hangs",
        inject=planned(faults.hang(0)),
        exported=(up(0), errors("read", "STUCK"), *GONE, ENERGY_STANDS),
        logged=(failed("read", "STUCK"),),
        clear=healed,
        recovered=(WELL, ENERGY_IS_WHOLE),
        logged_then=(recovered("read", "STUCK"),),
        by="as soon as the call returns",
    ),
    Fault(
        "one call takes half a second",
        inject=planned(faults.latency(0.5, gpu=0, call=faults.ENERGY)),
        exported=(WELL, present("gpu_power_watts"), ENERGY_GOES_ON),
        clear=healed,
        recovered=(WELL, ENERGY_IS_WHOLE),
    ),
    Fault(
        "every call takes half a second: readings are older than a second when they are there",
        inject=planned(faults.latency(0.5, gpu=0)),
        exported=(up(0), errors("read", "STUCK"), *GONE),
        logged=(failed("read", "STUCK"),),
        clear=healed,
        recovered=(WELL, ENERGY_IS_WHOLE),
        logged_then=(recovered("read", "STUCK"),),
    ),
    Fault(
        "one call answers UNKNOWN",
        inject=planned(faults.failing(READ_LIMIT, faults.UNKNOWN, gpu=0)),
        exported=(
            up(0),
            errors(READ_LIMIT, "UNKNOWN"),
            absent("gpu_power_limit_watts"),
            present("gpu_power_watts"),
            ENERGY_GOES_ON,
        ),
        logged=(failed(READ_LIMIT, "UNKNOWN"),),
        clear=healed,
        recovered=(WELL, present("gpu_power_limit_watts"), ENERGY_IS_WHOLE),
        logged_then=(recovered(READ_LIMIT, "UNKNOWN"),),
    ),
    Fault(
        "a call of the slow beat answers UNKNOWN",
        inject=planned(faults.failing(TEMPERATURE, faults.UNKNOWN, gpu=0)),
        exported=(
            up(0),
            errors(TEMPERATURE, "UNKNOWN"),
            absent("gpu_temperature_celsius"),
            present("gpu_power_watts", "gpu_power_limit_watts"),
            ENERGY_GOES_ON,
        ),
        logged=(failed(TEMPERATURE, "UNKNOWN"),),
        clear=healed,
        recovered=(WELL, present("gpu_temperature_celsius"), ENERGY_IS_WHOLE),
        logged_then=(recovered(TEMPERATURE, "UNKNOWN"),),
        by="at the next slow beat",
    ),
    Fault(
        "the energy call answers UNKNOWN",
        inject=planned(faults.failing(faults.ENERGY, faults.UNKNOWN, gpu=0)),
        exported=(
            up(0),
            errors(faults.ENERGY, "UNKNOWN"),
            source("hardware_counter"),
            present("gpu_power_watts", "gpu_power_limit_watts"),
            ENERGY_GOES_ON,
        ),
        logged=(failed(faults.ENERGY, "UNKNOWN"),),
        clear=healed,
        recovered=(WELL, ENERGY_IS_WHOLE),
        logged_then=(recovered(faults.ENERGY, "UNKNOWN"),),
    ),
)

GPUS_GO = (
    Fault(
        "a GPU falls off the bus (GPU_IS_LOST)",
        inject=planned(faults.lost(1)),
        own=True,
        gpus=(1,),
        exported=(up(0), errors(faults.ENERGY, "GPU_IS_LOST"), *GONE, ENERGY_STANDS),
        logged=(
            failed(faults.ENERGY, "GPU_IS_LOST"),
            Logged("gpu_lost", "error=GPU_IS_LOST"),
            Logged("nvml_reopened", "reason=GPU_IS_LOST", per_gpu=False),
        ),
        clear=healed,
        recovered=(WELL, present("gpu_power_watts"), ENERGY_IS_WHOLE),
        logged_then=(recovered(faults.ENERGY, "GPU_IS_LOST"), Logged("gpu_came")),
        by="at the next look",
    ),
    Fault(
        "a GPU is taken away, and the others move up by one index",
        inject=lambda scene: scene.host.change(2, hidden=1),
        own=True,
        gpus=(2,),
        exported=(up(0), errors(faults.ENERGY, "NOT_FOUND"), *GONE, ENERGY_STANDS),
        logged=(
            failed(faults.ENERGY, "GPU_IS_LOST"),
            failed(faults.ENERGY, "NOT_FOUND"),
            Logged("gpu_lost", "error=GPU_IS_LOST"),
            Logged("gpu_moved", "before=3", per_gpu=False),
            Logged("nvml_reopened", "reason=GPU_IS_LOST", per_gpu=False),
        ),
        perhaps=(Logged("gpu_lost", "error=NOT_FOUND"),),
        clear=lambda scene: scene.host.change(2, hidden=0),
        recovered=(WELL, present("gpu_power_watts"), ENERGY_IS_WHOLE),
        logged_then=(
            Logged("gpu_moved", "before=2", per_gpu=False),
            recovered(faults.ENERGY, "NOT_FOUND"),
            Logged("gpu_came"),
        ),
        by="at the next look",
    ),
    Fault(
        "the driver is unloaded, and loaded anew",
        inject=unload,
        own=True,
        gpus=ALL,
        exported=(up(0), errors(faults.ENERGY, "DRIVER_NOT_LOADED"), *GONE, ENERGY_STANDS),
        logged=(
            failed(faults.ENERGY, "DRIVER_NOT_LOADED"),
            Logged("gpu_lost", "error=DRIVER_NOT_LOADED"),
            Logged("nvml_reopen_failed", per_gpu=False),
        ),
        clear=load,
        recovered=(
            WELL,
            anomaly("backwards"),
            anomaly("reset"),
            shows("gpu_power_limit_watts", 300),
            ENERGY_GOES_ON,
        ),
        logged_then=(
            Logged("nvml_reopened", per_gpu=False),
            Logged("energy_anomaly", "reason=backwards"),
            Logged("energy_anomaly", "reason=reset"),
            Logged("gpu_came"),
            recovered(faults.ENERGY, "DRIVER_NOT_LOADED"),
        ),
        by="at the next look; limits are at their default",
    ),
    Fault(
        "another version of the driver is loaded: the library that is open does not fit it",
        inject=lambda scene: scene.host.upgrade_driver(NEXT_VERSION),
        own=True,
        gpus=ALL,
        exported=(up(0), errors(faults.ENERGY, "LIB_RM_VERSION_MISMATCH"), *GONE, ENERGY_STANDS),
        logged=(
            failed(faults.ENERGY, "LIB_RM_VERSION_MISMATCH"),
            Logged("gpu_lost", "error=LIB_RM_VERSION_MISMATCH"),
            Logged("nvml_reopen_failed", per_gpu=False),
        ),
        clear=bring_next_library,
        recovered=(WELL, anomaly("backwards"), anomaly("reset"), ENERGY_GOES_ON),
        logged_then=(
            Logged("nvml_reopened", "reason=LIB_RM_VERSION_MISMATCH", per_gpu=False),
            Logged("energy_anomaly", "reason=backwards"),
            Logged("energy_anomaly", "reason=reset"),
            Logged("gpu_came"),
            recovered(faults.ENERGY, "LIB_RM_VERSION_MISMATCH"),
        ),
        by="at the next look after the library of that version is there",
    ),
    Fault(
        "there is no library when the exporter starts",
        inject=take_library_away,
        own=True,
        before_start=True,
        gpus=ALL,
        exported=(absent("gpu_info", "gpu_energy_joules_total"),),
        logged=(
            Logged("backend_skipped", "backend=nvml", per_gpu=False),
            Logged("backend_skipped", "backend=amd", per_gpu=False),
            Logged("no_gpu", per_gpu=False),
        ),
        clear=bring_library,
        recovered=(WELL, present("gpu_info", "gpu_power_watts"), ENERGY_GOES_ON),
        by="at the next look after it is there",
        new_threads=GPUS,
        new_descriptors=1,  # the stand-in's state
    ),
    Fault(
        "a GPU comes while the exporter runs",
        inject=lambda _: None,
        own=True,
        gpus=(GPUS,),
        exported=(absent("gpu_info"),),
        clear=lambda scene: scene.host.add_gpu(),
        recovered=(WELL, present("gpu_info", "gpu_power_watts"), ENERGY_GOES_ON),
        logged_then=(Logged("gpu_came"),),
        by="at the next look",
        new_threads=1,
    ),
)
