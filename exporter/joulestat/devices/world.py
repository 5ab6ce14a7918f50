"""Simulated hardware: GPUs that draw energy, obey limits and outlive the processes that look.

Nothing runs in the background. A GPU is a record of its last change, kept in a file that
processes share (:mod:`joulestat.devices.world_file`), and its state at any instant follows from
that record in closed form (:mod:`joulestat.devices.world_gpu`): energy does not depend on how
often, or whether, anybody reads it.

The world is the truth. What a driver makes of it (lost devices, missing privileges) is in
:mod:`joulestat.devices.simulated`; only which fault there is, is kept here for all to see.
"""

import hashlib
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Self
from uuid import UUID

from joulestat.devices.models import MODELS, CardModel, Workload, card_model
from joulestat.devices.world_file import MAX_GPUS, GpuRecord, WorldFile, WorldHeader
from joulestat.devices.world_gpu import GpuPhysics, acting_mw, cold_record, workload_of
from joulestat.domain.clock import Clock
from joulestat.domain.errors import ConfigError, DeviceError, LimitRefused, StateError
from joulestat.domain.units import UJ_PER_MILLIJOULE

DEFAULT_NOISE_RATIO = 0.02
"""Draw swings by at most this much around its mean, step time by half of it."""


class Fault(StrEnum):
    """What can be wrong with one GPU's driver."""

    LOST = "lost"
    HANG = "hang"
    NO_PERMISSION = "no_permission"
    STICKY = "sticky"


_FAULTS: tuple[Fault | None, ...] = (None, *Fault)


class SimulatedWorld:
    """The GPUs of one simulated host, in one file that several processes share.

    Made by :meth:`open` or :meth:`join`. Methods may be called from any thread, but a forked
    child must join anew. An ``at_ns`` is CLOCK_MONOTONIC; history before a GPU's last change is
    not kept, so an earlier instant answers as that change did.

    Every method that names a GPU raises ``DeviceError`` (``NOT_FOUND``) for a UUID that is not
    in ``uuids``, and ``StateError`` when the file is damaged or closed.

    Attributes:
        model: The kind of card; all GPUs of a world are alike.
        uuids: In order of index; the same for the same seed.
    """

    def __init__(self, file: WorldFile, clock: Clock) -> None:
        header = file.header
        if header.model not in MODELS:
            raise StateError(
                f"simulated world {file.path} is of unknown card {header.model!r}; delete the file"
            )
        self.model: CardModel = MODELS[header.model]
        self.uuids = tuple(_gpu_uuid(header.seed, index) for index in range(header.gpus))
        self._file = file
        self._clock = clock
        self._index = {uuid: index for index, uuid in enumerate(self.uuids)}
        self._physics = tuple(
            GpuPhysics(self.model, uuid, header.noise_ratio) for uuid in self.uuids
        )

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        model: str,
        gpus: int,
        seed: int,
        clock: Clock,
        noise_ratio: float | None = None,
    ) -> Self:
        """Join the world at ``path``, or begin it where there is none of this boot.

        Args:
            path: The file; its folder must be there.
            model: Name of a built-in card.
            gpus: How many, 1 to 1024.
            seed: Decides UUIDs and noise.
            clock: Tells which boot this is and when changes happen.
            noise_ratio: Greatest swing of the draw, 0 to below 0.5; None takes what is there,
                ``DEFAULT_NOISE_RATIO`` in a new world.

        Raises:
            ConfigError: A value is out of range, or the world at ``path`` is another one.
            StateError: The file cannot be used, or is something else.
        """
        card = card_model(model)
        ratio = DEFAULT_NOISE_RATIO if noise_ratio is None else noise_ratio
        _require(1 <= gpus <= MAX_GPUS, "gpus", gpus, f"1 to {MAX_GPUS}")
        _require(-(2**63) <= seed < 2**63, "seed", seed, "64 bits with sign")
        _require(0.0 <= ratio < 0.5, "noise_ratio", ratio, "0 to below 0.5")
        header = WorldHeader(gpus, seed, ratio, card.name, _boot(clock))
        fresh = (header, cold_record(card, clock.monotonic_ns()))
        file = WorldFile.open(path, boot=header.boot, fresh=fresh)
        if noise_ratio is None:
            header = header._replace(noise_ratio=file.header.noise_ratio)
        if file.header != header:
            file.close()
            raise _another_world(path, header, file.header)
        return cls(file, clock)

    @classmethod
    def join(cls, path: Path, *, clock: Clock) -> Self:
        """Join the world at ``path``, whatever it is made of.

        Raises:
            StateError: There is none of this boot, or the file cannot be used.
        """
        return cls(WorldFile.open(path, boot=_boot(clock), fresh=None), clock)

    def energy_uj(self, uuid: str, at_ns: int) -> int:
        """Return the exact energy since the world began, uJ; a reset does not touch it."""
        physics, record = self._gpu(uuid)
        return physics.energy_uj(record, at_ns)

    def counter_uj(self, uuid: str, at_ns: int) -> int:
        """Return what the energy counter shows: in whole mJ, moved once per granularity."""
        physics, record = self._gpu(uuid)
        shown_uj = physics.register_uj(record, at_ns) - record.offset_uj
        return shown_uj // UJ_PER_MILLIJOULE * UJ_PER_MILLIJOULE

    def draw_watts(self, uuid: str, at_ns: int) -> float:
        """Return the power draw at an instant, noise included, W."""
        physics, record = self._gpu(uuid)
        return physics.draw_watts(record, at_ns)

    def step_seconds(self, uuid: str, at_ns: int) -> float:
        """Return how long a step that begins at ``at_ns`` takes, noise included, s.

        Raises:
            DeviceError: No workload occupies the GPU.
        """
        physics, record = self._gpu(uuid)
        workload = workload_of(record)
        if workload is None:
            raise DeviceError(
                f"nothing runs on simulated {uuid}; occupy it first",
                call="step_seconds",
                error="NOT_OCCUPIED",
            )
        return physics.step_seconds(record, workload, at_ns)

    def temperature_celsius(self, uuid: str, at_ns: int) -> float:
        """Return the temperature: it follows the mean draw with a lag of 20 s."""
        physics, record = self._gpu(uuid)
        return physics.temperature_celsius(record, at_ns)

    def limit_watts(self, uuid: str) -> float:
        """Return the limit as set, W; it acts a reaction time after it was set."""
        return self._gpu(uuid)[1].set_mw / 1_000

    def acting_limit_watts(self, uuid: str, at_ns: int) -> float:
        """Return the limit that holds the clocks at an instant, W."""
        return acting_mw(self._gpu(uuid)[1], at_ns) / 1_000

    def workload(self, uuid: str) -> Workload | None:
        """Return what occupies the GPU, None when it idles."""
        return workload_of(self._gpu(uuid)[1])

    def fault(self, uuid: str) -> Fault | None:
        """Return the fault put on this GPU's driver."""
        return _FAULTS[self._gpu(uuid)[1].fault]

    def set_limit(self, uuid: str, limit_watts: float) -> None:
        """Set the limit, rounded to mW, as the hardware does: faults do not matter here.

        It acts after the model's reaction time. Setting the limit that is set already does not
        put that off; another limit set meanwhile takes its place and starts the time anew.

        Raises:
            LimitRefused: Outside of the card's range.
        """
        low_watts, high_watts = self.model.min_limit_watts, self.model.max_limit_watts
        if not low_watts <= limit_watts <= high_watts:
            raise LimitRefused(
                f"simulated {uuid} takes {low_watts:g} to {high_watts:g} W, not {limit_watts:g} W",
                call="set_power_limit",
                error="INVALID_ARGUMENT",
            )
        limit_mw = round(limit_watts * 1_000)

        def change(record: GpuRecord) -> GpuRecord:
            if limit_mw == record.set_mw:
                return record
            acts_ns = record.base_ns + self.model.reaction_ns
            return record._replace(set_mw=limit_mw, acts_ns=acts_ns)

        self._change(uuid, change)

    def occupy(self, uuid: str, workload: Workload) -> None:
        """Put a workload on the GPU, in place of any other, until :meth:`vacate`.

        A killed process leaves its GPU busy: nobody here reaps it as a driver would.
        """
        self._change(
            uuid,
            lambda record: record._replace(
                busy=True,
                compute_share=workload.compute_share,
                base_step_seconds=workload.base_step_seconds,
                intensity=workload.intensity,
                waiting_ratio=workload.waiting_ratio,
            ),
        )

    def vacate(self, uuid: str) -> None:
        """Let the GPU idle; nothing happens where it does."""
        self._change(uuid, lambda record: record._replace(busy=False))

    def reset_counter(self, uuid: str) -> None:
        """Do what a driver reload does: the counter starts at 0, the default limit is back."""
        default_mw = round(self.model.default_limit_watts * 1_000)
        self._change(
            uuid,
            lambda record: record._replace(
                register_uj=record.energy_uj,
                offset_uj=record.energy_uj,
                acting_mw=default_mw,
                set_mw=default_mw,
                acts_ns=record.base_ns,
            ),
        )

    def set_fault(self, uuid: str, fault: Fault | None) -> None:
        """Put a fault on this GPU's driver, in place of any other; None mends it."""
        number = _FAULTS.index(None if fault is None else Fault(fault))
        self._change(uuid, lambda record: record._replace(fault=number))

    def close(self) -> None:
        """Let go of the file; the world goes on in it. Idempotent."""
        self._file.close()

    def _gpu(self, uuid: str) -> tuple[GpuPhysics, GpuRecord]:
        index = self._at(uuid)
        return self._physics[index], self._file.read(index)

    def _at(self, uuid: str) -> int:
        try:
            return self._index[uuid]
        except KeyError:
            raise DeviceError(
                f"no simulated GPU has UUID {uuid!r}", call="find_device", error="NOT_FOUND"
            ) from None

    def _change(self, uuid: str, change: Callable[[GpuRecord], GpuRecord]) -> None:
        """Apply a change to the GPU as of now; one that changes nothing leaves no trace."""
        index = self._at(uuid)

        def apply(record: GpuRecord) -> GpuRecord:
            # The clock is read under the lock: changes of several processes stay in order.
            before = self._physics[index].rebased(record, self._clock.monotonic_ns())
            after = change(before)
            return record if after == before else after

        self._file.update(index, apply)


def _gpu_uuid(seed: int, index: int) -> str:
    digest = hashlib.sha256(f"joulestat simulated GPU {seed} {index}".encode()).digest()
    return f"GPU-{UUID(bytes=digest[:16])}"


def _boot(clock: Clock) -> bytes:
    return hashlib.sha256(clock.boot_id().encode()).digest()


def _require(good: bool, field: str, value: float, allowed: str) -> None:  # noqa: FBT001 - a check
    if not good:
        message = f"simulated GPUs cannot have {field}={value}; it must be {allowed}"
        raise ConfigError(
            message, field=field, value=value, place="simulated backend", allowed=allowed
        )


def _another_world(path: Path, wanted: WorldHeader, found: WorldHeader) -> ConfigError:
    field = next(name for name in wanted._fields if getattr(wanted, name) != getattr(found, name))
    value, allowed = getattr(wanted, field), getattr(found, field)
    message = (
        f"the simulated world at {path} has {field}={allowed}, not {value}; ask for what it has, "
        "or delete the file once nothing uses it"
    )
    return ConfigError(message, field=field, value=value, place=str(path), allowed=str(allowed))
