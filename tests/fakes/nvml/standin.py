"""The stand-in for libnvidia-ml.so.1 as tests handle it: build it, run it, change its state."""

import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path

SOURCES = [Path(__file__).with_name(name) for name in ("nvml_standin.c", "standin_driver.c")]
LIBRARY = "libnvidia-ml.so.1"
DRIVER_VERSION = "590.00.00"

# state_t of standin_driver.h: magic, driver version, when it was loaded, number of GPUs; then
# one record of twelve numbers per GPU.
_HEADER = struct.Struct("=8s24sQQ")
_GPU = struct.Struct("=12Q")


def build_library(folder: Path, *, driver_version: str = DRIVER_VERSION) -> Path:
    """Compile the stand-in into ``folder``, which then is its LD_LIBRARY_PATH; return it.

    One that lies there is replaced, not overwritten: a process that has it loaded keeps it.

    Raises:
        FileNotFoundError: There is no C compiler.
    """
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise FileNotFoundError("no C compiler: the NVML stand-in needs cc on PATH")
    warnings = ["-Wall", "-Wextra"]  # not errors: compilers to come will find more to say
    shared = ["-fPIC", "-shared", "-fvisibility=hidden", f"-Wl,-soname,{LIBRARY}", "-pthread"]
    version = f'-DDRIVER_VERSION="{driver_version}"'
    draft = folder / f"{LIBRARY}.draft"
    command = [compiler, "-std=gnu11", "-O2", *warnings, *shared, version]
    subprocess.run([*command, "-o", draft, *SOURCES], check=True)
    draft.replace(folder / LIBRARY)
    return folder


@dataclass(frozen=True)
class GpuState:
    """One GPU in the driver's state; the order is that of ``gpu_t`` in standin_driver.h."""

    limit_mw: int
    default_mw: int
    min_mw: int
    max_mw: int
    cap_mw: int
    demand_mw: int
    energy_uj: int
    since_ns: int
    persistence: int
    mig_instances: int
    hidden: int
    pid: int

    @property
    def power_mw(self) -> int:
        """What the GPU draws: its demand, as far as the limits let it."""
        return min(self.demand_mw, self.limit_mw, self.cap_mw)

    def as_of(self, now_ns: int) -> "GpuState":
        """The same GPU with its energy counted up to a moment, CLOCK_MONOTONIC."""
        drawn_uj = self.power_mw * (now_ns - self.since_ns) // 1_000_000
        return replace(self, energy_uj=self.energy_uj + drawn_uj, since_ns=now_ns)


class StandIn:
    """One host with the stand-in's driver: its files, and what a process needs to see it."""

    def __init__(self, library_folder: Path, folder: Path, *, gpus: int = 2) -> None:
        self._library_folder = library_folder
        self._gpus = gpus
        self._state = folder / "nvml.state"
        self._plan = folder / "nvml.plan"
        self._calls = folder / "nvml.calls"

    def environment(self) -> dict[str, str]:
        """Return what a process must find in its environment when it starts."""
        return {
            "LD_LIBRARY_PATH": str(self._library_folder),
            "FAKE_NVML_STATE": str(self._state),
            "FAKE_NVML_GPUS": str(self._gpus),
            "FAKE_NVML_PLAN": str(self._plan),
            "FAKE_NVML_CALLS": str(self._calls),
        }

    def plan(self, *lines: str) -> None:
        """Replace the fault plan, in one step; no lines, no faults."""
        draft = self._plan.with_suffix(".draft")
        draft.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        draft.replace(self._plan)

    def calls(self) -> list[tuple[str, str, int]]:
        """Return all calls so far: function, GPU ("-" for none), return code."""
        if not self._calls.exists():
            return []
        lines = self._calls.read_text(encoding="utf-8").splitlines()
        return [(function, gpu, int(code)) for _, function, gpu, code in map(str.split, lines)]

    def forget_calls(self) -> None:
        """Start the log of calls anew."""
        self._calls.unlink(missing_ok=True)

    def reload_driver(self) -> None:
        """Unload the driver: the next call finds energy at zero and default limits.

        Sessions live on, unless the plan says what they answer ("* * stale 1").
        """
        self._state.unlink()

    def upgrade_driver(self, version: str) -> None:
        """Load another version of the driver: libraries that are not of it answer errors."""
        draft = self._state.with_suffix(".upgrade")
        magic, _, _, gpu_count = _HEADER.unpack(self._state.read_bytes()[: _HEADER.size])
        now_ns = time.monotonic_ns()
        header = _HEADER.pack(magic, version.encode(), now_ns, gpu_count)
        draft.write_bytes(header + self._state.read_bytes()[_HEADER.size :])
        draft.replace(self._state)
        for index in range(gpu_count):
            default_mw = self.gpu(index).default_mw
            self.change(index, energy_uj=0, since_ns=now_ns, limit_mw=default_mw)

    def add_gpu(self) -> None:
        """Put one more GPU behind the others."""
        with self._locked_state() as state:
            *header, gpu_count = _HEADER.unpack(os.pread(state, _HEADER.size, 0))
            os.pwrite(state, _HEADER.pack(*header, gpu_count + 1), 0)
        self._gpus += 1

    def gpu(self, index: int) -> GpuState:
        """Return one GPU as it is in the driver now."""
        with self._locked_state() as state:
            return _read(state, index).as_of(time.monotonic_ns())

    def change(self, index: int, **changes: int) -> None:
        """Change fields of one GPU's ``GpuState`` from now on, behind everybody's back."""
        with self._locked_state() as state:
            _write(state, index, replace(_read(state, index).as_of(time.monotonic_ns()), **changes))

    def advance(self, seconds: float) -> None:
        """Let all GPUs have drawn what they draw for ``seconds`` longer than they did."""
        with self._locked_state() as state:
            for index in range(self._gpus):
                now = _read(state, index).as_of(time.monotonic_ns())
                drawn_uj = round(now.power_mw * seconds * 1e3)
                _write(state, index, replace(now, energy_uj=now.energy_uj + drawn_uj))

    @contextmanager
    def _locked_state(self) -> Iterator[int]:
        """Open the state as the library does: it takes the same lock for every call."""
        descriptor = os.open(self._state, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)


def _read(state: int, index: int) -> GpuState:
    return GpuState(*_GPU.unpack(os.pread(state, _GPU.size, _HEADER.size + index * _GPU.size)))


def _write(state: int, index: int, gpu: GpuState) -> None:
    os.pwrite(state, _GPU.pack(*astuple(gpu)), _HEADER.size + index * _GPU.size)
