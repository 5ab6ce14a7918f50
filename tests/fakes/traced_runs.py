"""Trainings whose power limit was swept on real GPUs, as curves that simulated runs can follow.

Traces: artifacts of the paper "Zeus: Understanding and Optimizing GPU Energy Consumption of DNN
Training" (NSDI'23). They are not part of this project: name their folder in JOULESTAT_TRACES.
"""

import csv
import functools
import math
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy.interpolate import PchipInterpolator

from fakes.simulated_run import TruthCurve
from joulestat.optimizer.search.objective import Objective, Reference

TRACES = Path(os.environ.get("JOULESTAT_TRACES") or Path(__file__).parents[3] / "shared" / "traces")
FILES = ("summary_power_p100.csv", "summary_power_rtx6000.csv")
NO_TRACES = (
    f"no traces in {TRACES}: name the folder with Zeus' summary_power_*.csv in JOULESTAT_TRACES"
)
LEAST_LIMITS = 5
STEP_SECONDS = 3.0
"""The traces tell of epochs; a step at the reference limit is taken to last this long."""
GRID_WATTS = 5
INSENSITIVE_RATIO = 0.02
"""A limit that changes neither time nor energy by as much has no effect."""

Sweep = dict[int, tuple[float, float]]
"""Joules and seconds per step (in the files: per epoch) by power limit, W."""


@dataclass(frozen=True)
class TracedRun:
    """One swept set-up. The highest limit is the card's own: the reference.

    Attributes:
        sweep: What is taken for the truth, per step.
        insensitive: Whether the limit has no effect, going by the sweep without its scatter.
    """

    sweep: Sweep
    insensitive: bool

    @property
    def reference_watts(self) -> int:
        return max(self.sweep)

    @property
    def min_watts(self) -> int:
        return min(self.sweep)

    @functools.cached_property
    def curve(self) -> TruthCurve:
        """Return the truth at any limit, those between the swept ones filled in."""
        limits = sorted(self.sweep)
        logs = [math.log(watts) for watts in limits]
        energy = PchipInterpolator(logs, [math.log(self.sweep[watts][0]) for watts in limits])
        time = PchipInterpolator(logs, [math.log(self.sweep[watts][1]) for watts in limits])

        @functools.cache
        def at(watts: float) -> tuple[float, float]:
            log_watts = math.log(watts)
            return math.exp(float(energy(log_watts))), math.exp(float(time(log_watts)))

        return at

    def __getstate__(self) -> dict[str, object]:
        """Leave out what was computed: it goes to other processes as what it was read as."""
        return {name: value for name, value in self.__dict__.items() if name != "curve"}

    @property
    def reference(self) -> Reference:
        """Return what the search has to compare with, known exactly."""
        joules, seconds = self.sweep[self.reference_watts]
        return Reference(self.reference_watts, joules, seconds, float(self.reference_watts))

    def value(self, objective: Objective, watts: int) -> float:
        """Return what is to be made small, at a limit."""
        return float(objective.value(*self.curve(watts), self.reference))

    def excess(self, objective: Objective, watts: int) -> float:
        """Return by how much a step is longer than allowed, relative; below 0 where it is not."""
        most_seconds = objective.most_seconds(self.reference)
        return 0.0 if most_seconds is None else self.curve(watts)[1] / most_seconds - 1

    def best_swept(self, objective: Objective) -> int:
        """Return the best limit of the sweep's, if it were measured without noise."""
        return self._best(objective, sorted(self.sweep))

    def best_on_grid(self, objective: Objective) -> int:
        """Return the best limit of all that the search may try."""
        lowest = -(-self.min_watts // GRID_WATTS) * GRID_WATTS
        return self._best(objective, range(lowest, self.reference_watts + 1, GRID_WATTS))

    def _best(self, objective: Objective, limits: Sequence[int]) -> int:
        allowed = [watts for watts in limits if self.excess(objective, watts) <= 1e-9]
        return min(allowed, key=lambda watts: self.value(objective, watts))


def traces_are_there() -> bool:
    return all((TRACES / name).is_file() for name in FILES)


def read_traced_runs(*, raw: bool = False) -> list[TracedRun]:
    """Return every swept set-up; with its scatter as the truth where ``raw``."""
    runs = []
    for sweep in _read_sweeps():
        smooth = _without_scatter(sweep)
        chosen = sweep if raw else smooth
        scale = STEP_SECONDS / chosen[max(chosen)][1]
        per_step = {watts: (j * scale, s * scale) for watts, (j, s) in chosen.items()}
        runs.append(TracedRun(per_step, _is_insensitive(smooth)))
    return runs


def _read_sweeps() -> list[Sweep]:
    sweeps: list[Sweep] = []
    for name in FILES:
        groups: defaultdict[tuple[str, ...], Sweep] = defaultdict(dict)
        with (TRACES / name).open(newline="") as file:
            for row in csv.DictReader(file):
                key = (row["dataset"], row["network"], row["batch_size"], row["optimizer"])
                seconds = float(row["time_per_epoch"])
                joules = seconds * float(row["average_power"])
                groups[key][int(row["power_limit"])] = (joules, seconds)
        sweeps += [sweep for sweep in groups.values() if len(sweep) >= LEAST_LIMITS]
    return sweeps


def _is_insensitive(sweep: Sweep) -> bool:
    joules, seconds = sweep[max(sweep)]
    least_joules = min(joules for joules, _ in sweep.values())
    most_seconds = max(seconds for _, seconds in sweep.values())
    return (
        1 - least_joules / joules < INSENSITIVE_RATIO
        and most_seconds / seconds - 1 < INSENSITIVE_RATIO
    )


def _without_scatter(sweep: Sweep) -> Sweep:
    """Make time fall and power rise with the limit: each was measured once, and scatters."""
    limits = sorted(sweep)
    log_times = rising([-math.log(sweep[watts][1]) for watts in limits])
    log_powers = rising([math.log(sweep[watts][0] / sweep[watts][1]) for watts in limits])
    return {
        watts: (math.exp(log_power - log_time), math.exp(-log_time))
        for watts, log_time, log_power in zip(limits, log_times, log_powers, strict=True)
    }


def rising(values: Sequence[float]) -> list[float]:
    """Return the closest sequence that never falls (pool adjacent violators)."""
    pools: list[tuple[float, int]] = []
    for value in values:
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (low, n_low), (high, n_high) = pools.pop(), pools.pop()
            pools.append(((low * n_low + high * n_high) / (n_low + n_high), n_low + n_high))
    return [mean for mean, count in pools for _ in range(count)]
