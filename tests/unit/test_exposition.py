import logging
import math
import threading
from dataclasses import replace

import pytest
from prometheus_client import exposition as text_format
from prometheus_client.openmetrics import exposition as openmetrics_format
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from fakes.snapshots import (
    NO_TICKS,
    device_state,
    example_snapshot,
    leased,
    reading,
    run_state,
    snapshot,
    uuid_of,
)
from joulestat.domain.device import Details, PowerLimits, Reading
from joulestat.domain.run import RunLabels
from joulestat.domain.snapshot import Snapshot
from joulestat.domain.tariff import Tariff
from joulestat.exposition import Constants, ContentType, Exposition
from joulestat.exposition.catalogue import CATALOGUE, MetricType
from joulestat.exposition.collector import registry
from joulestat.exposition.families import ROWS

CONSTANTS = Constants(
    version="0.1.0",
    revision="abc1234",
    python="3.11.7",
    tariff=Tariff(0.31, "EUR", 380.0, "DE", 1.25),
)
NO_TARIFF = replace(CONSTANTS, tariff=Tariff())


def page(shown: Snapshot, constants: Constants = CONSTANTS) -> list[str]:
    """The samples of a text page."""
    text = Exposition(constants).render(shown, ContentType.TEXT).decode()
    return [line for line in text.splitlines() if not line.startswith("#")]


def names(shown: Snapshot, constants: Constants = CONSTANTS) -> set[str]:
    return {line.partition("{")[0].partition(" ")[0] for line in page(shown, constants)}


def only(shown: Snapshot, *parts: str) -> list[str]:
    """Values of the samples whose line has all of these parts."""
    return [line.rpartition(" ")[2] for line in page(shown) if all(p in line for p in parts)]


def test_every_metric_of_the_catalogue_is_made_and_no_other() -> None:
    assert set(ROWS) == {
        name for name, metric in CATALOGUE.items() if metric.type is not MetricType.HISTOGRAM
    }


def test_the_example_shows_every_metric() -> None:
    shown = {name.removesuffix("_bucket") for name in names(example_snapshot())}

    assert set() == {metric.name for metric in CATALOGUE.values()} - shown


def test_counters_end_in_total_and_nothing_else_does() -> None:
    for metric in CATALOGUE.values():
        assert (metric.type is MetricType.COUNTER) == metric.name.endswith("_total")


def test_series_of_a_device_carry_index_and_uuid_alone() -> None:
    for name in ("gpu_power_watts", "gpu_energy_joules_total", "gpu_power_limit_watts", "gpu_up"):
        (line,) = [line for line in page(snapshot((device_state(3),))) if f"_{name}{{" in line]
        labels = f'{{gpu="3",gpu_uuid="{uuid_of(3)}"}}'

        assert f"joulestat_{name}{labels}" == line.rpartition(" ")[0]


def test_an_exporter_that_sees_nothing_says_so_and_no_more() -> None:
    assert {
        "joulestat_run_pushes_total",
        "joulestat_run_pushes_adjusted_total",
        "joulestat_tick_duration_seconds_bucket",
        "joulestat_tick_duration_seconds_count",
        "joulestat_tick_duration_seconds_sum",
        "joulestat_build_info",
    } == names(snapshot(), NO_TARIFF)


def test_what_a_card_does_not_support_is_absent() -> None:
    silent = Reading(at_ns=1, energy_counter_uj=None, power_watts=None)
    shown = names(snapshot((replace(device_state(), reading=silent, meter=None),)))

    assert {
        "joulestat_gpu_info",
        "joulestat_gpu_up",
        "joulestat_gpu_power_limit_writable",
        "joulestat_gpu_power_limit_changes_total",
        "joulestat_gpu_unattributed_energy_joules_total",
    } == {name for name in shown if name.startswith("joulestat_gpu")}


def test_a_failed_device_keeps_its_counters_and_loses_its_gauges() -> None:
    failed = snapshot((replace(leased(device_state()), up=False, reading=None),))

    assert ["0.0"] == only(failed, "gpu_up")
    assert ["2.2000123456789e+07"] == only(failed, "gpu_energy_joules_total{")
    assert ["250.0"] == only(failed, "gpu_power_limit_target_watts")
    assert set() == names(failed) & {
        "joulestat_gpu_power_watts",
        "joulestat_gpu_power_limit_watts",
        "joulestat_gpu_temperature_celsius",
        "joulestat_gpu_throttled",
    }


def test_target_and_expiry_exist_only_with_a_lease() -> None:
    lease_metrics = {
        "joulestat_gpu_power_limit_target_watts",
        "joulestat_gpu_power_limit_lease_expiry_timestamp_seconds",
    }

    assert set() == lease_metrics & names(snapshot((device_state(),)))
    assert lease_metrics == lease_metrics & names(snapshot((leased(device_state()),)))


def test_every_throttle_reason_is_shown_once_any_is_known() -> None:
    assert ["0.0", "0.0", "0.0", "0.0", "1.0"] == sorted(
        only(snapshot((device_state(),)), "gpu_throttled")
    )
    unknown = replace(reading(), details=Details(temperature_celsius=1.0))
    assert [] == only(snapshot((replace(device_state(), reading=unknown),)), "gpu_throttled")


def test_samples_and_tokens_are_shown_for_runs_that_ever_reported_any() -> None:
    shown = example_snapshot()

    assert [] == only(shown, "run_samples_total", 'run="bert"')
    assert [] == only(shown, "run_tokens_total", 'run="odd"')
    assert ["0.0"] == only(shown, "run_tokens_total", 'run="llama-ft-42"', 'phase="eval"')
    assert ["0.0"] == only(shown, "run_steps_total", 'run="odd"')


def test_energy_of_a_run_by_limit_and_by_device_is_the_same() -> None:
    shown = snapshot(tuple(map(device_state, range(4))), (run_state(),))
    by_limit = sum(map(float, only(shown, "run_energy_joules_total")))
    by_device = sum(map(float, only(shown, "run_gpu_energy_joules_total")))

    assert by_device == pytest.approx(by_limit, rel=1e-15)


def test_a_device_that_is_gone_keeps_its_share_of_a_run_without_an_index() -> None:
    lines = [line for line in page(snapshot((), (run_state(),))) if "run_gpu_energy" in line]

    assert 4 == len([line for line in lines if 'gpu=""' in line])


def test_no_tick_yet_is_no_timestamp() -> None:
    ticked = snapshot(ticks=replace(NO_TICKS, count=1, last_seconds=5.0))

    assert [] == only(snapshot(), "last_tick_timestamp_seconds")
    assert ["5.0"] == only(ticked, "last_tick_timestamp_seconds")


def test_buckets_are_cumulative_and_the_last_is_the_count() -> None:
    ticks = replace(NO_TICKS, count=10, buckets=(1, 2, 0, 0, 3, 0, 0, 0, 0, 4), sum_seconds=1.5)
    shown = snapshot(ticks=ticks)

    assert ["1.0", "3.0", "3.0", "3.0", "6.0", "6.0", "6.0", "6.0", "6.0", "10.0"] == only(
        shown, "tick_duration_seconds_bucket"
    )
    assert ["10.0"] == only(shown, "tick_duration_seconds_count")
    assert ["1.5"] == only(shown, "tick_duration_seconds_sum")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_left_out_and_logged_once(
    bad: float, caplog: pytest.LogCaptureFixture
) -> None:
    broken = replace(
        reading(), power_watts=bad, limits=PowerLimits(set_watts=bad, enforced_watts=250.0)
    )
    exposition = Exposition(CONSTANTS)
    for _ in range(2):
        shown = snapshot((replace(device_state(), reading=broken), device_state(1)))
        text = exposition.render(shown, ContentType.TEXT).decode()

    assert 1 == text.count("\njoulestat_gpu_power_watts{")
    assert 2 == text.count("\njoulestat_gpu_power_limit_enforced_watts{")
    assert ["joulestat_gpu_power_limit_watts", "joulestat_gpu_power_watts"] == sorted(
        record.getMessage().split()[1].removeprefix("metric=") for record in caplog.records
    )


def test_a_family_that_fails_is_left_out_and_the_page_is_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = snapshot((device_state(),), ticks=replace(NO_TICKS, buckets=(1, 2)))

    assert "joulestat_gpu_up" in names(broken)
    assert "joulestat_tick_duration_seconds_bucket" not in names(broken)
    assert "event=metric_left_out metric=joulestat_tick_duration_seconds" in caplog.messages[0]
    assert logging.ERROR == caplog.records[0].levelno


def test_a_wrong_number_of_labels_never_reaches_the_page(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(ROWS, "gpu_up", lambda _scene: [(("0",), 1.0)])

    assert "joulestat_gpu_up" not in names(snapshot((device_state(),)))
    assert "joulestat_gpu_info" in names(snapshot((device_state(),)))


def test_openmetrics_of_the_example_is_understood_by_its_reference_parser() -> None:
    text = Exposition(CONSTANTS).render(example_snapshot(), ContentType.OPENMETRICS).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}

    assert {metric.family for metric in CATALOGUE.values()} == set(families)
    assert "joules" == families["joulestat_run_energy_joules"].unit
    assert "" == families["joulestat_run_steps"].unit
    assert text.endswith("\n# EOF\n")
    assert "_created" not in text


def test_labels_survive_escaping() -> None:
    text = Exposition(CONSTANTS).render(example_snapshot(), ContentType.OPENMETRICS).decode()
    (info,) = [f for f in text_string_to_metric_families(text) if f.name == "joulestat_run_info"]
    (odd,) = [sample for sample in info.samples if sample.labels["run"] == "odd"]

    assert 'say "hi"\\' == odd.labels["job"]
    assert "zoë\nline two" == odd.labels["user"]


def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    odd = replace(run_state(), labels=RunLabels(user="\ud800x"))

    assert ["1.0"] == only(snapshot((), (odd,)), 'user="?x"')


def test_both_formats_equal_what_prometheus_client_writes() -> None:
    shown = example_snapshot()
    reference = registry(CONSTANTS, lambda: shown)
    exposition = Exposition(CONSTANTS)

    assert text_format.generate_latest(reference) == exposition.render(shown, ContentType.TEXT)
    assert openmetrics_format.generate_latest(reference) == exposition.render(
        shown, ContentType.OPENMETRICS
    )


def test_a_registry_without_a_snapshot_is_empty() -> None:
    assert b"" == text_format.generate_latest(registry(CONSTANTS, lambda: None))


def test_a_page_is_written_once_per_snapshot_and_format() -> None:
    exposition = Exposition(CONSTANTS)
    first, second = example_snapshot(), example_snapshot()

    text = exposition.render(first, ContentType.TEXT)
    openmetrics = exposition.render(first, ContentType.OPENMETRICS)

    assert text is exposition.render(first, ContentType.TEXT)
    assert openmetrics is exposition.render(first, ContentType.OPENMETRICS)
    assert text == exposition.render(second, ContentType.TEXT)
    assert text is not exposition.render(second, ContentType.TEXT)


def test_runs_that_come_and_go_leave_nothing_behind_for_good() -> None:
    exposition = Exposition(CONSTANTS)
    for number in range(700):
        exposition.render(snapshot((), (run_state(f"run-{number}"),)), ContentType.TEXT)
    kept = exposition._writers[ContentType.TEXT]._prefixes.values()

    assert 12_000 > sum(map(len, kept))


def test_threads_see_whole_pages() -> None:
    exposition = Exposition(CONSTANTS)
    shown = [snapshot((device_state(index),)) for index in range(4)]
    expected = {Exposition(CONSTANTS).render(one, ContentType.TEXT) for one in shown}
    seen: set[bytes] = set()

    def read() -> None:
        for turn in range(40):
            seen.add(exposition.render(shown[turn % 4], ContentType.TEXT))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert expected == seen
