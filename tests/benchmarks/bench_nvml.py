"""What reading NVIDIA GPUs costs: our code and nvidia-ml-py, over a driver that costs little.

The stand-in library answers in about a microsecond; a real driver adds 10 to 100 us to each call.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pynvml
from measure import Row, microseconds_per_call

from fakes.clock import FakeClock
from fakes.nvml.standin import StandIn, build_library
from joulestat.devices.nvml_backend import open_nvml

GPUS = 8
TESTS = Path(__file__).parents[1]
FAST_CALLS = (
    "nvmlDeviceGetTotalEnergyConsumption",
    "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetPowerManagementLimit",
    "nvmlDeviceGetEnforcedPowerLimit",
)
FOUR_FIELDS = [pynvml.NVML_FI_DEV_POWER_INSTANT] * len(FAST_CALLS)
"""What the binding does for a batch, which is the same for any field. The exporter takes single
calls all the same; ``devices/nvml.py`` says why."""
FAST_TICK_GOAL_US = 1_000.0
"""A tick is due every second: a thousandth of a core."""


def rows() -> Iterator[Row]:
    """Measure in a process that loads the stand-in when it starts."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            library_folder = build_library(Path(folder))
        except FileNotFoundError as missing:
            raise SystemExit(str(missing)) from None
        environment = StandIn(library_folder, Path(folder), gpus=GPUS).environment()
        # Reading the plan and logging the calls would be most of what is measured.
        del environment["FAKE_NVML_PLAN"], environment["FAKE_NVML_CALLS"]
        search = os.pathsep.join([str(TESTS), str(Path(__file__).parent)])
        finished = subprocess.run(
            [sys.executable, __file__],
            env={**os.environ, **environment, "PYTHONPATH": search},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    for what, value, unit, goal in json.loads(finished.stdout):
        yield Row(what, value, unit, goal)


def measured() -> Iterator[tuple[str, float, str, float | None]]:
    """Measure here, where the stand-in is loaded."""
    start = time.perf_counter()
    backend = open_nvml(FakeClock())
    yield f"open {GPUS} GPUs", (time.perf_counter() - start) * 1e6, "us", None
    uuids = [device.uuid for device in backend.devices()]
    handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(GPUS)]
    functions = [getattr(pynvml, call) for call in FAST_CALLS]

    def bare_calls() -> None:
        for handle in handles:
            for function in functions:
                function(handle)

    def four_fields() -> None:
        for handle in handles:
            pynvml.nvmlDeviceGetFieldValues(handle, FOUR_FIELDS)

    def fast_tick() -> None:
        for uuid in uuids:
            backend.read(uuid, details=False)

    def slow_tick() -> None:
        for uuid in uuids:
            backend.read(uuid, details=True)

    bare_us = microseconds_per_call(bare_calls)
    fast_us = microseconds_per_call(fast_tick)
    calls = GPUS * len(FAST_CALLS)
    yield f"{calls} bare nvidia-ml-py calls", bare_us, "us", None
    batched_us = microseconds_per_call(four_fields)
    yield f"the same as {GPUS} batches of {len(FOUR_FIELDS)} fields", batched_us, "us", None
    yield f"fast tick, {GPUS} GPUs ({calls} calls)", fast_us, "us", FAST_TICK_GOAL_US
    yield f"slow tick, {GPUS} GPUs", microseconds_per_call(slow_tick), "us", None
    yield "device calls in a fast tick", calls / fast_us * 1e6, "calls/s", None
    backend.close()


if __name__ == "__main__":
    json.dump(list(measured()), sys.stdout)
