"""The alerts on a real exporter: quiet while all is well, loud for what really happens to it.

Durations of the rules are shortened 120 times, 5 minutes to 2.5 seconds, and with them the two
amounts that depend on them; everything else is as it stands in alerts/.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from alerts.rule_files import RULE_FILES, alerts
from joulestat.client.admin import AdminClient
from joulestat.devices.models import TYPICAL_TRAINING
from joulestat.devices.world import Fault, SimulatedWorld
from joulestat.domain.errors import AdminError
from servers.exporter import Exporter
from servers.prometheus import PrometheusServer

pytestmark = pytest.mark.prometheus

SHORTENED = 120
AMOUNTS = {"36000": str(36000 / SHORTENED), "> 12": "> 0.9"}
"""J within an hour; writes that failed within ten minutes, which are retried in real time."""
UNITS = {"m": 60, "h": 3600, "d": 86400}
CALM_SECONDS = 20.0

LEASED_WATTS = 150.0
FOREIGN_WATTS = 250.0


def shortened(duration: re.Match[str]) -> str:
    return f"{int(duration[1]) * UNITS[duration[2]] * 1000 // SHORTENED}ms"


def short_expr(expr: str) -> str:
    for amount, less in AMOUNTS.items():
        expr = expr.replace(amount, less)
    return re.sub(r"(?<=\[)(\d+)([mhd])(?=\])", shortened, expr)


def short_rules(source: Path, folder: Path) -> Path:
    """Write rules anew, their durations and amounts shortened, and return where."""
    rules = yaml.safe_load(source.read_text())
    for group in rules["groups"]:
        group["interval"] = "250ms"
        for rule in group["rules"]:
            rule["expr"] = short_expr(rule["expr"])
            for key in {"for", "keep_firing_for"} & rule.keys():
                rule[key] = re.sub(r"(\d+)([mhd])", shortened, rule[key])
    target = folder / source.name
    target.write_text(yaml.safe_dump(rules))
    return target


class Training:
    """A run on one GPU that finishes a step with each push, in a thread, from its start on."""

    def __init__(self, exporter: Exporter, world: SimulatedWorld, run: str, gpu: str) -> None:
        self._exporter, self._run, self._gpu = exporter, run, gpu
        self._over = threading.Event()
        world.occupy(gpu, TYPICAL_TRAINING)
        self._thread = threading.Thread(target=self._train)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _train(self) -> None:
        seq = 0
        while not self._over.wait(0.1):
            seq += 1
            self._exporter.push(
                run=self._run,
                rank=0,
                incarnation="one",
                seq=seq,
                at_ns=time.monotonic_ns(),
                gpus=[self._gpu],
                phase="train",
                totals={"train": {"steps": seq}},
                labels={"team": "nlp"},
                final=False,
            )


class Scene:
    """Three GPUs with a run and a lease each, and one that idles; Prometheus looks on."""

    def __init__(self, exporter: Exporter, prometheus: PrometheusServer) -> None:
        self.exporter, self._prometheus = exporter, prometheus
        self.admin = AdminClient(f"unix:{exporter.admin_socket}", exporter.token)
        self.world = exporter.world()
        self.drifting, self.refusing, self.unheld, self.idle = self.world.uuids
        self.leased = (self.drifting, self.refusing, self.unheld)
        for gpu in self.leased:
            self.admin.put_lease(
                gpu,
                power_limit_watts=LEASED_WATTS,
                ttl_seconds=600.0,
                holder="optimizer",
                reason="a test",
            )
        self._runs = [
            Training(exporter, self.world, f"run-{index}", gpu)
            for index, gpu in enumerate(self.leased)
        ]

    def close(self) -> None:
        for run in self._runs:
            run.stop()
        self.world.close()

    def query(self, expr: str) -> list[dict[str, Any]]:
        answer = httpx.post(
            f"{self._prometheus.url}/api/v1/query", data={"query": expr}, trust_env=False
        )
        return list(answer.raise_for_status().json()["data"]["result"])

    def firing(self, window: str = "") -> set[tuple[str, str]]:
        """Return which alerts fire, and of what: a GPU, a run or an address."""
        found = self.query(f'last_over_time(ALERTS{{alertstate="firing"}}[{window or "1s"}])')
        return {
            (labels["alertname"], labels.get("gpu_uuid") or labels.get("run") or labels["job"])
            for series in found
            for labels in [series["metric"]]
        }

    def looked_at(self, alert: str) -> set[str]:
        """Return the GPUs of which an alert finds a value, be it ever so good."""
        (expr,) = (one.expr for one in alerts() if one.name == alert)
        found = self.query(short_expr(expr).replace("> 0.1", ">= 0"))
        return {series["metric"]["gpu_uuid"] for series in found}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    rules = [short_rules(source, tmp_path) for source in RULE_FILES]
    with Exporter(tmp_path / "exporter", gpus=4) as exporter:
        target = exporter.url.removeprefix("http://")
        server = PrometheusServer(
            tmp_path / "prometheus", [target], scrape_interval="250ms", rules=rules
        )
        with server:
            scene = Scene(exporter, server)
            try:
                yield scene
            finally:
                scene.close()


def until(condition: Callable[[], Any], what: str, seconds: float = 45.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)


def test_alerts_are_quiet_while_limits_save_energy_and_loud_for_what_goes_wrong(
    scene: Scene,
) -> None:
    until(lambda: len(scene.query("up == 1")) == 1, "the first scrape")
    time.sleep(CALM_SECONDS)
    fired_in_calm = scene.firing(f"{CALM_SECONDS:g}s")
    held_back = {
        series["metric"]["gpu_uuid"]
        for series in scene.query('joulestat_gpu_throttled{reason="power_cap"} == 1')
    }

    compared = [
        scene.looked_at("JoulestatEnergySourcesDisagree"),
        scene.looked_at("JoulestatEnergyNotConserved"),
    ]

    scene.world.set_limit(scene.drifting, FOREIGN_WATTS)
    scene.world.set_fault(scene.refusing, Fault.NO_PERMISSION)
    with pytest.raises(AdminError, match="it is tried again until it is"):
        scene.admin.delete_lease(scene.refusing)
    scene.admin.delete_lease(scene.unheld)
    scene.world.set_fault(scene.idle, Fault.LOST)
    expected = {
        ("JoulestatPowerLimitDrift", scene.drifting),
        ("JoulestatLeaseNotEnded", scene.refusing),
        ("JoulestatOptimizerStale", "run-1"),
        ("JoulestatOptimizerStale", "run-2"),
        ("JoulestatGpuUnread", scene.idle),
    }
    until(lambda: scene.firing("10s") >= expected, f"{expected}")
    fired = scene.firing("10s")

    # The whole point: three GPUs at their limits, and nobody is called.
    assert set(scene.leased) == held_back
    assert set() == fired_in_calm
    assert [set(scene.world.uuids)] * 2 == compared
    assert expected == fired
