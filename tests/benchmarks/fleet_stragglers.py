"""What per-GPU limits save at equal step time: ``python tests/benchmarks/fleet_stragglers.py``.

Eight GPUs of unequal speed train in step, in simulation: on the simulated cards, and on the curves
of trainings swept on real cards where those are at hand (JOULESTAT_TRACES, see fleet_budget.py).
The optimizer sees what Prometheus would show it, with its noise, for ten stretches of 15 minutes.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.fleet_budget import SENSITIVE_SPEED, read_truths, traces_are_there
from benchmarks.fleet_ring import Law, Loop, Ring, SimulatedLaw, TracedLaw, ring
from joulestat.devices.models import A40, A100, H100, V100, Workload

SPREADS = (0.02, 0.04, 0.08)
ROUNDS = 10
UNLIKE = 0.03
WORKLOADS = (Workload(0.3, 0.2), Workload(0.6, 0.2), Workload(0.8, 0.2, intensity=1.2))


@dataclass(frozen=True)
class Saved:
    """One training, with per-GPU limits against a common one.

    Attributes:
        ratio: Energy per step saved at the end.
        longer: Step time at the end, relative.
        worst: The longest in any stretch, relative.
        mean: The mean over all stretches, relative.
        possible: What one could save who knew everything, in steps just as long.
    """

    ratio: float
    longer: float
    worst: float
    mean: float
    possible: float


def saved(of: Ring, common_watts: int, seed: int, *, told: bool = False) -> Saved:
    """Let the optimizer work, and compare with the common limit.

    Args:
        of: The training.
        common_watts: The common limit.
        seed: Of the noise.
        told: Whether the optimizer is told half of what waiting draws, as an idle card would.
    """
    waiting_watts = 0.5 * of.law.waiting_watts if told else 0.0
    loop = Loop(of, common_watts, waiting_watts, seed)
    loop.run(ROUNDS)
    common = of.common(common_watts)
    joules, seconds = of.joules_per_step(common), of.step_seconds(common)
    return Saved(
        ratio=1 - of.joules_per_step(loop.limits) / joules,
        longer=of.step_seconds(loop.limits) / seconds,
        worst=max(of.step_seconds(made.limits_watts) for made in loop.stretches) / seconds,
        mean=fmean(of.step_seconds(made.limits_watts) for made in loop.stretches) / seconds,
        possible=1 - of.joules_per_step(of.best_limits(seconds)) / joules,
    )


def simulated_laws() -> list[Law]:
    return [SimulatedLaw(model, w) for model in (V100, A40, A100, H100) for w in WORKLOADS]


def traced_laws() -> list[Law]:
    return [
        TracedLaw(truth)
        for truth in read_truths()
        if truth[-1].seconds_per_step < SENSITIVE_SPEED * truth[0].seconds_per_step
    ]


def compare(
    laws: Sequence[Law],
    spread: float,
    seeds: int,
    *,
    cheapest: bool,
    told: bool = False,
    unlike: float = 0.0,
) -> list[Saved]:
    """Return what is saved on each kind of training, several times with other GPUs each.

    Args:
        laws: Kinds of training.
        spread: Standard deviation of the GPUs' speed.
        seeds: How many sets of GPUs for each kind.
        cheapest: Whether the common limit is the one with least energy, or the reference.
        told: Whether the optimizer knows half of what waiting draws.
        unlike: Standard deviation of what the GPUs draw when busy, which an acting limit rules out
            and the optimizer takes to be none.
    """
    results = []
    for seed in range(seeds):
        for number, law in enumerate(laws):
            of = ring(law, spread, seed=1_000 * seed + number)
            draw = random.Random(number)
            of.busy_ratios = {
                uuid: 1 + unlike * min(max(draw.gauss(0, 1), -2), 2) for uuid in of.speeds
            }
            common = of.cheapest_common_watts() if cheapest else law.reference_watts
            results.append(saved(of, common, seed, told=told))
    return results


def line(results: Sequence[Saved]) -> str:
    acting = [one for one in results if one.ratio > 0.001]
    return (
        f"{100 * fmean(one.ratio for one in results):.1f} % | "
        f"{100 * fmean(one.possible for one in results):.1f} % | "
        f"{len(acting)} of {len(results)} | "
        f"{100 * (max(one.longer for one in results) - 1):+.2f} % | "
        f"{100 * (max(one.worst for one in results) - 1):+.2f} % | "
        f"{100 * (fmean(one.mean for one in results) - 1):+.2f} %"
    )


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description="Per-GPU limits against common ones.")
    parser.add_argument("--seeds", type=int, default=5, help="sets of GPUs per kind of training")
    seeds: int = parser.parse_args().seeds
    kinds = {"simulated cards": simulated_laws()}
    if traces_are_there():
        kinds["traced trainings"] = traced_laws()
    print(
        "| training | common limit | waiting draw | speed spread | saved | possible | acted on | "
        f"step time, worst at the end | worst stretch | mean of all |\n|{'--|' * 10}"
    )
    for kind, laws in kinds.items():
        for cheapest, told in ((False, False), (False, True), (True, False), (True, True)):
            for spread in SPREADS:
                results = compare(laws, spread, seeds, cheapest=cheapest, told=told)
                common = "cheapest" if cheapest else "reference"
                known = "half known" if told else "unknown"
                print(f"| {kind} | {common} | {known} | {100 * spread:.0f} % | {line(results)} |")
        for spread in (0.0, *SPREADS):
            results = compare(laws, spread, seeds, cheapest=False, unlike=UNLIKE)
            print(
                f"| {kind}, draw {100 * UNLIKE:.0f} % unlike | reference | unknown | "
                f"{100 * spread:.0f} % | {line(results)} |"
            )


if __name__ == "__main__":
    main()
