"""A card's driver in memory: it keeps its limit when our process dies, and can misbehave."""

import threading
from collections.abc import Callable

from joulestat.domain.errors import DeviceError, LimitPermissionDenied, LimitRefused


class Crash(BaseException):
    """The process dies here; not an Exception, so that no handler of ours survives it."""


class FakeLimiter:
    """One card. ``fault`` names what goes wrong until it is set back to None.

    Faults of a write: ``refuse``, ``permission``, ``sticky`` (answers well, changes nothing),
    ``coarse`` (sets 7 W more), ``late_error`` (sets it and answers with an error),
    ``crash_before``, ``crash_after``, ``surprise`` (no DeviceError at all). Of every call:
    ``lost``, ``hang`` (until ``wake`` is set). Of a read: ``garbage``.
    """

    def __init__(self, limit_watts: float = 300.0) -> None:
        self.limit_watts = limit_watts
        self.low_watts = 100.0
        self.high_watts = 400.0
        self.enforced: float | None = None
        self.fault: str | None = None
        self.written: list[float] = []
        self.before_write: Callable[[float], None] | None = None
        self.hanging = threading.Event()
        self.wake = threading.Event()
        self.calls = 0
        self.calls_at_once = 0
        self.most_calls_at_once = 0

    def range_watts(self) -> tuple[float, float]:
        self._enter("range")
        self.calls_at_once -= 1
        return self.low_watts, self.high_watts

    def read_watts(self) -> float:
        self._enter("read")
        self.calls_at_once -= 1
        return float("nan") if self.fault == "garbage" else self.limit_watts

    def enforced_watts(self) -> float | None:
        self._enter("enforced")
        self.calls_at_once -= 1
        return self.enforced

    def write_watts(self, limit_watts: float) -> None:
        if self.before_write is not None:
            self.before_write(limit_watts)
        self._enter("write")
        try:
            self.written.append(limit_watts)
            self._write(limit_watts)
        finally:
            self.calls_at_once -= 1

    def _enter(self, call: str) -> None:
        self.calls += 1
        if self.fault == "lost":
            raise DeviceError("GPU is lost", call=call, error="GPU_IS_LOST")
        self.calls_at_once += 1
        self.most_calls_at_once = max(self.most_calls_at_once, self.calls_at_once)
        if self.fault == "hang":
            self.hanging.set()
            if not self.wake.wait(30):
                raise AssertionError("nobody woke the hanging driver")

    def _write(self, limit_watts: float) -> None:
        match self.fault:
            case "refuse":
                raise LimitRefused("not now", call="write", error="INVALID_ARGUMENT")
            case "permission":
                raise LimitPermissionDenied("needs root", call="write", error="NO_PERMISSION")
            case "crash_before":
                raise Crash
            case "surprise":
                raise RuntimeError("a bug in the driver's binding")
            case "sticky":
                return
            case "coarse":
                self.limit_watts = limit_watts + 7.0
                return
        if not self.low_watts <= limit_watts <= self.high_watts:
            raise LimitRefused("out of range", call="write", error="INVALID_ARGUMENT")
        self.limit_watts = limit_watts
        if self.fault == "late_error":
            raise DeviceError("timed out", call="write", error="TIMEOUT")
        if self.fault == "crash_after":
            raise Crash
