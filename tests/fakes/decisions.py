"""A decision and its history, as some hours of looking for the best limit would leave them."""

import random
from collections.abc import Sequence

from joulestat.domain.plan import (
    Action,
    Decision,
    Expected,
    FittedPoint,
    OperatingPoint,
    Window,
)
from joulestat.domain.tariff import Tariff
from joulestat.optimizer.history.facts import Limits, RunHistory, Slice
from joulestat.optimizer.history.query_record import QueryRecord

START_SECONDS = 1_795_442_400.0
SLICE_SECONDS = 15.0
TRANSITION_SECONDS = 4.0
SCHEDULE = ((300, 2400.0), (200, 420.0), (240, 480.0), (220, 480.0), (230, 3600.0))
CHOSEN_WATTS = 230
REFERENCE_WATTS = 300
TARIFF = Tariff(0.31, "EUR", 380.0, "DE", 1.3)

QUERIES = (
    QueryRecord(
        'joulestat_run_steps_total{run="llama",power_limit_watts=~"[0-9]+"}[2h]',
        "/api/v1/query", 7_200.0, None, 0.0123, 6, 3_600, 81_234,
    ),
    QueryRecord("time()", "/api/v1/query", 0.0, None, 0.001, 1, 1, 80),
)  # fmt: skip


def cost(watts: int) -> tuple[float, float]:
    """Joules and seconds per step of two GPUs at a limit."""
    seconds = 0.31 * (290 / min(watts, 290)) ** 0.45
    return 2 * seconds * (40 + 0.9 * min(watts, 280)), seconds


def slices(schedule: Sequence[tuple[int, float]] = SCHEDULE, n_nodes: int = 1) -> tuple[Slice, ...]:
    """What the nodes did, with 0.4 % of noise."""
    noise = random.Random(1)
    at, done = START_SECONDS, []
    for watts, duration in schedule:
        joules, seconds = cost(watts)
        for _ in range(int(duration / SLICE_SECONDS)):
            for node in range(n_nodes):
                steps = SLICE_SECONDS / seconds * (1 + noise.gauss(0, 0.004))
                end = at + SLICE_SECONDS
                done.append(Slice(f"n{node}", watts, at, end, steps, steps * joules, SLICE_SECONDS))
            at += SLICE_SECONDS
        at += TRANSITION_SECONDS
    return tuple(done)


def history(run: str = "llama", *, live: bool = True) -> RunHistory:
    known = slices()
    return RunHistory(
        run,
        known,
        Window(START_SECONDS, known[-1].end_seconds),
        ("GPU-a", "GPU-b"),
        gpu_model="NVIDIA A100-SXM4-80GB",
        limits=Limits(REFERENCE_WATTS, current_watts=CHOSEN_WATTS, leased=True),
        live=live,
        fresh=live,
        tariff=TARIFF,
    )


def decision(run: str = "llama") -> Decision:
    """Hold 230 W of 300 W, with a limit measured too briefly and a fit between 200 and 300 W."""
    measured = sorted({watts for watts, _ in SCHEDULE})
    joules, seconds = cost(CHOSEN_WATTS)
    reference_joules, reference_seconds = cost(REFERENCE_WATTS)
    return Decision(
        run=run,
        action=Action.HOLD,
        power_limit_watts=CHOSEN_WATTS,
        reason="Best of those measured.",
        objective={"name": "slowdown", "max_slowdown": 1.12},
        reference_power_limit_watts=REFERENCE_WATTS,
        points=tuple(OperatingPoint(watts, *cost(watts), 1200, 0.3, 0.0006) for watts in measured),
        expected=Expected(1 - joules / reference_joules, seconds / reference_seconds),
        window=history().window,
        gpu_uuids=("GPU-a", "GPU-b"),
        thin=(OperatingPoint(180, *cost(180), 22, None, None),),
        curve=tuple(FittedPoint(w, *cost(w), 0.5, 0.001) for w in range(200, 301, 4)),
        tariff=TARIFF,
        numbers=("Reference: 300 W, 1,200 steps.",),
    )


def no_advice(run: str = "x", reason: str = "Nothing is measured.") -> Decision:
    return Decision(
        run, Action.NONE, None, reason, {"name": "slowdown", "max_slowdown": 1.05},
        None, (), None, None, (),
    )  # fmt: skip


def to_hold(uuids: Sequence[str], *, watts: int = 200, run: str = "llama") -> Decision:
    """Return the bare decision to hold a limit on some GPUs."""
    return Decision(
        run=run,
        action=Action.HOLD,
        power_limit_watts=watts,
        reason="because",
        objective={"name": "energy"},
        reference_power_limit_watts=300,
        points=(),
        expected=None,
        window=None,
        gpu_uuids=tuple(uuids),
    )
