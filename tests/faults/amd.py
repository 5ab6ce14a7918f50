"""The rows for AMD, read through amdsmi."""

from fakes.amd import host
from faults.amd_host import GPUS, SOME_ENERGY_UJ
from faults.fault import Fault, Logged
from faults.nvidia import failed, recovered
from faults.nvidia_energy import told
from faults.scene import Scene
from faults.shown import (
    ENERGY_GOES_ON,
    ENERGY_STANDS,
    WELL,
    absent,
    anomaly,
    answered,
    changes,
    errors,
    present,
    shows,
    source,
    up,
)

ALL = tuple(range(GPUS))
ENERGY, POWER = "amdsmi_get_energy_count", "amdsmi_get_power_info"
CAPS, SET_CAP = "amdsmi_get_power_cap_info", "amdsmi_set_power_cap"
HANDLES = "amdsmi_get_processor_handles"
TEMPERATURE = "amdsmi_get_temp_metric"
UNKNOWN = 0xFFFF_FFFF
HELD_WATTS, BASELINE_WATTS = 250, 300
HANG_SECONDS = 4.0
TICKS_PER_JOULE = 65_536

GONE = (absent("gpu_power_watts", "gpu_power_limit_watts", "gpu_temperature_celsius"),)


def faulty(call: str = "*", gpu: int | None = 0, **what: float):
    """Return what plans a fault."""
    return lambda scene: scene.host.fault(call, gpu, **what)


def healed(scene: Scene) -> None:
    scene.host.heal()


def unload(scene: Scene) -> None:
    scene.host.change(1, cap_uw=200_000_000)
    scene.host.fault(status=host.DRIVER_NOT_LOADED)


def load(scene: Scene) -> None:
    scene.host.reload_driver()
    scene.host.heal()


def freeze(scene: Scene, gpu: int, joules: int) -> None:
    scene.host.change(gpu, frozen_ticks=joules * TICKS_PER_JOULE)


def thawed(gpu: int):
    return lambda scene: scene.host.change(gpu, frozen_ticks=None)


def leased(gpu: int):
    return lambda scene: scene.lease(scene.gpus[gpu], HELD_WATTS)


def released(gpu: int):
    return lambda scene: scene.admin.delete_lease(scene.gpus[gpu])


def forbidden_lease(scene: Scene) -> None:
    scene.host.fault(SET_CAP, status=host.NO_PERM)
    leased(0)(scene)


def allowed_lease(scene: Scene) -> None:
    scene.host.heal()
    leased(0)(scene)


def slippery_lease(scene: Scene) -> None:
    scene.host.change(1, cap_sticks=False)
    leased(1)(scene)


def sticky_lease(scene: Scene) -> None:
    scene.host.change(1, cap_sticks=True)
    leased(1)(scene)


ROWS = (
    Fault(
        f"a call about one GPU hangs for {HANG_SECONDS:g} s: one thread reads all AMD GPUs",
        inject=faulty(ENERGY, seconds=HANG_SECONDS),
        own=True,
        gpus=ALL,
        exported=(up(0), errors("read", "STUCK"), *GONE, ENERGY_STANDS),
        logged=(failed("read", "STUCK"),),
        clear=healed,
        recovered=(WELL, ENERGY_GOES_ON),
        logged_then=(recovered("read", "STUCK"),),
        by="as soon as the call returns",
    ),
    Fault(
        "one call answers UNKNOWN_ERROR",
        inject=faulty(CAPS, status=UNKNOWN),
        exported=(
            up(0),
            errors(CAPS, "UNKNOWN_ERROR"),
            absent("gpu_power_limit_watts"),
            present("gpu_power_watts"),
            ENERGY_GOES_ON,
        ),
        logged=(failed(CAPS, "UNKNOWN_ERROR"),),
        clear=healed,
        recovered=(WELL, present("gpu_power_limit_watts")),
        logged_then=(recovered(CAPS, "UNKNOWN_ERROR"),),
    ),
    Fault(
        "a call of the slow beat answers UNKNOWN_ERROR",
        inject=faulty(TEMPERATURE, status=UNKNOWN),
        exported=(
            up(0),
            errors(TEMPERATURE, "UNKNOWN_ERROR"),
            absent("gpu_temperature_celsius"),
            present("gpu_power_watts", "gpu_power_limit_watts"),
        ),
        logged=(failed(TEMPERATURE, "UNKNOWN_ERROR"),),
        clear=healed,
        recovered=(WELL, present("gpu_temperature_celsius")),
        logged_then=(recovered(TEMPERATURE, "UNKNOWN_ERROR"),),
        by="at the next slow beat",
    ),
    Fault(
        "a GPU is lost (NOT_FOUND)",
        inject=faulty(status=host.NOT_FOUND),
        own=True,
        exported=(up(0), errors(HANDLES, "NOT_FOUND"), *GONE, ENERGY_STANDS),
        logged=(
            failed(ENERGY, "NOT_FOUND"),
            Logged("gpu_left_out", "gpu=0", per_gpu=False),
            failed(HANDLES, "NOT_FOUND"),
            recovered(ENERGY, "NOT_FOUND"),
        ),
        clear=healed,
        recovered=(WELL, present("gpu_power_watts"), ENERGY_GOES_ON),
        logged_then=(recovered(HANDLES, "NOT_FOUND"),),
        by="at the next look",
    ),
    Fault(
        "the driver is unloaded, and loaded anew",
        inject=unload,
        own=True,
        gpus=ALL,
        exported=(up(0), errors(HANDLES, "NOT_FOUND"), *GONE, ENERGY_STANDS),
        logged=(
            failed(ENERGY, "DRIVER_NOT_LOADED"),
            Logged("amd_shutdown_failed", "error=DRIVER_NOT_LOADED", per_gpu=False),
            Logged("amd_source_skipped", "source=amdsmi", per_gpu=False),
            failed(HANDLES, "NOT_FOUND"),
            recovered(ENERGY, "DRIVER_NOT_LOADED"),
        ),
        clear=load,
        recovered=(
            WELL,
            anomaly("backwards"),
            anomaly("reset"),
            shows("gpu_power_limit_watts", BASELINE_WATTS),
            ENERGY_GOES_ON,
        ),
        logged_then=(told("backwards"), told("reset"), recovered(HANDLES, "NOT_FOUND")),
        by="at the next look; limits are at their default",
    ),
    Fault(
        "the accumulator reads zero for a moment, which means that it cannot be read",
        inject=lambda scene: freeze(scene, 0, 0),
        exported=(WELL, source("hardware_counter"), ENERGY_GOES_ON),
        clear=thawed(0),
        recovered=(WELL, ENERGY_GOES_ON),
        by="at the next true reading",
    ),
    Fault(
        "the accumulator dips by 8.5 kJ for a moment",
        inject=lambda scene: freeze(scene, 0, SOME_ENERGY_UJ // 1_000_000 - 8_500),
        exported=(WELL, anomaly("backwards"), source("hardware_counter"), ENERGY_GOES_ON),
        logged=(told("backwards"),),
        clear=thawed(0),
        recovered=(WELL, anomaly("backwards"), ENERGY_GOES_ON),
        by="at the next true reading",
    ),
    Fault(
        "the accumulator jumps by 10 MJ and counts on from there",
        inject=lambda scene: scene.host.change(1, shift_ticks=10_000_000 * TICKS_PER_JOULE),
        gpus=(1,),
        exported=(WELL, anomaly("jump"), anomaly("reset"), ENERGY_GOES_ON),
        logged=(told("jump"), told("reset")),
        clear=lambda _: None,
        recovered=(WELL, ENERGY_GOES_ON),
        by="after three readings that agree: the step itself is never credited",
    ),
    Fault(
        "the accumulator is reset to zero",
        inject=lambda scene: scene.host.change(2, energy_uj=0),
        gpus=(2,),
        exported=(WELL, anomaly("backwards"), anomaly("reset"), ENERGY_GOES_ON),
        logged=(told("backwards"), told("reset")),
        clear=lambda _: None,
        recovered=(WELL, ENERGY_GOES_ON),
        by="after three readings that agree: power tells what was drawn meanwhile",
    ),
    Fault(
        "there is no accumulator: energy is NOT_SUPPORTED from the start",
        inject=faulty(ENERGY, None, status=host.NOT_SUPPORTED),
        before_start=True,
        own=True,
        gpus=ALL,
        exported=(WELL, source("integrated_power"), ENERGY_GOES_ON),
        logged=(
            Logged("amd_sources", "energy=none power=amdsmi limits=amdsmi limiter=yes"),
            Logged("amd_source_skipped", "source=sysfs", per_gpu=False),
        ),
        clear=healed,
        recovered=(WELL, source("hardware_counter"), ENERGY_GOES_ON),
        logged_then=(Logged("energy_source_changed", "source=hardware_counter"),),
        by="the accumulator counts from where the integral stands",
    ),
    Fault(
        "power is NOT_SUPPORTED",
        inject=faulty(POWER, status=host.NOT_SUPPORTED),
        exported=(WELL, absent("gpu_power_watts"), source("hardware_counter"), ENERGY_GOES_ON),
        clear=healed,
        recovered=(WELL, present("gpu_power_watts")),
        by="at the next slow beat",
    ),
    Fault(
        "nobody may set a limit (NO_PERM)",
        inject=forbidden_lease,
        exported=(
            WELL,
            answered("502"),
            changes("refused"),
            shows("gpu_power_limit_writable", 0),
            shows("gpu_power_limit_watts", BASELINE_WATTS),
        ),
        logged=(Logged("limit_not_set", f"asked_watts={HELD_WATTS}"),),
        clear=allowed_lease,
        recovered=(
            WELL,
            answered("ok"),
            shows("gpu_power_limit_writable", 1),
            shows("gpu_power_limit_watts", HELD_WATTS),
        ),
        logged_then=(Logged("limit_set_again"),),
        by="at the next lease",
        clean_up=released(0),
    ),
    Fault(
        "a limit does not stick: the driver says yes and keeps the old one",
        inject=slippery_lease,
        gpus=(1,),
        exported=(
            WELL,
            answered("502", f"it reads back {BASELINE_WATTS} W"),
            changes("failed"),
            shows("gpu_power_limit_watts", BASELINE_WATTS),
        ),
        logged=(Logged("limit_not_set", f"asked_watts={HELD_WATTS}"),),
        clear=sticky_lease,
        recovered=(WELL, answered("ok"), shows("gpu_power_limit_watts", HELD_WATTS)),
        logged_then=(Logged("limit_set_again"),),
        by="at the next lease",
        clean_up=released(1),
    ),
)
