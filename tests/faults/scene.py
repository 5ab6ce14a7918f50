"""A real exporter on a host whose driver misbehaves, and what both look like from outside."""

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.fault import Fault, Logged, Shown
from joulestat.client.admin import AdminClient
from joulestat.domain.errors import AdminError
from servers.exporter import Exporter

PATIENCE_SECONDS = 90.0
"""The slowest recovery takes two looks, 5 s apart; a busy machine may take longer."""

WINDOW_SECONDS = 1.2
"""What must go on or stand still is watched for so long: some totals move once a second."""

GLANCE_SECONDS = 0.3
"""Long enough for a healthy GPU's total to move; and for what was begun to take effect."""

FAST_SCRAPE_SECONDS = 0.1

Key = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True)
class Page:
    """One scrape."""

    samples: dict[Key, float]

    def value(self, name: str, **labels: str) -> float | None:
        """Return the sum of the samples with these labels; None without any."""
        found = [
            value
            for (sample, has), value in self.samples.items()
            if sample == f"joulestat_{name}" and labels.items() <= dict(has).items()
        ]
        return sum(found) if found else None

    @property
    def at_seconds(self) -> float:
        """When its tick was, Unix time."""
        return self.value("last_tick_timestamp_seconds") or 0.0

    def joules(self, uuid: str) -> float:
        return self.value("gpu_energy_joules_total", gpu_uuid=uuid) or 0.0


class Scene:
    """An exporter, its host, and the pages that it has shown since ``begin``.

    Attributes:
        host: What the driver is played by; the rows know how to treat it.
        gpus: UUIDs by slot, also of those that are not there yet.
        answer: What the admin API last said: ``ok``, or a status and its reason.
    """

    def __init__(self, exporter: Exporter, host: Any, gpus: tuple[str, ...]) -> None:
        self.exporter = exporter
        self.host = host
        self.gpus = gpus
        self.answer = ""
        self.landing = ""
        self.before = self.page = Page({})
        self._pages: list[Page] = []
        self._took_seconds: list[float] = []
        self._read_characters = 0

    @property
    def admin(self) -> AdminClient:
        return AdminClient(f"unix:{self.exporter.admin_socket}", self.exporter.token)

    def begin(self) -> None:
        """Forget what was shown and logged before; of a start only what it shows."""
        self.page, self._took_seconds, self._read_characters = Page({}), [], 0
        self.before = self.look()

    def look(self) -> Page:
        """Scrape; no total may have fallen since the last time."""
        started = time.monotonic()
        samples = self.exporter.samples()
        self._took_seconds.append(time.monotonic() - started)
        fallen = {
            key
            for key, value in self.page.samples.items()
            if key[0].startswith("joulestat_gpu_energy_")
            and key[0].endswith("_total")
            and samples.get(key, value) < value
        }
        assert not fallen
        self.page = Page(samples)
        return self.page

    def window(self, uuid: str, seconds: float = WINDOW_SECONDS) -> float | None:
        """Return what a total rose by in so many seconds; None while not watched for so long."""
        older = [page for page in self._pages if page.at_seconds <= self.page.at_seconds - seconds]
        return self.page.joules(uuid) - older[-1].joules(uuid) if older else None

    def risen(self, name: str, **labels: str) -> float:
        """Return how much a counter rose since ``begin``."""
        return (self.page.value(name, **labels) or 0) - (self.before.value(name, **labels) or 0)

    def wait_for(self, wanted: Iterable[Shown], uuids: Iterable[str]) -> None:
        """Scrape until one page shows all of it for all of these GPUs, and the others well."""
        wanted, uuids = tuple(wanted), tuple(uuids)
        there = (uuid for uuid in self.gpus if self.before.value("gpu_info", gpu_uuid=uuid))
        others = [uuid for uuid in there if uuid not in uuids]
        self._pages, began_seconds = [], self.page.at_seconds
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            self.look()
            if self.page.at_seconds > began_seconds + GLANCE_SECONDS:
                self._pages.append(self.page)
            missing = {
                shown.text for shown in wanted for uuid in uuids if not shown.holds(self, uuid)
            }
            ailing = [uuid for uuid in others if not self._is_well(uuid)]
            if not missing and not ailing:
                break
            assert time.monotonic() < deadline, (missing, ailing, self.answer, self.log())
            time.sleep(0.05)
        assert statistics.median(self._took_seconds) < FAST_SCRAPE_SECONDS
        assert self.exporter.get("/healthz")[0] == 200

    def _is_well(self, uuid: str) -> bool:
        return (
            self.page.value("gpu_up", gpu_uuid=uuid) == 1
            and self.page.value("gpu_power_watts", gpu_uuid=uuid) is not None
            and (self.window(uuid, GLANCE_SECONDS) or 0) > 0
        )

    def wait_for_lines(
        self,
        wanted: tuple[Logged, ...],
        uuids: tuple[str, ...],
        perhaps: tuple[Logged, ...] = (),
    ) -> None:
        """Wait until the log says all of it; in the end it says that, once, and nothing else."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._silent(wanted, uuids):
            assert time.monotonic() < deadline, (self._silent(wanted, uuids), self.log())
            time.sleep(0.05)
        lines = self.take_log()
        unforeseen = [
            line
            for line in lines
            if not any(each.is_in(line) for each in (*wanted, *perhaps))
            and "event=listening" not in line
        ]
        assert not unforeseen, unforeseen
        told = {
            (each.text, uuid): sum(each.is_in(line) and uuid in line for line in lines)
            for each in wanted
            for uuid in (uuids if each.per_gpu else [""])
        }
        assert dict.fromkeys(told, 1) == told, lines

    def _silent(self, wanted: tuple[Logged, ...], uuids: tuple[str, ...]) -> list[str]:
        lines = self.log()
        return [
            each.text
            for each in wanted
            for uuid in (uuids if each.per_gpu else [""])
            if not any(each.is_in(line) and uuid in line for line in lines)
        ]

    def log(self) -> list[str]:
        """Return the lines that were not taken yet."""
        return self.exporter.log.read_text()[self._read_characters :].splitlines()

    def take_log(self) -> list[str]:
        """Return the lines since the last time."""
        text = self.exporter.log.read_text()
        taken, self._read_characters = text[self._read_characters :], len(text)
        return taken.splitlines()

    def lease(self, uuid: str, limit_watts: float) -> None:
        """Ask for a lease, and note the answer."""
        try:
            self.admin.put_lease(
                uuid, power_limit_watts=limit_watts, ttl_seconds=600, holder="row", reason="row"
            )
            self.answer = "ok"
        except AdminError as error:
            self.answer = f"{error.status}: {error}"

    def read_landing(self) -> None:
        """Open the exporter's page for people."""
        self.landing = self.exporter.get("/")[1]

    def threads(self) -> int:
        return self._count("task")

    def descriptors(self) -> int:
        return self._count("fd")

    def _count(self, what: str) -> int:
        assert self.exporter.process is not None
        return len(list(Path(f"/proc/{self.exporter.process.pid}/{what}").iterdir()))


def play(fault: Fault, scene: Scene, *, until: Callable[..., bool]) -> None:
    """Play one row: inject, look, clear, look again; nothing may be left over.

    Args:
        fault: The row.
        scene: Where; its exporter was started into what was injected if the row says so.
        until: Waits for a condition, ``patience.eventually``.
    """
    uuids = tuple(scene.gpus[slot] for slot in fault.gpus)
    scene.begin()
    if not fault.before_start:
        scene.take_log()
    threads, descriptors = scene.threads(), scene.descriptors()
    if not fault.before_start:
        fault.inject(scene)
    scene.wait_for(fault.exported, uuids)
    scene.wait_for_lines(fault.logged, uuids, fault.perhaps)

    fault.clear(scene)
    scene.wait_for(fault.recovered, uuids)
    scene.wait_for_lines(fault.logged_then, uuids, fault.perhaps)

    assert until(lambda: scene.threads() <= threads + fault.new_threads), "threads leaked"
    spare = descriptors + fault.new_descriptors
    assert until(lambda: scene.descriptors() <= spare), "descriptors leaked"
    fault.clean_up(scene)
