"""The demo's training process: the real client around GPUs that only exist in software.

Run as ``python -m joulestat.demo.trainer``. It does what any training script does, except that a
step is not computed but waited for, as long as the simulated cards would take under the limit
that is in force on them. docker/compose.yaml plays a whole training with it.
"""

import argparse
import itertools
import json
import math
from collections.abc import Iterator
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
"""Name of the run, unless another is given."""

TEAM = "demo"

WORKLOAD = Workload(compute_share=0.3, base_step_seconds=0.1)
"""Fine-tuning of a transformer, with steps short enough to see many of them."""

SAMPLES_PER_STEP = 32
TOKENS_PER_SAMPLE = 2048
LATE_NS = NS_PER_SECOND

LAST_PUSH_SECONDS = 10.0
"""Nobody waits for a training that is over by itself: its last numbers may take their time."""

EVAL_SHARE = 0.05
"""An evaluation is as long as so many of the training steps before it."""


class Pace:
    """Lets steps take as long as on the simulated cards. Not for several threads at once.

    The end of each step is an absolute time, so that waking up late does not add up: a step's
    length is the simulated card's and not this host's scheduler's.
    """

    def __init__(self, lockstep: Lockstep, clock: Clock, stopping: Stopping) -> None:
        """Begin now."""
        self._lockstep = lockstep
        self._clock = clock
        self._stopping = stopping
        self._due_ns = clock.monotonic_ns()

    def step(self) -> None:
        """Wait until one more step is done.

        Raises:
            Stopped: Somebody asked to stop.
        """
        self._due_ns += seconds_to_ns(self._lockstep.step_seconds(self._due_ns))
        now_ns = self._clock.monotonic_ns()
        if now_ns - self._due_ns > LATE_NS:
            self._due_ns = now_ns  # the host was suspended; steps are not made up for
        self._stopping.wait(ns_to_seconds(self._due_ns - now_ns))


def train(
    run: joulestat.Run, pace: Pace, *, steps: int | None = None, eval_every: int | None = None
) -> None:
    """Make steps on all GPUs of the world until they are done, or somebody asks to stop.

    Args:
        run: Whose steps.
        pace: How long they take.
        steps: Training steps to make; None for no end.
        eval_every: Evaluate after so many training steps; None for never.

    Raises:
        Stopped: Somebody asked to stop.
    """
    for part in _parts(steps, eval_every):
        with run.phase("train"):
            for _ in itertools.repeat(None) if part is None else range(part):
                pace.step()
                run.step(n_samples=SAMPLES_PER_STEP, n_tokens=SAMPLES_PER_STEP * TOKENS_PER_SAMPLE)
        if eval_every is not None:
            with run.phase("eval"):
                for _ in range(math.ceil(EVAL_SHARE * eval_every)):
                    pace.step()
                    run.step(n_samples=SAMPLES_PER_STEP)


def _parts(steps: int | None, eval_every: int | None) -> Iterator[int | None]:
    """Yield how many training steps come before each evaluation; None for no end."""
    if eval_every is None:
        yield steps
        return
    done = 0
    while steps is None or done < steps:
        part = eval_every if steps is None else min(eval_every, steps - done)
        yield part
        done += part


def main() -> None:
    """Train until all steps are made, or SIGTERM, then say what it cost."""
    arguments = _parser().parse_args()
    clock = SystemClock()
    world = SimulatedWorld.join(arguments.world, clock=clock)
    with Stopping() as stopping:
        run = joulestat.init(
            run=arguments.run,
            gpus=world.uuids,
            team=arguments.team,
            planned_steps=arguments.steps,
            energy_budget_kwh=arguments.energy_budget_kwh,
            url=arguments.url,
        )
        lockstep = Lockstep(world, WORKLOAD, speed_spread_ratio=arguments.speed_spread)
        lockstep.occupy()
        pace = Pace(lockstep, clock, stopping)
        try:
            train(run, pace, steps=arguments.steps, eval_every=arguments.eval_every)
            run.finish(LAST_PUSH_SECONDS)
        except Stopped:
            run.finish()
        finally:
            lockstep.vacate()
            world.close()
    print(json.dumps({"joules": sum(run.energy_joules().values())}))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m joulestat.demo.trainer",
        description="Train on an exporter's simulated GPUs until all steps are made, or SIGTERM.",
    )
    parser.add_argument("--world", type=Path, required=True, help="file of the simulated GPUs")
    parser.add_argument("--url", required=True, help="where the exporter takes pushes")
    parser.add_argument("--run", default=RUN, help="name of the run (default: %(default)s)")
    parser.add_argument("--team", default=TEAM, help="whose run (default: %(default)s)")
    parser.add_argument("--steps", type=_count, help="training steps to make (default: no end)")
    parser.add_argument("--energy-budget-kwh", type=float, help="what the run may take")
    parser.add_argument(
        "--eval-every", type=_count, help="evaluate after so many training steps (default: never)"
    )
    parser.add_argument(
        "--speed-spread", type=float, default=0.0, help="by what share the GPUs differ in speed"
    )
    return parser


def _count(text: str) -> int:
    """Return a number of steps.

    Raises:
        argparse.ArgumentTypeError: It is none, or below 1.
    """
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of 1 or more, not {text!r}")
    return int(text)


if __name__ == "__main__":
    main()
