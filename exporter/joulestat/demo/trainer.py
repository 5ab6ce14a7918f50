"""The demo's training process: the real client around GPUs that only exist in software.

Run as ``python -m joulestat.demo.trainer``. It does what any training script does, except that a
step is not computed but waited for, as long as the simulated cards would take under the limit
that is in force on them.
"""

import argparse
import json
from pathlib import Path

import joulestat
from joulestat.demo.stopping import Stopped, Stopping
from joulestat.devices.models import Workload
from joulestat.devices.world import SimulatedWorld
from joulestat.devices.world_lockstep import Lockstep
from joulestat.domain.clock import Clock
from joulestat.domain.units import NS_PER_SECOND, ns_to_seconds, seconds_to_ns
from joulestat.loops.system_clock import SystemClock

RUN = "demo"
"""Name of the run."""

WORKLOAD = Workload(compute_share=0.3, base_step_seconds=0.1)
"""Fine-tuning of a transformer, with steps short enough to see many of them."""

SAMPLES_PER_STEP = 32
TOKENS_PER_SAMPLE = 2048
LATE_NS = NS_PER_SECOND


def train(run: joulestat.Run, lockstep: Lockstep, clock: Clock, stopping: Stopping) -> None:
    """Make steps on all GPUs of the world until somebody asks to stop.

    The end of each step is an absolute time, so that waking up late does not add up: a step's
    length is the simulated card's and not this host's scheduler's.
    """
    due_ns = clock.monotonic_ns()
    with run.phase("train"):
        while True:
            due_ns += seconds_to_ns(lockstep.step_seconds(due_ns))
            now_ns = clock.monotonic_ns()
            if now_ns - due_ns > LATE_NS:
                due_ns = now_ns  # the host was suspended; steps are not made up for
            stopping.wait(ns_to_seconds(due_ns - now_ns))
            run.step(n_samples=SAMPLES_PER_STEP, n_tokens=SAMPLES_PER_STEP * TOKENS_PER_SAMPLE)


def main() -> None:
    """Train until SIGTERM, then say what it cost."""
    parser = argparse.ArgumentParser(prog="python -m joulestat.demo.trainer", description=__doc__)
    parser.add_argument("--world", type=Path, required=True, help="file of the simulated GPUs")
    parser.add_argument("--url", required=True, help="where the exporter takes pushes")
    parser.add_argument(
        "--speed-spread", type=float, default=0.0, help="by what share the GPUs differ in speed"
    )
    arguments = parser.parse_args()
    clock = SystemClock()
    world = SimulatedWorld.join(arguments.world, clock=clock)
    with Stopping() as stopping:
        run = joulestat.init(run=RUN, gpus=world.uuids, team="demo", url=arguments.url)
        lockstep = Lockstep(world, WORKLOAD, speed_spread_ratio=arguments.speed_spread)
        lockstep.occupy()
        try:
            train(run, lockstep, clock, stopping)
        except Stopped:
            run.finish()
        finally:
            lockstep.vacate()
            world.close()
    print(json.dumps({"joules": sum(run.energy_joules().values())}))


if __name__ == "__main__":
    main()
