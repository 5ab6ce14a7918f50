"""``joulestat optimize --apply`` where a server's answers are not what they should be: no lease.

A real Prometheus with a run that goes on, a real exporter with its GPUs, and between the optimizer
and Prometheus something that spoils the answers. Unspoilt, both GPUs get their lease; that shows
each time that it is the spoiling which prevents it.
"""

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from click.testing import CliRunner, Result

from fakes.scripted_server import Received, ScriptedServer, answer_bytes
from fakes.spoilt_answers import (
    Spoil,
    instead,
    of_another_query,
    older,
    raw,
    twice,
    unscraped,
    unspoilt,
    with_clock,
    with_key,
    with_value,
    without_labels,
)
from joulestat.cli.optimize import optimize
from joulestat.client.admin import AdminClient
from servers.exporter import Exporter
from servers.prometheus import PrometheusServer
from servers.training_history import TrainingHistory, Truth, openmetrics

TRUTH = {300: Truth(91.2, 0.31), 230: Truth(78.3, 0.322), 165: Truth(69.9, 0.371)}
SECONDS = 110.0
AHEAD_SECONDS = 600.0
"""How long the run still goes on: samples of later are there already, and not asked for."""

pytestmark = [pytest.mark.prometheus, pytest.mark.promise("evidence")]


@dataclass
class Scene:
    """A run on both GPUs of an exporter, as Prometheus tells of it."""

    prometheus: str
    exporter: Exporter
    token_file: Path

    @property
    def admin(self) -> AdminClient:
        return AdminClient(f"unix:{self.exporter.admin_socket}", self.exporter.token)

    def leases(self) -> int:
        return sum(gpu["lease"] is not None for gpu in self.admin.gpus())

    def writes(self) -> int:
        """Return how often a lease was ever asked for."""
        return sum(record["action"] == "lease" for record in self.admin.audit())

    def optimize(self, spoil: Spoil, run: str = "swept") -> Result:
        """Let it decide and write, on spoilt answers."""

        def script(request: Received, _: socket.socket) -> bytes:
            behind = httpx.post(
                self.prometheus + request.path,
                content=request.body,
                headers={"Content-Type": request.headers["content-type"]},
                trust_env=False,
            )
            spoilt = spoil(parse_qs(request.body.decode()), behind.json())
            return spoilt if isinstance(spoilt, bytes) else json_answer(spoilt)

        with ScriptedServer(script) as server:
            return CliRunner().invoke(
                optimize,
                [
                    "--prometheus.url", server.url, "--run", run, "--min-seconds", "30s",
                    "--apply",
                    "--admin.url", f"unix:{self.exporter.admin_socket}",
                    "--admin.token-file", str(self.token_file),
                ],
            )  # fmt: skip


def json_answer(document: dict[str, Any]) -> bytes:
    return answer_bytes(200, document, Content_Type="application/json")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("e")
    begun = round(time.time() - 3 * SECONDS)
    schedule = [(300, SECONDS), (165, SECONDS), (230, SECONDS + AHEAD_SECONDS)]
    swept = TrainingHistory("swept", TRUTH, schedule, n_nodes=2, start_seconds=begun)
    with Exporter(folder / "x", "--admin.write-interval", "0s") as exporter:
        admin = AdminClient(f"unix:{exporter.admin_socket}", exporter.token)
        text = openmetrics(swept)
        for index, gpu in enumerate(admin.gpus()):
            text = text.replace(f'"GPU-swept-{index}"', f'"{gpu["gpu_uuid"]}"')
        server = PrometheusServer(folder / "p")
        server.backfill(text)
        token_file = folder / "token"
        token_file.write_text(exporter.token)
        with server:
            yield Scene(server.url, exporter, token_file)


@pytest.fixture
def scene(started: Scene) -> Iterator[Scene]:
    yield started
    started.admin.revert_all()


PARTIAL = "No StoreAPIs matched: receive-2 is down"
HTML = b"<html><body>Please log in</body></html>"
REFUSED: dict[str, tuple[Spoil, str]] = {
    "a warning of partial data": (with_key("warnings", [PARTIAL]), f"answered in part: {PARTIAL}"),
    "a partial answer": (with_key("isPartial", True), "answered in part"),
    "NaN": (with_value("_total", "NaN"), "answered the value nan; the series behind it is broken"),
    "NaN among limits": (with_value("power_limit", "NaN"), "answered the value nan"),
    "stale samples": (older, "samples of the run are too old to act on"),
    "a server's clock that is ahead": (
        with_clock(2 * AHEAD_SECONDS),
        "samples of the run are too old to act on",
    ),
    "one series twice": (twice, "answered one series twice"),
    "an error": (
        instead(lambda _: raw(500, b'{"status":"error","error":"disk"}', "application/json")),
        "refused the query: HTTP 500, error: disk",
    ),
    "an error of a proxy": (
        instead(lambda _: raw(500, HTML, "text/html")),
        "answered HTTP 500 and no JSON",
    ),
    "a page of a proxy": (
        instead(lambda _: raw(200, HTML, "text/html")),
        "answered HTTP 200 and no JSON; check the URL, its path and the credentials",
    ),
    "JSON that says that it is none": (
        instead(lambda body: raw(200, body, "text/html")),
        "answered HTTP 200 and no JSON",
    ),
    "half an answer": (
        instead(lambda body: raw(200, body[: len(body) // 2], "application/json")),
        "answered HTTP 200 and no JSON",
    ),
    "nesting without end": (
        instead(lambda _: raw(200, b"[" * 100_000, "application/json")),
        "answered HTTP 200 and no JSON",
    ),
    "no data": (
        instead(lambda _: raw(200, b'{"status":"success"}', "application/json")),
        "answered a None, not a vector",
    ),
    "answers of another query": (of_another_query(), "joulestat optimize: "),
    "series without their labels": (without_labels, "joulestat optimize: "),
}


def spoilt_refused(scene: Scene, spoil: Spoil, reason: str) -> None:
    before = scene.writes()
    done = scene.optimize(spoil)
    said = done.stdout + done.stderr

    assert (0, before) == (scene.leases(), scene.writes()), said
    assert done.exit_code in (1, 3), said
    assert isinstance(done.exception, SystemExit), done.exception
    assert reason in " ".join(said.split())
    assert "Traceback" not in said


@pytest.mark.parametrize("what", REFUSED)
def test_bad_evidence_is_refused_with_its_reason_and_no_limit_is_written(
    scene: Scene, what: str, record_property: Any
) -> None:
    spoilt_refused(scene, *REFUSED[what])
    record_property("measured", f"{what}: 0 limits written")


def holds(scene: Scene, spoil: Spoil) -> str:
    """See that it holds the best limit; return what it says."""
    done = scene.optimize(spoil)

    assert (0, 2) == (done.exit_code, scene.leases()), done.stdout + done.stderr
    assert "swept: hold 230 W" in done.stdout
    return done.stdout


def test_good_evidence_is_acted_on_so_it_was_the_spoiling_that_prevented_it(scene: Scene) -> None:
    holds(scene, unspoilt)


def test_a_hint_about_a_query_is_no_word_about_the_data_and_is_logged_only(scene: Scene) -> None:
    holds(scene, with_key("infos", ["PromQL info: metric might not be a counter"]))


@pytest.mark.parametrize("off_seconds", [-86_400.0, 86_400.0])
def test_the_optimizers_own_clock_is_not_asked_so_it_may_be_off_by_a_day(
    scene: Scene, off_seconds: float, monkeypatch: pytest.MonkeyPatch, record_property: Any
) -> None:
    own = time.time
    monkeypatch.setattr(time, "time", lambda: own() + off_seconds)

    holds(scene, unspoilt)
    record_property("measured", f"own clock off by {off_seconds:+g} s: decided as without")


def test_of_a_minute_without_scrapes_the_counters_growth_counts_and_nothing_is_guessed(
    scene: Scene, record_property: Any
) -> None:
    """``up == 0`` for a minute amid the time at 165 W costs no step and invents none."""
    at_165_watts = time.time() - SECONDS
    unseen: list[float] = []
    gap = unscraped(at_165_watts - 80.0, at_165_watts - 20.0, unseen)

    whole, torn = (row_of(165, holds(scene, spoil)) for spoil in (unspoilt, gap))

    joules_per_step, n_steps = float(torn[2]), int(torn[10])
    assert unseen
    assert (whole, 2 * TRUTH[165].joules) == (torn, pytest.approx(joules_per_step, abs=0.05))
    record_property(
        "measured", f"a minute unscraped: {joules_per_step:g} J/step of {n_steps} steps as without"
    )


def row_of(watts: int, said: str) -> list[str]:
    """Return the words of a limit's row in the table of a decision."""
    (row,) = (line for line in said.splitlines() if line.startswith(f"{watts} W "))
    return row.split()
