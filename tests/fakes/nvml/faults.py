"""What a driver does to us, as lines of the stand-in's plan; ``StandIn.plan`` takes them.

Faults of the state are not here: ``StandIn.change`` (reset: ``energy_uj=0``), ``reload_driver``,
``upgrade_driver`` and ``add_gpu``.
"""

ENERGY = "nvmlDeviceGetTotalEnergyConsumption"
SET_LIMIT = "nvmlDeviceSetPowerManagementLimit"

NOT_SUPPORTED, NO_PERMISSION, TIMEOUT, GPU_IS_LOST, UNKNOWN = 3, 4, 10, 15, 999
"""Return codes of nvml.h."""

UNINITIALIZED = 1


def latency(seconds: float, *, gpu: int, call: str = "*") -> str:
    """Make calls about a GPU slower."""
    return f"{call} {gpu} us {round(seconds * 1e6)}"


def hang(gpu: int, *, call: str = "*") -> str:
    """Let calls about a GPU return only when the plan changes."""
    return f"{call} {gpu} hang"


def lost(gpu: int) -> str:
    """Let a GPU fall off the bus."""
    return f"* {gpu} ret {GPU_IS_LOST}"


def failing(call: str, code: int, *, gpu: int) -> str:
    """Let one call fail."""
    return f"{call} {gpu} ret {code}"


def not_supported(call: str, *, gpu: int) -> str:
    """Let a card not offer a call."""
    return failing(call, NOT_SUPPORTED, gpu=gpu)


def frozen_counter(gpu: int, energy_mj: int) -> str:
    """Stop the energy counter at a value, mJ."""
    return f"{ENERGY} {gpu} val {energy_mj}"


def shifted_counter(gpu: int, by_mj: int) -> str:
    """Show the energy counter this much higher, a jump, or lower, a backward dip; mJ."""
    return f"{ENERGY} {gpu} add {by_mj}"


def no_permission() -> str:
    """Let nobody set a limit."""
    return f"{SET_LIMIT} * ret {NO_PERMISSION}"


def limit_does_not_stick(gpu: int) -> str:
    """Say yes to a new limit and keep the old one."""
    return f"{SET_LIMIT} {gpu} ignore"


def dead_session(code: int = UNINITIALIZED) -> str:
    """Let what was opened before a driver reload answer an error until it is opened anew."""
    return f"* * stale {code}"
