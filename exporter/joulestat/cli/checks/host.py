"""This host: what is installed, which driver and GPUs there are, what this process may do."""

import os
import platform
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from joulestat import __version__
from joulestat.cli.checks import Finding, Verdict, explained, fail, ok, warn
from joulestat.config import Config
from joulestat.devices.backend import Backend
from joulestat.devices.probe import HARDWARE_BACKENDS, SimulatedOptions, open_backend
from joulestat.domain.clock import Clock
from joulestat.domain.device import Device, Reading
from joulestat.domain.errors import BackendUnavailable, DeviceError

EXTRAS = {"server": "the exporter", "optimizer": "the optimizer"}
"""Extra -> who needs it."""

CAP_SYS_ADMIN = 21
"""Bit in a capability set, linux/capability.h."""

_UNSIMULATED = SimulatedOptions(path=None, model="V100", gpus=1, seed=1)


def check_installation() -> list[Finding]:
    """Look at Python and at the libraries of each extra."""
    findings = [ok("joulestat", f"{__version__}, Python {platform.python_version()}")]
    for extra, needed_by in EXTRAS.items():
        missing = [name for name in _libraries(extra) if not _installed(name)]
        if missing:
            findings.append(
                warn(
                    f"extra {extra}",
                    f"not installed: {', '.join(missing)}",
                    f"where {needed_by} runs: pip install 'joulestat[{extra}]'",
                )
            )
        else:
            findings.append(ok(f"extra {extra}", "installed"))
    return findings


def check_devices(config: Config, clock: Clock, *, seen_by_exporter: int) -> list[Finding]:
    """Look at driver and GPUs, reading only.

    Args:
        config: Which backend the exporter here would take.
        clock: Stamps the readings.
        seen_by_exporter: How many GPUs the exporter reads: where it runs elsewhere, in a
            container for example, a host without a driver is no fault.
    """
    if config.backend == "simulated":
        return [ok("driver", "simulated GPUs, as configured: their joules are not real ones")]
    if config.backend == "none":
        return [warn("driver", "none, as configured", "choose another --backend to read GPUs")]
    names = HARDWARE_BACKENDS if config.backend == "auto" else (config.backend,)
    absent = Verdict.WARN if seen_by_exporter else Verdict.FAIL
    findings: list[Finding] = []
    for name in names:
        try:
            backend = open_backend(name, clock=clock, simulated=_UNSIMULATED)
        except BackendUnavailable as error:
            findings.append(explained("driver", absent, str(error)))
            continue
        if backend is not None:
            try:
                return _check_backend(backend)
            finally:
                backend.close()
    return findings


def check_privilege(status: str | None = None) -> Finding:
    """Tell whether this process could set power limits, without trying.

    Args:
        status: Text of ``/proc/self/status``; None reads it.
    """
    if status is None:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    effective = re.search(r"^CapEff:\s*([0-9a-fA-F]+)$", status, re.MULTILINE)
    capable = effective is not None and int(effective[1], 16) >> CAP_SYS_ADMIN & 1
    who = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"
    if capable:
        return ok("privilege", f"{who} with CAP_SYS_ADMIN may set power limits")
    return warn(
        "privilege",
        f"{who} without CAP_SYS_ADMIN may read GPUs, but not set power limits",
        "run the exporter as root or with CAP_SYS_ADMIN, if it is to hold limits",
    )


def _check_backend(backend: Backend) -> list[Finding]:
    devices = backend.devices()
    if not devices:
        return [fail("driver", f"{backend.name} works, but shows no GPU", "see nvidia-smi -L")]
    driver = f"{backend.name}, version {devices[0].driver_version}"
    models = ", ".join(sorted({device.model for device in devices}))
    readings = [(device, backend.read(device.uuid, details=True)) for device in devices]
    return [
        ok("driver", driver),
        ok("GPUs", f"{len(devices)} x {models}"),
        *_check_amd(backend),
        _check_readings(readings),
        _check_counters(readings),
        _check_limiters(backend, devices),
        *_check_persistence(readings),
    ]


def _check_amd(backend: Backend) -> list[Finding]:
    """Tell what of AMD is there: energy comes through amdsmi alone."""
    if backend.name != "amd":
        return []
    reasons: Mapping[str, str] = getattr(backend, "reasons", {})
    if "amdsmi" not in reasons:
        return [ok("AMD libraries", "amdsmi, which has all there is to read")]
    return [
        warn(
            "AMD libraries",
            ", ".join(f"no {source} ({reason})" for source, reason in sorted(reasons.items())),
            "install ROCm with its Python package amdsmi, of the same version as the ROCm: "
            "pip install /opt/rocm/share/amd_smi",
        )
    ]


def _check_readings(readings: Sequence[tuple[Device, Reading]]) -> Finding:
    failing = [
        f"GPU {device.index}: {error.call} {error.error}"
        for device, reading in readings
        for error in reading.errors
    ]
    if not failing:
        return ok("readings", "every GPU answers")
    return fail(
        "readings",
        "; ".join(failing),
        "see dmesg (Xid, amdgpu); a GPU that is lost comes back with a reset or a reboot",
    )


def _check_counters(readings: Sequence[tuple[Device, Reading]]) -> Finding:
    without = [device.index for device, reading in readings if reading.energy_counter_uj is None]
    if not without:
        return ok("energy counter", "every GPU counts its energy in hardware")
    why = "none: cards before Volta, vGPUs and MIG slices have no counter"
    if readings[0][0].vendor == "AMD":
        why = (
            "where amdsmi cannot be used, install it; otherwise none: the odd die of an MI250 is "
            "counted with its even one, and virtual machines have no counter"
        )
    return warn(
        "energy counter",
        f"GPU {_listed(without)} has none: its energy is integrated from its power draw, "
        "where it tells that",
        why,
    )


def _check_limiters(backend: Backend, devices: Sequence[Device]) -> Finding:
    ranges: set[tuple[float, float]] = set()
    without = []
    for device in devices:
        limiter = backend.limiter(device.uuid)
        try:
            if limiter is not None:
                ranges.add(limiter.range_watts())
                continue
        except DeviceError:
            pass
        without.append(device.index)
    if without:
        return warn(
            "power limits",
            f"GPU {_listed(without)} has no power limit that could be set",
            "none: laptop and virtual GPUs, and odd dies of an MI250, are measured only",
        )
    shown = ", ".join(f"{low:.0f} to {high:.0f} W" for low, high in sorted(ranges))
    return ok("power limits", f"may be set from {shown}")


def _check_persistence(readings: Sequence[tuple[Device, Reading]]) -> list[Finding]:
    modes = {device.index: reading.details.persistence_mode for device, reading in readings}
    off = [index for index, is_on in modes.items() if is_on is False]
    if off:
        return [
            warn(
                "persistence mode",
                f"off on GPU {_listed(off)}: its power limit and energy counter are lost "
                "whenever the last program closes the GPU",
                "enable the service nvidia-persistenced, or run: sudo nvidia-smi -pm 1",
            )
        ]
    if any(modes.values()):
        return [ok("persistence mode", "on: power limits stay while no program runs")]
    return []  # not a thing of this vendor's


def _listed(indices: Sequence[int]) -> str:
    return ", ".join(map(str, indices))


def _libraries(extra: str) -> list[str]:
    required = metadata.requires("joulestat") or []
    wanted = [text for text in required if re.search(rf"extra == ['\"]{extra}['\"]", text)]
    return sorted(re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0] for text in wanted)


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
