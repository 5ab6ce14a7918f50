"""``joulestat optimize --apply`` where a server's answers are not what they should be: no lease.

A real Prometheus with a run that goes on, a real exporter with its GPUs, and between the optimizer
and Prometheus something that spoils the answers. Unspoilt, both GPUs get their lease; that shows
each time that it is the spoiling which prevents it.
"""

import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from click.testing import CliRunner, Result

from fakes.scripted_server import Received, ScriptedServer, answer_bytes
from joulestat.cli.optimize import optimize
from joulestat.client.admin import AdminClient
from servers.exporter import Exporter
from servers.prometheus import PrometheusServer
from servers.training_history import TrainingHistory, Truth, openmetrics

TRUTH = {300: Truth(91.2, 0.31), 230: Truth(78.3, 0.322), 165: Truth(69.9, 0.371)}
SECONDS = 110.0
AHEAD_SECONDS = 600.0
"""How long the run still goes on: samples of later are there already, and not asked for."""

Form = dict[str, list[str]]
Spoil = Callable[[Form, dict[str, Any]], dict[str, Any] | bytes]
"""Turns Prometheus' answer to a form into another document, or into the bytes of an answer."""

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


def unspoilt(_: Form, answer: dict[str, Any]) -> dict[str, Any]:
    return answer


def every(*parts: str) -> Callable[[Form], bool]:
    """Return what tells queries that have all these parts."""
    return lambda form: all(part in form["query"][0] for part in parts)


def points(answer: dict[str, Any]) -> Iterator[list[Any]]:
    """Yield every (time, value) of an answer, to be changed in place."""
    for item in answer["data"]["result"]:
        yield from item.get("values", [item["value"]] if "value" in item else [])


def with_key(key: str, value: Any) -> Spoil:
    def spoil(form: Form, answer: dict[str, Any]) -> dict[str, Any]:
        return {**answer, key: value} if every("joulestat_run_")(form) else answer

    return spoil


def with_value(part: str, text: str) -> Spoil:
    """Put a text in the place of the last value of what is asked with this part."""

    def spoil(form: Form, answer: dict[str, Any]) -> dict[str, Any]:
        if every(part)(form):
            for pair in list(points(answer))[-1:]:
                pair[1] = text
        return answer

    return spoil


def instead(answer_of: Callable[[bytes], bytes], part: str = "joulestat_run_") -> Spoil:
    """Send other bytes, made of the right ones, as the answer to what is asked with this part."""

    def spoil(form: Form, answer: dict[str, Any]) -> dict[str, Any] | bytes:
        return answer_of(json.dumps(answer).encode()) if every(part)(form) else answer

    return spoil


def raw(status: int, body: bytes, content_type: str) -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def older(form: Form, answer: dict[str, Any]) -> dict[str, Any]:
    """Let the newest samples be from ten minutes ago."""
    if every("timestamp(")(form):
        for pair in points(answer):
            pair[1] = str(float(pair[1]) - 600.0)
    return answer


def twice(form: Form, answer: dict[str, Any]) -> dict[str, Any]:
    if every("joulestat_run_")(form):
        answer["data"]["result"] *= 2
    return answer


def of_another_query() -> Spoil:
    """Answer everything with the first answer of its kind, as a broken cache does."""
    first: dict[str, dict[str, Any]] = {}

    def spoil(form: Form, answer: dict[str, Any]) -> dict[str, Any]:
        if not every("joulestat_")(form):
            return answer
        return first.setdefault(answer["data"]["resultType"], answer)

    return spoil


def without_labels(form: Form, answer: dict[str, Any]) -> dict[str, Any]:
    if every("joulestat_run_")(form):
        for item in answer["data"]["result"]:
            item["metric"] = {"x": str(id(item))}
    return answer


PARTIAL = "No StoreAPIs matched: receive-2 is down"
HTML = b"<html><body>Please log in</body></html>"
REFUSED: dict[str, tuple[Spoil, str]] = {
    "a warning of partial data": (with_key("warnings", [PARTIAL]), f"answered in part: {PARTIAL}"),
    "a partial answer": (with_key("isPartial", True), "answered in part"),
    "NaN": (with_value("_total", "NaN"), "answered the value nan; the series behind it is broken"),
    "NaN among limits": (with_value("power_limit", "NaN"), "answered the value nan"),
    "stale samples": (older, "samples of the run are too old to act on"),
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


def holds(scene: Scene, spoil: Spoil, run: str = "swept") -> None:
    done = scene.optimize(spoil, run)

    assert (0, 2) == (done.exit_code, scene.leases()), done.stdout + done.stderr
    assert f"{run}: hold 230 W" in done.stdout


def test_good_evidence_is_acted_on_so_it_was_the_spoiling_that_prevented_it(scene: Scene) -> None:
    holds(scene, unspoilt)


def test_a_hint_about_a_query_is_no_word_about_the_data_and_is_logged_only(scene: Scene) -> None:
    holds(scene, with_key("infos", ["PromQL info: metric might not be a counter"]))
