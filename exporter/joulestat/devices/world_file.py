"""The file behind the simulated hardware: fixed-size records that several processes map.

Layout, little endian: a header, then one 256-byte record per GPU: a generation number and two
slots. A writer, alone under flock, fills the slot that is not in use and then raises the
generation, whose lowest bit says which slot counts. So a process that is killed at any point
leaves the record as it was, and readers need no lock: same generation before and after, and a
matching checksum, mean that nobody wrote in between.
"""

import contextlib
import fcntl
import mmap
import os
import struct
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from joulestat.domain.errors import StateError

MAGIC = b"JOULESIM"
VERSION = 2
MAX_GPUS = 1024

_HEADER = struct.Struct("<8sIIqd16s32s")
_HEADER_BYTES = 256
_RECORD_BYTES = 256
_FIRST_SLOT = 8
_SLOT_BYTES = 120
_CHECKSUM = struct.Struct("<I")
_SLOT = struct.Struct("<7qd?4dB")
_TRIES = 100


class WorldHeader(NamedTuple):
    """What is fixed for a world's lifetime; ``boot`` is a SHA-256 of the boot id."""

    gpus: int
    seed: int
    noise_ratio: float
    model: str
    boot: bytes


class GpuRecord(NamedTuple):
    """One GPU as of its last change; everything later follows from it in closed form.

    Attributes:
        base_ns: CLOCK_MONOTONIC of that change.
        energy_uj: Energy since the world began, at ``base_ns``.
        register_uj: What the energy counter stood at when it last moved before ``base_ns``.
        offset_uj: Energy when the counter was last reset: the counter shows energy less this.
        acting_mw: Limit acting from ``base_ns`` until ``acts_ns``.
        set_mw: Limit as set by software; acts from ``acts_ns`` on.
        acts_ns: CLOCK_MONOTONIC from which the set limit acts.
        temperature_celsius: At ``base_ns``.
        busy: Whether a workload occupies the GPU; the next three describe it.
        compute_share: Its part that scales with the clock.
        base_step_seconds: Its step at full clock.
        intensity: Its dynamic draw.
        waiting_ratio: Its share of time spent waiting for a slower GPU.
        fault: Number of the fault put on the driver, 0 for none.
    """

    base_ns: int
    energy_uj: int
    register_uj: int
    offset_uj: int
    acting_mw: int
    set_mw: int
    acts_ns: int
    temperature_celsius: float
    busy: bool
    compute_share: float
    base_step_seconds: float
    intensity: float
    waiting_ratio: float
    fault: int


class WorldFile:
    """One open world file. Threads may share it; a forked child must open its own.

    Made by :meth:`open`. Reads are lock-free and cost well under a microsecond when nothing
    changed; writes take the file's flock.
    """

    def __init__(self, path: Path, descriptor: int, header: WorldHeader) -> None:
        self.path = path
        self.header = header
        self._descriptor = descriptor
        self._release = weakref.finalize(self, os.close, descriptor)
        self._map = mmap.mmap(descriptor, _HEADER_BYTES + header.gpus * _RECORD_BYTES)
        # One aligned 8-byte store per item, which struct.pack_into does not promise.
        self._words = memoryview(self._map).cast("Q")
        # flock belongs to the open file, so it does not keep threads of one process apart.
        self._writing = threading.Lock()
        self._seen: list[tuple[int, GpuRecord] | None] = [None] * header.gpus

    @classmethod
    def open(
        cls, path: Path, *, boot: bytes, fresh: tuple[WorldHeader, GpuRecord] | None
    ) -> "WorldFile":
        """Open a world; begin one where there is none of this boot.

        Args:
            path: The file.
            boot: SHA-256 of this boot's id: a file of another boot counts as none.
            fresh: Header and first state of every GPU for a new world; None to take only one
                that is there.

        Raises:
            StateError: The file cannot be used, is something else, or is missing and
                ``fresh`` is None.
        """
        flags = os.O_RDWR | os.O_CLOEXEC | (0 if fresh is None else os.O_CREAT)
        try:
            descriptor = os.open(path, flags, 0o600)
        except FileNotFoundError as error:
            raise StateError(_nothing_there(path)) from error
        except OSError as error:
            raise StateError(f"cannot open simulated world {path}: {error}") from error
        try:
            with _flocked(descriptor):
                header = _join_or_begin(path, descriptor, boot, fresh)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor, header)

    def read(self, index: int) -> GpuRecord:
        """Return one GPU's record as of its last completed change; any thread.

        Raises:
            StateError: The record is damaged, or the file was closed.
        """
        try:
            generation = self._words[_word(index)]
            seen = self._seen[index]
            if seen is not None and seen[0] == generation:
                return seen[1]
            for _ in range(_TRIES):
                record = self._read_slot(index, generation)
                if record is not None and self._words[_word(index)] == generation:
                    self._seen[index] = (generation, record)
                    return record
                generation = self._words[_word(index)]
        except ValueError as error:
            raise StateError(f"simulated world {self.path} was closed") from error
        raise StateError(f"simulated world {self.path} is damaged at GPU {index}; delete the file")

    def update(self, index: int, change: Callable[[GpuRecord], GpuRecord]) -> None:
        """Replace one GPU's record, alone among all threads and processes.

        Args:
            index: Which GPU.
            change: From the record as it is to the record as it shall be; called under the lock.

        Raises:
            StateError: The record is damaged, or the file was closed.
        """
        with self._writing:
            if not self._release.alive:
                raise StateError(f"simulated world {self.path} was closed")
            with _flocked(self._descriptor):
                before = self.read(index)
                after = change(before)
                if after != before:
                    generation = self._words[_word(index)] + 1
                    at = _slot_at(index, generation)
                    self._map[at : at + _CHECKSUM.size + _SLOT.size] = _packed(after)
                    self._words[_word(index)] = generation

    def close(self) -> None:
        """Unmap the file; the world in it goes on. Idempotent."""
        with self._writing:
            if self._release.alive:
                self._words.release()
                self._map.close()
                self._release()

    def _read_slot(self, index: int, generation: int) -> GpuRecord | None:
        at = _slot_at(index, generation)
        raw = self._map[at : at + _CHECKSUM.size + _SLOT.size]
        if _CHECKSUM.unpack_from(raw)[0] != zlib.crc32(raw[_CHECKSUM.size :]):
            return None
        return GpuRecord._make(_SLOT.unpack_from(raw, _CHECKSUM.size))


def _word(index: int) -> int:
    return (_HEADER_BYTES + index * _RECORD_BYTES) // 8


def _slot_at(index: int, generation: int) -> int:
    in_record = _FIRST_SLOT + (generation & 1) * _SLOT_BYTES
    return _HEADER_BYTES + index * _RECORD_BYTES + in_record


def _packed(record: GpuRecord) -> bytes:
    body = _SLOT.pack(*record)
    return _CHECKSUM.pack(zlib.crc32(body)) + body


@contextlib.contextmanager
def _flocked(descriptor: int) -> Iterator[None]:
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _nothing_there(path: Path) -> str:
    return (
        f"no simulated GPUs of this boot at {path}; start the exporter with the simulated "
        "backend on this file first"
    )


def _join_or_begin(
    path: Path, descriptor: int, boot: bytes, fresh: tuple[WorldHeader, GpuRecord] | None
) -> WorldHeader:
    found = _read_header(path, descriptor)
    if found is not None and found.boot == boot:
        return found
    if fresh is None:
        raise StateError(_nothing_there(path))
    _begin(path, descriptor, *fresh)
    return fresh[0]


def _read_header(path: Path, descriptor: int) -> WorldHeader | None:
    """Return the header; None where the file is empty or its making was cut short."""
    raw = os.pread(descriptor, _HEADER_BYTES, 0)
    size_bytes = os.fstat(descriptor).st_size
    # Zeros up to the size of a world: the header is written last, so its maker was killed.
    if not any(raw) and size_bytes <= _HEADER_BYTES + MAX_GPUS * _RECORD_BYTES:
        return None
    if not raw.startswith(MAGIC) or len(raw) < _HEADER_BYTES:
        raise StateError(f"{path} is no simulated world; choose another path or delete the file")
    _, version, gpus, seed, noise_ratio, model, boot = _HEADER.unpack_from(raw)
    if version != VERSION:
        raise StateError(
            f"simulated world {path} has format {version}, this joulestat writes {VERSION}; "
            "delete the file"
        )
    if not 0 < gpus <= MAX_GPUS or size_bytes != _HEADER_BYTES + gpus * _RECORD_BYTES:
        raise StateError(
            f"simulated world {path} is damaged: {gpus} GPUs in {size_bytes} bytes; delete the file"
        )
    name = model.rstrip(b"\0").decode("ascii", errors="replace")
    return WorldHeader(gpus, seed, noise_ratio, name, boot)


def _begin(path: Path, descriptor: int, header: WorldHeader, record: GpuRecord) -> None:
    """Write a new world in place; the header last, so that half a world is never joined."""
    slots = bytes(_FIRST_SLOT) + _packed(record).ljust(_SLOT_BYTES, b"\0")
    raw = _HEADER.pack(
        MAGIC,
        VERSION,
        header.gpus,
        header.seed,
        header.noise_ratio,
        header.model.encode("ascii"),
        header.boot,
    )
    size_bytes = _HEADER_BYTES + header.gpus * _RECORD_BYTES
    try:
        os.pwrite(descriptor, bytes(_HEADER_BYTES), 0)
        os.ftruncate(descriptor, size_bytes)
        # Reserved now: a full disk must be an error here, not a SIGBUS at some later write.
        os.posix_fallocate(descriptor, 0, size_bytes)
        os.pwrite(descriptor, slots.ljust(_RECORD_BYTES, b"\0") * header.gpus, _HEADER_BYTES)
        os.pwrite(descriptor, raw, 0)
    except OSError as error:
        raise StateError(f"cannot write simulated world {path}: {error}") from error
