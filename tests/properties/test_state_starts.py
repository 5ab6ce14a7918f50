"""Whatever lies in the state folder, the exporter starts, and its metrics go on."""

import json
import os
import random
import shutil
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fakes.changed_files import KINDS
from fakes.patience import eventually
from fakes.quick_disk import quick_folder
from joulestat.config import (
    Config,
    ListenAddress,
    SamplingConfig,
    SimulatedConfig,
    WebConfig,
)
from joulestat.domain.limit import LeaseRequest
from joulestat.loops.system_clock import SystemClock
from joulestat.runs.history.schema import FILE_NAME
from joulestat.service import Service

# One in fifty: each is a start of the whole exporter.
STARTS = max(5, int(os.environ.get("MUTATIONS", "60")) // 50)
JOURNAL, LEDGER = "leases.sqlite", "ledger.sqlite"
FILES = (LEDGER, JOURNAL, FILE_NAME, f"{LEDGER}-wal", f"{JOURNAL}.lock")
LEASED_WATTS, BASELINE_WATTS = 150.0, 300.0


class Node:
    """A whole exporter in this process, on a state folder."""

    def __init__(self, home: Path) -> None:
        config = Config(
            state_path=home / "state",
            backend="simulated",
            web=WebConfig((ListenAddress("127.0.0.1", 0),)),
            sampling=SamplingConfig(interval_seconds=0.05),
            simulated=SimulatedConfig(gpus=1, state_file=home / "world"),
        )
        self.service = Service(config, SystemClock())
        self.service.start()
        (self.url,) = self.service.addresses
        assert eventually(lambda: "joulestat_gpu_up" in self.page(), within_seconds=20.0)
        (self.gpu,) = self.service._limits.authority.controls()

    def page(self) -> str:
        request = urllib.request.Request(f"{self.url}/metrics", headers={"Accept": "text/plain"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return ""  # 503: nothing has been read yet

    def values(self) -> dict[str, float]:
        families = text_string_to_metric_families(self.page())
        return {each.name: each.value for family in families for each in family.samples}

    def push(self, seq: int, steps: int) -> None:
        push = {
            "run": "llama",
            "rank": 0,
            "incarnation": "one",
            "seq": seq,
            "phase": "train",
            "at_ns": time.monotonic_ns(),
            "gpus": [self.gpu],
            "totals": {"train": {"steps": steps}},
        }
        request = urllib.request.Request(
            f"{self.url}/v1/push",
            data=json.dumps(push).encode(),
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()


@pytest.fixture(scope="module")
def left() -> Iterator[Path]:
    """What a killed exporter leaves: a run, energy, and a limit in force."""
    with quick_folder() as folder:
        node = Node(folder / "home")
        for seq in range(1, 4):
            node.push(seq, 10 * seq)
        governor = node.service._limits.authority
        governor.grant(
            node.gpu, LeaseRequest(LEASED_WATTS, 600.0, "optimizer", "why"), principal="p"
        )
        state = folder / "home" / "state"
        # Both are written every few seconds.
        assert eventually((state / FILE_NAME).exists, within_seconds=30.0)
        shutil.copytree(folder / "home", folder / "left")
        node.service.stop()
        yield folder / "left"


@pytest.mark.promise("state")
def test_the_exporter_starts_on_any_state_and_shows_energy_and_whether_it_controls(
    left: Path, record_property: Callable[[str, object], None]
) -> None:
    chance, became = random.Random(9), Counter[str]()
    kinds = [kind for kind in KINDS if kind.__name__ != "flip"]
    chance.shuffle(kinds)
    for n in range(STARTS):
        mutate, name = [*kinds, KINDS[0]][n % (len(kinds) + 1)], FILES[n % len(FILES)]
        with quick_folder() as folder:
            home = Path(shutil.copytree(left, folder / "home"))
            path = home / "state" / name
            # SQLite has just moved all of its log into the file.
            if not path.exists() or path.stat().st_size == 0:
                continue
            mutate(path, chance)
            became[shown(home, f"{mutate.__name__} {name}")] += 1
    assert became["read-only"]
    assert became["in control"]
    record_property(
        "measured",
        f"{became.total()} starts on changed state: metrics in all, {became['read-only']} of them "
        "read-only and saying so",
    )


def shown(home: Path, what: str) -> str:
    """Start on changed state, look at the page, and return whether it controls limits."""
    node = Node(home)
    try:
        values = node.values()
        assert values["joulestat_gpu_energy_joules_total"] > 0, what
        assert 1 == values["joulestat_gpu_up"], what
        reason = node.service._limits.authority.read_only_reason
        assert (reason is not None) == values["joulestat_control_read_only"], what
        if reason is None:
            assert BASELINE_WATTS == values["joulestat_gpu_power_limit_watts"], what
            return "in control"
        assert values["joulestat_gpu_power_limit_watts"] in (LEASED_WATTS, BASELINE_WATTS), what
        return "read-only"
    finally:
        node.service.stop()
