"""What holds for simulated energy whatever is done to a GPU and whenever anybody looks."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.clock import FakeClock
from joulestat.devices.models import MODELS, Workload
from joulestat.devices.world import SimulatedWorld

PAUSES = st.floats(0.0, 40.0)
WORKLOADS = st.builds(Workload, st.floats(0.0, 1.0), st.floats(0.001, 10.0), st.floats(0.5, 1.5))
CHANGES = st.one_of(
    st.tuples(st.just("set_limit"), st.floats(200.0, 300.0)),
    st.tuples(st.just("occupy"), WORKLOADS),
    st.tuples(st.just("vacate")),
)
HISTORIES = st.lists(st.tuples(PAUSES, CHANGES), max_size=12)


def live(
    history: list[tuple[float, tuple[object, ...]]],
    *,
    model: str,
    noise_ratio: float,
    looks: int,
) -> tuple[SimulatedWorld, FakeClock, list[tuple[int, int]]]:
    """Live through a history, looking ``looks`` times in every pause.

    Returns the world, its clock, and what was seen: (true energy, counter).
    """
    clock, seen = FakeClock(), []
    with tempfile.TemporaryDirectory() as folder:
        world = SimulatedWorld.open(
            Path(folder) / "world",
            model=model,
            gpus=1,
            seed=1,
            clock=clock,
            noise_ratio=noise_ratio,
        )
    gpu = world.uuids[0]
    for pause_seconds, (change, *arguments) in [*history, (1.0, ("vacate",))]:
        start_ns = clock.monotonic_ns()
        clock.advance(pause_seconds)
        end_ns = clock.monotonic_ns()
        for look in range(looks + 1):
            at_ns = start_ns + (end_ns - start_ns) * look // looks if looks else end_ns
            seen.append((world.energy_uj(gpu, at_ns), world.counter_uj(gpu, at_ns)))
        getattr(world, change)(gpu, *arguments)
    return world, clock, seen


@settings(deadline=None, max_examples=200)
@given(HISTORIES, st.sampled_from(sorted(MODELS)), st.integers(1, 7))
def test_energy_is_the_same_however_often_anybody_looks(
    history: list[tuple[float, tuple[object, ...]]], model: str, looks: int
) -> None:
    alone, clock, _ = live(history, model=model, noise_ratio=0.1, looks=0)
    watched, _, _ = live(history, model=model, noise_ratio=0.1, looks=looks)
    gpu, now_ns = alone.uuids[0], clock.monotonic_ns()

    assert alone.energy_uj(gpu, now_ns) == watched.energy_uj(gpu, now_ns)
    assert alone.counter_uj(gpu, now_ns) == watched.counter_uj(gpu, now_ns)
    alone.close()
    watched.close()


@settings(deadline=None, max_examples=200)
@given(HISTORIES, st.sampled_from(sorted(MODELS)))
def test_energy_and_counter_never_fall_and_the_counter_lags_by_one_move_at_most(
    history: list[tuple[float, tuple[object, ...]]], model: str
) -> None:
    world, _, seen = live(history, model=model, noise_ratio=0.4, looks=20)
    card = world.model
    # A draw of the default limit with its swing, over one move, in uJ; the counter shows whole mJ.
    highest_lag_uj = 1.4 * card.default_limit_watts * card.counter_granularity_ns / 1e3 + 1_000

    assert sorted(seen) == seen
    assert sorted(counter_uj for _, counter_uj in seen) == [counter_uj for _, counter_uj in seen]
    assert all(0 <= energy - counter <= highest_lag_uj for energy, counter in seen)
    world.close()


def spans(
    history: list[tuple[float, tuple[object, ...]]],
) -> Iterator[tuple[float, float]]:
    """Tell a V100's history by the book: (seconds, W) of every span of constant draw."""
    acting = limit = 300.0
    reacting_seconds = 0.0
    workload: Workload | None = None
    for pause_seconds, (change, *arguments) in history:
        until_it_acts = min(pause_seconds, reacting_seconds)
        for seconds, in_force in (
            (until_it_acts, acting),
            (pause_seconds - until_it_acts, limit),
        ):
            full_watts = 40.0 if workload is None else 110.0 + 160.0 * workload.intensity
            yield seconds, min(in_force, full_watts)
        reacting_seconds -= until_it_acts
        acting = acting if reacting_seconds > 0 else limit
        match change, *arguments:
            case "set_limit", float(watts) if round(watts, 3) != limit:
                limit, reacting_seconds = round(watts, 3), 0.2
            case "occupy", Workload() as workload:
                pass
            case "vacate", *_:
                workload = None


@settings(deadline=None, max_examples=200)
@given(HISTORIES)
def test_energy_is_the_sum_of_draw_times_time(
    history: list[tuple[float, tuple[object, ...]]],
) -> None:
    world, clock, _ = live(history, model="V100", noise_ratio=0.0, looks=0)
    by_the_book_joules = sum(
        seconds * watts for seconds, watts in spans([*history, (1.0, ("vacate",))])
    )

    energy_uj = world.energy_uj(world.uuids[0], clock.monotonic_ns())
    # The clock turns in whole nanoseconds, and 300 W make 0.3 uJ of one.
    assert abs(by_the_book_joules * 1e6 - energy_uj) <= 2.0 * (len(history) + 1)
    world.close()
