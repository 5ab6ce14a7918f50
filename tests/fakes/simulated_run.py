"""A training run whose joules and seconds per step are known at every limit, step by step.

What an exporter would have counted of it is kept as slices between scrapes, with the same noise
that real steps have, so that the search can be judged by the truth.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from joulestat.optimizer.history.facts import Limits, RunHistory, Slice, Window

TruthCurve = Callable[[float], tuple[float, float]]
"""Joules and seconds per step at a limit."""

START_SECONDS = 1_790_000_000.0
NOISE_STEPS = 40
"""Noise is given as the scatter of windows of so many steps."""
COARSE_AFTER_SECONDS = 3_600.0
COARSE_SECONDS = 300.0


@dataclass
class SimulatedRun:
    """One node, one GPU. Time passes only in ``advance``.

    Attributes:
        curve: The truth.
        reference_watts: The limit before any lease.
        min_watts: The lowest limit that the card takes.
        rng: Decides all noise.
        time_noise: Relative scatter of the time of 40 steps; power has half of it.
        drift: Standard deviation of a slow drift of time, with a memory of ten minutes.
        scrape_seconds: Scrape interval.
        settle_seconds: How long after a change nothing counts.
        planned_steps: What the run says of its length.
    """

    curve: TruthCurve
    reference_watts: int
    min_watts: float
    rng: np.random.Generator
    time_noise: float = 0.0
    drift: float = 0.0
    scrape_seconds: float = 15.0
    settle_seconds: float = 2.0
    planned_steps: float | None = None
    now_seconds: float = START_SECONDS
    steps: float = 0.0
    joules: float = 0.0
    current_watts: int = 0
    leased: bool = False
    slices: list[Slice] = field(default_factory=list)
    seconds_at: dict[int, float] = field(default_factory=dict)
    steps_at: dict[int, float] = field(default_factory=dict)
    _drifted: float = 0.0
    _coarse: int = 0

    def __post_init__(self) -> None:
        self.current_watts = self.reference_watts

    def set_limit(self, watts: int | None) -> None:
        """Hold a limit from now on; None ends the lease, which puts the reference back."""
        self.leased = watts is not None
        watts = self.reference_watts if watts is None else watts
        if watts != self.current_watts:
            self.current_watts = watts
            self._spend(self.settle_seconds, counted=False)

    def advance(self, seconds: float) -> None:
        """Train on for so long, scraped all the while."""
        left = seconds
        while left > 1e-9:
            span = min(left, self.scrape_seconds)
            self._spend(span, counted=True)
            left -= span
        self._coarsen()

    def history(self) -> RunHistory:
        """Return what a source of histories would tell of it now."""
        return RunHistory(
            "simulated",
            slices=tuple(self.slices),
            window=Window(START_SECONDS, self.now_seconds),
            gpu_uuids=("GPU-0",),
            limits=Limits(
                reference_watts=self.reference_watts,
                current_watts=self.current_watts,
                leased=self.leased,
                min_watts=self.min_watts,
                max_watts=float(self.reference_watts),
            ),
            live=True,
            fresh=True,
            steps_done=self.steps,
            joules_spent=self.joules,
            planned_steps=self.planned_steps,
        )

    def _spend(self, seconds: float, *, counted: bool) -> None:
        joules, step_seconds = self.curve(self.current_watts)
        if self.drift:
            kept = math.exp(-seconds / 600.0)
            self._drifted = (
                kept * self._drifted + self.drift * math.sqrt(1 - kept * kept) * self.rng.normal()
            )
        steps = seconds / step_seconds
        scatter = self.time_noise * math.sqrt(NOISE_STEPS / max(steps, 1e-9))
        slower = math.exp(self._drifted + scatter * self.rng.normal() - scatter * scatter / 2)
        hotter = math.exp(scatter / 2 * self.rng.normal() - scatter * scatter / 8)
        steps /= slower
        spent = joules / step_seconds * seconds * hotter
        start, self.now_seconds = self.now_seconds, self.now_seconds + seconds
        self.steps += steps
        self.joules += spent
        watts = self.current_watts
        self.seconds_at[watts] = self.seconds_at.get(watts, 0.0) + seconds
        self.steps_at[watts] = self.steps_at.get(watts, 0.0) + steps
        if counted:
            self.slices.append(Slice("node", watts, start, self.now_seconds, steps, spent, seconds))

    def _coarsen(self) -> None:
        """Merge what is older than an hour, as a source that reads 30 days does."""
        border = self.now_seconds - COARSE_AFTER_SECONDS
        while self._coarse + 1 < len(self.slices):
            one, other = self.slices[self._coarse], self.slices[self._coarse + 1]
            if other.end_seconds > border:
                return
            same = one.power_limit_watts == other.power_limit_watts
            if same and other.end_seconds - one.start_seconds <= COARSE_SECONDS:
                self.slices[self._coarse : self._coarse + 2] = [
                    Slice(
                        "node",
                        one.power_limit_watts,
                        one.start_seconds,
                        other.end_seconds,
                        one.steps + other.steps,
                        one.joules + other.joules,
                        one.step_seconds + other.step_seconds,
                    )
                ]
            else:
                self._coarse += 1
