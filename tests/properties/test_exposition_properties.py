"""Whatever a snapshot holds, the writer's pages are prometheus_client's, byte for byte."""

import math
import sys

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client import exposition as text_format
from prometheus_client.openmetrics import exposition as openmetrics_format
from prometheus_client.utils import floatToGoString

from fakes.snapshots import example_snapshot
from joulestat.domain.device import Details, Device, PowerLimits, Reading, ThrottleReason
from joulestat.domain.energy import Anomaly, EnergySource, MeterState
from joulestat.domain.limit import Lease, LimitChange, PowerControl
from joulestat.domain.run import (
    Cell,
    Claim,
    Counts,
    Phase,
    PushResult,
    RunLabels,
    RunState,
    UnattributedReason,
)
from joulestat.domain.snapshot import (
    TICK_BUCKETS_SECONDS,
    BudgetState,
    DeviceState,
    Snapshot,
    TickStats,
)
from joulestat.domain.tariff import Tariff
from joulestat.exposition import Constants, ContentType, Exposition
from joulestat.exposition.collector import registry
from joulestat.exposition.writer import number_text

ANY_TEXT = st.text(st.characters() | st.sampled_from('\\"\n\ud800'), max_size=6)
ANY_FLOAT = st.floats() | st.floats(0, 1e9)
COUNT = st.integers(0, 10**18)
UUIDS = ("GPU-a", "GPU-b", 'GPU-"c\\')
LIMITS = ("250", "300", "transition", "mixed")


def maybe(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | strategy


def counts_by(kind: type) -> st.SearchStrategy:
    return st.fixed_dictionaries(dict.fromkeys(kind, COUNT))


LIMITS_READ = st.builds(PowerLimits, *[maybe(ANY_FLOAT)] * 5)
DETAILS = st.builds(
    Details,
    throttle_reasons=maybe(st.frozensets(st.sampled_from(ThrottleReason))),
    utilization_ratio=maybe(ANY_FLOAT),
    temperature_celsius=maybe(ANY_FLOAT),
    sm_clock_hertz=maybe(ANY_FLOAT),
    memory_used_bytes=maybe(COUNT),
    memory_size_bytes=maybe(COUNT),
)
READINGS = st.builds(Reading, COUNT, maybe(COUNT), maybe(ANY_FLOAT), LIMITS_READ, DETAILS)
METERS = st.builds(
    MeterState, COUNT, COUNT, maybe(COUNT), st.sampled_from(EnergySource), counts_by(Anomaly)
)
LEASES = st.builds(Lease, st.just("GPU-a"), *[ANY_TEXT] * 3, ANY_FLOAT, ANY_FLOAT, COUNT, ANY_FLOAT)
CONTROLS = st.builds(
    PowerControl, st.booleans(), maybe(LEASES), st.booleans(), counts_by(LimitChange)
)


def devices(index: int) -> st.SearchStrategy[DeviceState]:
    device = st.builds(Device, st.just(UUIDS[index]), st.just(index), *[ANY_TEXT] * 4)
    unattributed = counts_by(UnattributedReason)
    return st.builds(
        DeviceState, device, st.booleans(), maybe(READINGS), maybe(METERS), unattributed, CONTROLS
    )


def runs(name: str) -> st.SearchStrategy[RunState]:
    keys = st.tuples(st.sampled_from(Phase), st.sampled_from(LIMITS))
    cells = st.builds(Cell, COUNT, COUNT, st.builds(Counts, COUNT, COUNT, COUNT))
    claims = st.builds(Claim, st.integers(0, 9), st.sampled_from(UUIDS), st.sampled_from(Phase))
    return st.builds(
        RunState,
        st.just(name),
        st.builds(RunLabels, *[ANY_TEXT] * 4),
        st.lists(claims, max_size=2).map(tuple),
        st.dictionaries(keys, cells, max_size=3),
        st.dictionaries(st.sampled_from(UUIDS), COUNT, max_size=2),
        ANY_FLOAT,
        maybe(ANY_FLOAT),
        st.dictionaries(st.integers(0, 9), ANY_FLOAT, max_size=2),
        maybe(ANY_FLOAT),
        maybe(COUNT),
    )


BUDGETS = st.builds(BudgetState, ANY_TEXT, ANY_TEXT, ANY_FLOAT, ANY_FLOAT, ANY_FLOAT, COUNT)
TICKS = st.builds(
    TickStats,
    COUNT,
    ANY_FLOAT,
    st.tuples(*[COUNT] * (len(TICK_BUCKETS_SECONDS) + 1)),
    ANY_FLOAT,
    st.dictionaries(st.tuples(*[ANY_TEXT] * 3), COUNT, max_size=2),
)
SNAPSHOTS = st.builds(
    Snapshot,
    COUNT,
    ANY_FLOAT,
    st.just("simulated"),
    st.integers(0, 2).flatmap(lambda n: st.tuples(*map(devices, range(n)))),
    st.integers(0, 2).flatmap(lambda n: st.tuples(*[runs(f"run-{i}") for i in range(n)])),
    st.lists(BUDGETS, max_size=1).map(tuple),
    counts_by(PushResult),
    TICKS,
)
TARIFFS = st.builds(
    Tariff, maybe(ANY_FLOAT), ANY_TEXT, maybe(ANY_FLOAT), ANY_TEXT, maybe(ANY_FLOAT)
)
CONSTANTS = st.builds(Constants, ANY_TEXT, ANY_TEXT, ANY_TEXT, TARIFFS)

EXAMPLE_CONSTANTS = Constants("0.1.0", "abc", "3.11", Tariff(0.31, "EUR", 380.0, "DE", 1.25))


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(SNAPSHOTS, CONSTANTS)
@example(example_snapshot(), EXAMPLE_CONSTANTS)
def test_pages_are_those_of_prometheus_client(snapshot: Snapshot, constants: Constants) -> None:
    reference = registry(constants, lambda: snapshot)
    exposition = Exposition(constants)

    assert text_format.generate_latest(reference) == exposition.render(snapshot, ContentType.TEXT)
    assert openmetrics_format.generate_latest(reference) == exposition.render(
        snapshot, ContentType.OPENMETRICS
    )


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(SNAPSHOTS, min_size=2, max_size=2), CONSTANTS)
def test_a_page_does_not_depend_on_what_was_shown_before(
    shown: list[Snapshot], constants: Constants
) -> None:
    used, fresh = Exposition(constants), Exposition(constants)
    used.render(shown[0], ContentType.TEXT)

    assert fresh.render(shown[1], ContentType.TEXT) == used.render(shown[1], ContentType.TEXT)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(SNAPSHOTS)
def test_every_number_on_a_page_is_finite_and_no_series_lacks_a_value(snapshot: Snapshot) -> None:
    page = Exposition(EXAMPLE_CONSTANTS).render(snapshot, ContentType.TEXT).decode()

    for line in page.split("\n")[:-1]:
        assert line.startswith("# ") or math.isfinite(float(line.rpartition(" ")[2]))


@settings(deadline=None, max_examples=500)
@given(
    st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(0, 10**19).map(float)
    | st.sampled_from([0.0, -0.0, 1e6, 999_999.0, 1e16, 1.5e21, sys.float_info.max, 5e-324])
)
def test_a_number_is_written_like_prometheus_client_writes_it_and_loses_nothing(
    value: float,
) -> None:
    assert floatToGoString(value) == number_text(value)
    assert value == float(number_text(value))
