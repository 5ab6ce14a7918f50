"""The rows for NVIDIA's power limits."""

from fakes.nvml import faults
from faults.fault import Fault, Logged
from faults.nvidia import healed, planned
from faults.scene import Scene
from faults.shown import (
    WELL,
    absent,
    answered,
    changes,
    on_the_landing_page,
    present,
    shows,
)

ENFORCED = "nvmlDeviceGetEnforcedPowerLimit"
HELD_WATTS, FOREIGN_WATTS, BASELINE_WATTS = 250, 270, 300


def leased(gpu: int, *plan: str):
    """Return what asks for a lease under these faults."""

    def act(scene: Scene) -> None:
        scene.host.plan(*plan)
        scene.lease(scene.gpus[gpu], HELD_WATTS)

    return act


def released(gpu: int):
    return lambda scene: scene.admin.delete_lease(scene.gpus[gpu])


def lease_is_overwritten(scene: Scene) -> None:
    scene.lease(scene.gpus[2], HELD_WATTS)
    scene.host.change(2, limit_mw=FOREIGN_WATTS * 1_000)


LIMITS = (
    Fault(
        "the enforced limit is NOT_SUPPORTED",
        inject=planned(faults.not_supported(ENFORCED, gpu=0)),
        exported=(
            WELL,
            absent("gpu_power_limit_enforced_watts"),
            shows("gpu_power_limit_watts", BASELINE_WATTS),
        ),
        clear=healed,
        recovered=(WELL, present("gpu_power_limit_enforced_watts")),
        by="at the next slow beat",
    ),
    Fault(
        "a lower limit is enforced out of band, by a BMC for example",
        inject=lambda scene: scene.host.change(0, cap_mw=200_000),
        exported=(
            WELL,
            shows("gpu_power_limit_watts", BASELINE_WATTS),
            shows("gpu_power_limit_enforced_watts", 200),
        ),
        clear=lambda scene: scene.host.change(0, cap_mw=350_000),
        recovered=(WELL, shows("gpu_power_limit_enforced_watts", BASELINE_WATTS)),
    ),
    Fault(
        "nobody may set a limit (NO_PERMISSION)",
        inject=leased(0, faults.no_permission()),
        exported=(
            WELL,
            answered("502", "setting a limit needs root or CAP_SYS_ADMIN"),
            changes("refused"),
            shows("gpu_power_limit_writable", 0),
            shows("gpu_power_limit_watts", BASELINE_WATTS),
            absent("gpu_power_limit_target_watts"),
        ),
        logged=(Logged("limit_not_set", f"asked_watts={HELD_WATTS}"),),
        clear=leased(0),
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
        inject=leased(1, faults.limit_does_not_stick(1)),
        gpus=(1,),
        exported=(
            WELL,
            answered("502", f"it reads back {BASELINE_WATTS} W"),
            changes("failed"),
            shows("gpu_power_limit_watts", BASELINE_WATTS),
            absent("gpu_power_limit_target_watts"),
        ),
        logged=(Logged("limit_not_set", f"asked_watts={HELD_WATTS}"),),
        clear=leased(1),
        recovered=(WELL, answered("ok"), shows("gpu_power_limit_watts", HELD_WATTS)),
        logged_then=(Logged("limit_set_again"),),
        by="at the next lease",
        clean_up=released(1),
    ),
    Fault(
        "somebody else sets another limit than the lease's",
        inject=lease_is_overwritten,
        gpus=(2,),
        exported=(
            WELL,
            shows("gpu_power_limit_watts", FOREIGN_WATTS),
            shows("gpu_power_limit_target_watts", HELD_WATTS),
        ),
        logged=(Logged("limit_drift", f"found_watts={FOREIGN_WATTS} target_watts={HELD_WATTS}"),),
        clear=released(2),
        recovered=(
            WELL,
            shows("gpu_power_limit_watts", FOREIGN_WATTS),
            absent("gpu_power_limit_target_watts"),
            changes("failed"),
        ),
        logged_then=(Logged("lease_ended", "outcome=foreign"),),
        by="with the end of the lease, which leaves the other limit alone",
        clean_up=lambda scene: scene.host.change(2, limit_mw=BASELINE_WATTS * 1_000),
    ),
    Fault(
        "persistence mode is off",
        inject=lambda scene: scene.host.change(3, persistence=0),
        gpus=(3,),
        exported=(WELL, on_the_landing_page("Persistence mode is off on GPU 3.")),
        clear=lambda scene: scene.host.change(3, persistence=1),
        recovered=(WELL, on_the_landing_page("Persistence mode is off", there=False)),
        by="at the next slow beat",
    ),
)
