"""Which backends there are, and opening the one that is asked for."""

import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joulestat.devices.backend import Backend
from joulestat.domain.clock import Clock
from joulestat.domain.errors import BackendUnavailable

_log = logging.getLogger(__name__)

BACKENDS: dict[str, tuple[str, str]] = {
    "nvml": ("joulestat.devices.nvml_backend", "open_nvml"),
    "amd": ("joulestat.devices.amd", "open_amd"),
    "simulated": ("joulestat.devices.simulated", "open_simulated"),
}
"""Name on the command line -> module and function that opens it. Imported only when asked for,
so that a backend works without the libraries of the others."""

HARDWARE_BACKENDS = ("nvml", "amd")
"""What ``auto`` tries, in this order. Simulated GPUs must be asked for by name: their joules
must never pass for real ones."""


_told: dict[str, str] = {}
"""Why each backend was last said to be skipped: ``auto`` may be asked every few seconds, and says
only what changed. Of one thread."""


@dataclass(frozen=True, slots=True)
class SimulatedOptions:
    """What to simulate; see ``devices/simulated.py``.

    Attributes:
        path: State file that survives the process, None to keep the GPUs in memory.
        model: Name of the simulated model.
        gpus: How many.
        seed: Of the noise.
    """

    path: Path | None
    model: str
    gpus: int
    seed: int


def open_backend(name: str, *, clock: Clock, simulated: SimulatedOptions) -> Backend | None:
    """Open a backend by name.

    Args:
        name: One of ``BACKENDS``; ``auto`` for the first hardware backend that has a device;
            ``none`` to do without.
        clock: Stamps the readings.
        simulated: Used by ``simulated`` only.

    Returns:
        The backend, to be closed by the caller; None for ``none``, and for ``auto`` where no
        hardware backend has a device. Why is logged, once per change of the reason; to ask again
        every few seconds is cheap, and finds a library or driver that came since.

    Raises:
        BackendUnavailable: The name is unknown, or that backend cannot be opened here; the
            message says what to install or do.
    """
    if name == "none":
        return None
    if name == "auto":
        return _open_first(clock)
    if name == "simulated":
        return _opener(name)(
            path=simulated.path,
            model=simulated.model,
            gpus=simulated.gpus,
            seed=simulated.seed,
            clock=clock,
        )
    return _opener(name)(clock)


def _open_first(clock: Clock) -> Backend | None:
    for name in HARDWARE_BACKENDS:
        try:
            backend = _opener(name)(clock)
        except BackendUnavailable as error:
            _skip(name, str(error))
            continue
        if backend.devices():
            _told.pop(name, None)
            return backend
        backend.close()
        _skip(name, "it has no GPU")
    return None


def _skip(name: str, reason: str) -> None:
    if _told.get(name) != reason:
        _log.warning("event=backend_skipped backend=%s reason=%r", name, reason)
    _told[name] = reason


def _opener(name: str) -> Callable[..., Backend]:
    if name not in BACKENDS:
        known = ", ".join(["auto", "none", *BACKENDS])
        message = f"there is no backend {name!r}; choose one of {known}"
        raise BackendUnavailable(message, call="open_backend", error="UNKNOWN_BACKEND")
    module_name, function_name = BACKENDS[name]
    try:
        module: Any = importlib.import_module(module_name)
    except ImportError as error:
        message = (
            f"the backend {name} lacks a library ({error}); install it with "
            "pip install 'joulestat[server]'"
        )
        raise BackendUnavailable(message, call="import", error="LIBRARY_NOT_INSTALLED") from error
    opener: Callable[..., Backend] = getattr(module, function_name)
    return opener
