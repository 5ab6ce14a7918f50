"""A running exporter's own history: exact to its counters, and the same as Prometheus'."""

import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from joulestat.client.admin import AdminClient
from joulestat.devices.models import TYPICAL_TRAINING
from joulestat.optimizer.history.facts import RunHistory
from joulestat.optimizer.history.journal import JournalHistory
from joulestat.optimizer.history.journal_source import AdminSource, FileSource
from joulestat.optimizer.history.prometheus import PrometheusHistory
from joulestat.optimizer.history.promql import PrometheusClient
from joulestat.runs.history.reader import HistoryReader
from servers.exporter import Exporter
from servers.prometheus import PrometheusServer

RUN = "llama"


class Training:
    """One rank on every GPU of an exporter; a step takes a tenth of a second."""

    def __init__(self, exporter: Exporter) -> None:
        self.exporter = exporter
        self.world = exporter.world()
        self.admin = AdminClient(f"unix:{exporter.admin_socket}", exporter.token)
        for gpu in self.world.uuids:
            self.world.occupy(gpu, TYPICAL_TRAINING)
        self.seq = self.steps = 0
        self.push()

    def push(self, *, phase: str = "train", final: bool = False) -> None:
        self.seq += 1
        status, answer = self.exporter.push(
            run=RUN,
            rank=0,
            incarnation="one",
            seq=self.seq,
            at_ns=time.monotonic_ns(),
            gpus=list(self.world.uuids),
            phase=phase,
            totals={"train": {"steps": self.steps, "tokens": 512 * self.steps}},
            labels={"job": "llama-ft"},
            planned_steps=5000,
            final=final,
        )
        assert status == 200, answer

    def train(self, pushes: int) -> None:
        for _ in range(pushes):
            time.sleep(0.2)
            self.steps += 2
            self.push()

    def lease(self, limit_watts: float) -> None:
        for gpu in self.world.uuids:
            self.admin.put_lease(
                gpu, power_limit_watts=limit_watts, ttl_seconds=600, holder="t", reason="t"
            )


def file_history(exporter: Exporter) -> JournalHistory:
    reader = HistoryReader(exporter.folder / "state" / "history.sqlite")
    return JournalHistory([FileSource(reader)], time.time)


def counters(exporter: Exporter) -> Mapping[tuple[str, str, str], float]:
    """Return the run's counters by name, phase and limit, as /metrics shows them."""
    return {
        (name.removeprefix("joulestat_run_"), labels["phase"], labels["power_limit_watts"]): value
        for (name, pairs), value in exporter.samples().items()
        if (labels := dict(pairs)).get("power_limit_watts") and value
    }


def kept(exporter: Exporter) -> Mapping[tuple[str, str, str], float]:
    """Return what the rows of the history add up to, under the names of the counters."""
    page = HistoryReader(exporter.folder / "state" / "history.sqlite").history(
        RUN, 0.0, time.time() + 1
    )
    sums: dict[tuple[str, str, str], int] = {}
    for row in page.rows:
        parts = {
            "steps_total": row.steps,
            "step_seconds_total": row.duration_ns,
            "energy_joules_total": row.energy_uj,
            "tokens_total": row.tokens,
        }
        for name, value in parts.items():
            key = name, row.phase, row.power_limit_watts
            sums[key] = sums.get(key, 0) + value
    units = {"step_seconds_total": 1e9, "energy_joules_total": 1e6}
    return {key: value / units.get(key[0], 1) for key, value in sums.items() if value}


def until_kept(exporter: Exporter, steps: int) -> None:
    """Wait until all steps have been written."""
    deadline = time.monotonic() + 20
    file = exporter.folder / "state" / "history.sqlite"
    while not file.exists() or _steps_kept(exporter) < steps:
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)


def _steps_kept(exporter: Exporter) -> float:
    return sum(value for (name, *_), value in kept(exporter).items() if name == "steps_total")


def test_rows_add_up_to_the_counters_through_a_crash_and_a_restart(tmp_path: Path) -> None:
    exporter = Exporter(tmp_path)
    with exporter:
        training = Training(exporter)
        training.train(10)
        training.push(phase="eval")
        training.train(1)
        training.push(phase="train")
        until_kept(exporter, 20)
        training.lease(200)
        training.train(18)
        exporter.kill()
        time.sleep(0.5)
        exporter.start()
        training.train(2)
        training.push(final=True)
        until_kept(exporter, training.steps)
        shown = counters(exporter)
        assert exporter.stop() == 0

    assert shown == kept(exporter)
    assert {"train", "eval"} == {phase for _, phase, _ in shown}
    assert {"300", "200", "transition"} <= {limit for *_, limit in shown}
    history = file_history(exporter).read(RUN, time.time())
    assert (True, False, float(training.steps), 5000) == (
        history.ended,
        history.live,
        history.steps_done,
        history.planned_steps,
    )


def test_the_end_writes_what_the_last_seconds_brought(tmp_path: Path) -> None:
    exporter = Exporter(tmp_path)
    with exporter:
        training = Training(exporter)
        training.train(3)
        training.push(final=True)
        time.sleep(0.5)
        shown = counters(exporter)
        assert exporter.stop() == 0

    assert shown == kept(exporter)


def test_no_history_is_kept_where_none_is_wanted(tmp_path: Path) -> None:
    with Exporter(tmp_path, "--history.retention", "0") as exporter:
        Training(exporter).train(2)
        assert exporter.stop() == 0

    assert not (tmp_path / "state" / "history.sqlite").exists()


@pytest.mark.prometheus
def test_prometheus_the_file_and_the_admin_api_tell_the_same(tmp_path: Path) -> None:
    tariff = ("--tariff.price-per-kilowatt-hour", "0.31", "--tariff.currency", "EUR")
    with Exporter(tmp_path / "exporter", *tariff) as exporter:
        target = exporter.url.removeprefix("http://")
        with PrometheusServer(tmp_path / "prometheus", [target]) as server:
            training = Training(exporter)
            training.train(25)
            training.lease(200)
            training.train(35)
            until_kept(exporter, training.steps)
            time.sleep(1.5)
            now = time.time()
            with PrometheusClient(server.url) as client:
                scraped = PrometheusHistory(client).read(RUN, now)
            from_file = file_history(exporter).read(RUN, now)
            admin = AdminClient(f"unix:{exporter.admin_socket}", exporter.token)
            over_http = JournalHistory([AdminSource(admin)], time.time).read(RUN, now)

    assert from_file == over_http
    assert _per_step(scraped) == {
        limit: pytest.approx(values, rel=1e-9) for limit, values in _per_step(from_file).items()
    }
    assert {300, 200} == _per_step(from_file).keys()
    assert scraped.limits == from_file.limits
    assert (300, 200, True) == (
        from_file.limits.reference_watts,
        from_file.limits.current_watts,
        from_file.limits.leased,
    )
    for field in (
        "gpu_uuids",
        "gpu_model",
        "job",
        "live",
        "fresh",
        "ended",
        "shared_with",
        "problems",
        "steps_done",
        "planned_steps",
        "energy_budget_joules",
        "tariff",
    ):
        assert getattr(scraped, field) == getattr(from_file, field), field
    assert scraped.joules_spent == pytest.approx(from_file.joules_spent, rel=1e-9)
    assert scraped.other_joules_spent == pytest.approx(from_file.other_joules_spent, rel=1e-9)
    assert scraped.window is not None
    assert from_file.window is not None
    assert scraped.window.start_seconds == pytest.approx(from_file.window.start_seconds, abs=16)
    assert scraped.window.end_seconds == pytest.approx(from_file.window.end_seconds, abs=16)


def _per_step(history: RunHistory) -> Mapping[int, tuple[float, float, float]]:
    """Return steps, joules per step and seconds per step by limit."""
    sums: dict[int, tuple[float, float, float]] = {}
    for item in history.slices:
        steps, joules, seconds = sums.get(item.power_limit_watts, (0.0, 0.0, 0.0))
        sums[item.power_limit_watts] = (
            steps + item.steps,
            joules + item.joules,
            seconds + item.step_seconds,
        )
    return {
        limit: (steps, joules / steps, seconds / steps)
        for limit, (steps, joules, seconds) in sums.items()
        if steps
    }
