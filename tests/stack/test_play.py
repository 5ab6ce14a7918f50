"""What the stack starts by default, started without containers: the compose file's own commands."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from stack.stack_files import DOCKER, services

BIN = Path(sys.executable).parent
RUN = "llama-ft"
STEPS, EVAL_EVERY = 20, 10
"""Steps take 0.1 s of real time."""

JOULES_PER_KILOWATT_HOUR = 3.6e6


@dataclass(frozen=True)
class Stage:
    """A folder in place of the containers' volumes."""

    folder: Path

    def here(self, argument: str) -> str:
        """Return an argument of the compose file as it is here."""
        for inside, outside in {
            "/etc/joulestat-simulated.yaml": DOCKER / "exporter" / "simulated.yaml",
            "/etc/joulestat/": f"{self.folder}/etc/",
            "/run/joulestat/": f"{self.folder}/run/",
            "=:10400": "=127.0.0.1:0",
        }.items():
            argument = argument.replace(inside, str(outside))
        return argument

    def command(self, service: str) -> list[str]:
        """Return what a service runs, as it is run here."""
        found = services()[service]
        entry: Sequence[str] = found.get("entrypoint", [str(BIN / "joulestat")])
        entry = [sys.executable if one == "python" else one for one in entry]
        return [*entry, *map(self.here, found.get("command", ()))]

    @property
    def environment(self) -> dict[str, str]:
        """What the image sets, as far as it matters: where the program is, and its state."""
        return {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            # These tests may be root, whose state is elsewhere than that of the image's user.
            "JOULESTAT_STATE_PATH": str(self.folder / "state"),
        }


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    folder = tmp_path_factory.mktemp("stack")
    for name in ("etc", "run"):
        (folder / name).mkdir()
    return Stage(folder)


@pytest.fixture(scope="module")
def tokens(stage: Stage) -> Path:
    """Let the service ``token`` make the optimizer's, twice as after a restart."""
    place = stage.folder / "etc"
    for _ in range(2):
        subprocess.run(stage.command("token"), cwd=place, env=stage.environment, check=True)
    return place


@pytest.fixture(scope="module")
def exporter(stage: Stage, tokens: Path) -> Iterator[str]:
    """Run the simulated exporter; return where it is read."""
    log = stage.folder / "exporter.log"
    with log.open("w") as err:
        process = subprocess.Popen(
            stage.command("exporter-simulated"), env=stage.environment, stderr=err
        )
    try:
        yield listening(log, process)
    finally:
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(20)


def listening(log: Path, process: subprocess.Popen[bytes]) -> str:
    """Return the exporter's address, as soon as its data is fresh."""
    deadline = time.monotonic() + 30.0
    while process.poll() is None and time.monotonic() < deadline:
        found = re.search(r"event=listening address=(http://\S+)", log.read_text())
        if found and httpx.get(f"{found[1]}/readyz", trust_env=False).is_success:
            return found[1]
        time.sleep(0.05)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def trained(stage: Stage, exporter: str) -> dict[str, float]:
    """Let the training make a few steps; return every sample of its run by name and phase."""
    # Of a flag that is given twice the last one counts.
    shorter = [f"--steps={STEPS}", f"--eval-every={EVAL_EVERY}"]
    command = [*stage.command("training"), *shorter]
    told = subprocess.run(
        command, env=stage.environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(told.stdout)["joules"] > 0
    # What was pushed last is shown from the next reading of the GPUs on.
    deadline = time.monotonic() + 30.0
    while True:
        found = samples(exporter)
        if "joulestat_run_end_timestamp_seconds" in found:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def samples(exporter: str) -> dict[str, float]:
    """Return every sample of the training's run by name and phase."""
    page = httpx.get(f"{exporter}/metrics", trust_env=False).text
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.labels.get("run") == RUN:
                key = f"{sample.name} {sample.labels.get('phase', '')}".strip()
                found[key] = found.get(key, 0.0) + sample.value
    return found


def test_only_the_first_start_makes_a_token(tokens: Path) -> None:
    assert 1 == (tokens / "tokens.yaml").read_text().count("sha256")
    assert {0o600} == {path.stat().st_mode & 0o777 for path in tokens.iterdir()}


def test_the_training_makes_its_steps_and_evaluates_between(trained: dict[str, float]) -> None:
    assert STEPS == trained["joulestat_run_steps_total train"]
    assert STEPS / EVAL_EVERY == trained["joulestat_run_steps_total eval"]
    assert trained["joulestat_run_energy_joules_total train"] > 0


def planned(flag: str) -> float:
    """Return a number that the compose file gives the training."""
    flags = dict(one.split("=", 1) for one in services()["training"]["command"])
    return float(flags[flag])


def test_the_training_says_what_it_plans_and_may_take(trained: dict[str, float]) -> None:
    budget_joules = planned("--energy-budget-kwh") * JOULES_PER_KILOWATT_HOUR

    assert STEPS == trained["joulestat_run_planned_steps"]
    assert budget_joules == trained["joulestat_run_energy_budget_joules"]


def test_without_an_optimizer_the_training_takes_more_than_it_may(
    trained: dict[str, float],
) -> None:
    """Else the boards would show no budget in danger, and no alert had anything to say."""
    phases = [f"joulestat_run_energy_joules_total {phase}" for phase in ("train", "eval")]
    whole_joules = sum(trained[phase] for phase in phases) / STEPS * planned("--steps")

    assert whole_joules > planned("--energy-budget-kwh") * JOULES_PER_KILOWATT_HOUR


def test_the_optimizer_s_token_opens_the_socket_that_it_is_told(
    stage: Stage, exporter: str
) -> None:
    flags = [one for one in stage.command("optimizer") if one.startswith("--admin.")]
    told = subprocess.run(
        [BIN / "joulestat", "lease", "list", *flags],
        env=stage.environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == told.returncode, told.stderr
    assert 4 == told.stdout.count("GPU-"), told.stdout


def test_money_and_carbon_are_told(exporter: str) -> None:
    page = httpx.get(f"{exporter}/metrics", trust_env=False).text

    assert 'joulestat_electricity_price_per_kilowatt_hour{currency="EUR"} 0.31' in page
    assert 'joulestat_carbon_intensity_grams_per_kilowatt_hour{zone="DE"} 380' in page
