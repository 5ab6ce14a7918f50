"""``joulestat optimize`` as people and scripts run it, on a real Prometheus and a real exporter."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest

from joulestat.client.admin import AdminClient
from servers.exporter import Exporter
from servers.prometheus import PrometheusServer
from servers.training_history import Extras, TrainingHistory, Truth, openmetrics

TRUTH = {300: Truth(91.2, 0.31), 230: Truth(78.3, 0.322), 165: Truth(69.9, 0.371)}
SWEPT = TrainingHistory("swept", TRUTH, [(watts, 75.0) for watts in TRUTH])
ONLY_REFERENCE = TrainingHistory("only-reference", TRUTH, [(300, 225.0)])
PLANNED_STEPS = 5_000
BUDGET_JOULES = 265_000.0
BUDGETED = replace(
    SWEPT,
    run="budgeted",
    first_node=1,
    extras=Extras(planned_steps=PLANNED_STEPS, energy_budget_joules=BUDGET_JOULES),
)
"""At 230 W, 4 % slower, it will have used some 277 kJ, at 165 W, 20 % slower, some 253 kJ."""
AT = ("--at", str(SWEPT.end_seconds - 0.5))
QUICK = ("--min-seconds", "60s")

pytestmark = pytest.mark.prometheus


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = PrometheusServer(tmp_path_factory.mktemp("prometheus"))
    server.backfill(openmetrics(SWEPT, ONLY_REFERENCE, BUDGETED))
    with server:
        yield server.url


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "joulestat", "optimize", *arguments]


def optimize(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("--prometheus.url", url, *arguments),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_advice_exits_0_and_a_pipe_gets_a_table_without_colours(url: str) -> None:
    done = optimize(url, "--run", "swept", *AT, *QUICK)

    assert (0, "") == (done.returncode, done.stderr)
    assert "swept: hold 230 W" in done.stdout
    assert "<- hold" in done.stdout
    assert "\x1b" not in done.stdout


def test_no_advice_exits_3_and_says_why(url: str) -> None:
    done = optimize(url, "--run", "only-reference", *AT, *QUICK)

    assert 3 == done.returncode
    assert "only-reference: no advice" in done.stdout
    assert "--explore" in done.stdout


def test_failure_exits_1_and_prints_no_decision() -> None:
    done = optimize("http://127.0.0.1:9", "--run", "swept")

    assert (1, "") == (done.returncode, done.stdout)


def test_the_same_question_about_the_same_moment_has_the_same_answer(url: str) -> None:
    first, second = (
        optimize(url, "--run", "swept", *AT, *QUICK, "--output", "json", "--objective", "cost")
        for _ in range(2)
    )
    decision = json.loads(first.stdout)

    assert first.stdout == second.stdout
    assert ("swept", "hold", 230) == (
        decision["run"],
        decision["decision"],
        decision["power_limit_watts"],
    )
    assert 1 - 78.3 / 91.2 == pytest.approx(decision["expected"]["energy_saving_ratio"])


def test_exploring_proposes_what_to_measure_next(url: str) -> None:
    quicker = ("--min-seconds", "50s")  # the reference needs four times as long
    done = optimize(url, "--run", "only-reference", *AT, *quicker, "--explore", "--output", "json")
    decision = json.loads(done.stdout)

    assert (0, "probe", 210) == (
        done.returncode,
        decision["decision"],
        decision["power_limit_watts"],
    )


def test_all_runs_are_one_array(url: str) -> None:
    done = optimize(url, "--all-runs", *AT, *QUICK, "--output", "json")
    decisions = {item["run"]: item["decision"] for item in json.loads(done.stdout)}

    told = {item["run"]: item["budget"] for item in json.loads(done.stdout)}

    assert (0, {"swept": "hold", "only-reference": "none", "budgeted": "hold"}) == (
        done.returncode,
        decisions,
    )
    assert (None, None) == (told["swept"], told["only-reference"])
    assert (BUDGET_JOULES, False) == (told["budgeted"]["joules"], told["budgeted"]["finishes"])


def budget_of(url: str, *arguments: str) -> dict[str, Any]:
    done = optimize(url, "--run", "budgeted", *AT, *QUICK, "--output", "json", *arguments)
    decision = json.loads(done.stdout)
    assert 0 == done.returncode, done.stderr
    return {**decision["budget"], "held": decision["power_limit_watts"]}


def test_an_energy_budget_that_the_bound_does_not_allow_is_told_with_the_limit_that_would(
    url: str,
) -> None:
    """What evaluations took is expected to go on, too."""
    told = budget_of(url)
    steps_done = PLANNED_STEPS - told["steps_left"]
    joules_in_training = sum(
        truth.joules * steps for truth, steps in zip(TRUTH.values(), (241, 223, 192), strict=True)
    )

    assert (False, 230, "run") == (told["finishes"], told["held"], told["source"])
    assert (False, True) == (told["instead"]["within_bound"], told["instead"]["slowdown_ratio"] > 1)
    assert told["instead"]["expected_joules"] <= BUDGET_JOULES < told["expected_joules"]
    assert joules_in_training < told["spent_joules"]
    least = told["spent_joules"] + told["steps_left"] * TRUTH[230].joules
    most = least + told["steps_left"] * (told["spent_joules"] - joules_in_training) / steps_done
    assert least < told["expected_joules"] < most


def test_a_wider_bound_lets_the_run_finish(url: str) -> None:
    wider = budget_of(url, "--max-slowdown", "1.25")

    assert (True, 165, None) == (wider["finishes"], wider["held"], wider["instead"])


def test_the_table_says_that_the_bound_is_what_prevents_it(url: str) -> None:
    done = optimize(url, "--run", "budgeted", *AT, *QUICK)
    told = " ".join(done.stdout.split())

    assert "At 230 W the run needs more than its energy budget:" in told
    assert "but is slower than the objective allows." in told


def test_stale_samples_are_not_acted_on(url: str, tmp_path: Path) -> None:
    """The run's last sample is from weeks ago: a lease now would be for nobody."""
    nobody = f"unix:{tmp_path}/admin.sock"
    done = optimize(
        url, "--run", "swept", *QUICK, "--window", "3650d", "--apply", "--admin.url", nobody
    )

    assert 1 == done.returncode
    assert "not applied: samples of the run are too old to act on" in done.stderr
    assert nobody not in done.stderr


class Trainer:
    """Pushes ten steps a second for a run on both GPUs of an exporter, until it is stopped."""

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._train, daemon=True)

    def _train(self) -> None:
        world = self._exporter.world()
        gpus = list(world.uuids)
        world.close()
        seq = 0
        while not self._stop.wait(0.25):
            seq += 1
            self._exporter.push(
                run="live",
                rank=0,
                incarnation="one",
                seq=seq,
                at_ns=time.monotonic_ns(),
                gpus=gpus,
                phase="train",
                totals={"train": {"steps": 10 * seq}},
            )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join(10)


def until(condition: Callable[[], bool], what: str, seconds: float = 45.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)


def test_watching_probes_a_live_run_and_gives_its_limits_back_when_it_is_ended(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "e"
    flags = ("--admin.write-interval", "0s", "--sampling.settle", "500ms")
    with Exporter(folder, *flags) as exporter, Trainer(exporter):
        admin = AdminClient(f"unix:{exporter.admin_socket}", exporter.token)
        token_file = tmp_path / "token"
        token_file.write_text(exporter.token + "\n")

        def leased() -> list[float]:
            return [
                gpu["lease"]["power_limit_watts"]
                for gpu in admin.gpus()
                if gpu["lease"] is not None
            ]

        target = exporter.url.removeprefix("http://")
        with PrometheusServer(tmp_path / "p", [target]) as prometheus:
            arguments = (
                "--prometheus.url", prometheus.url, "--run", "live", "--watch", "1s",
                "--explore", "--apply", "--admin.url", f"unix:{exporter.admin_socket}",
                "--admin.token-file", str(token_file), "--output", "json",
                "--min-steps", "5", "--min-seconds", "1s",
            )  # fmt: skip
            watching = subprocess.Popen(
                command(*arguments),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
            try:
                until(lambda: leased() == [120.0, 120.0], "both GPUs leased for the first probe")
                until(lambda: leased() != [120.0, 120.0], "the next probe or a hold")
            finally:
                watching.send_signal(signal.SIGTERM)
                output, errors = watching.communicate(timeout=30)
        assert 0 == watching.returncode, errors
        assert [] == leased()
    decisions = [json.loads(line) for line in output.splitlines()]
    probed = {d["power_limit_watts"] for d in decisions if d["decision"] == "probe"}
    held = {d["power_limit_watts"] for d in decisions if d["decision"] == "hold"}
    assert 120 in probed
    assert probed | held > {120}
    assert "Traceback" not in errors
