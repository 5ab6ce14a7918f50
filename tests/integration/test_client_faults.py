"""Whatever the exporter does, the training goes on."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

import pytest

import joulestat
from fakes.patience import client_threads, eventually
from fakes.scripted_server import Received, ScriptedExporter, ScriptedServer, answer_bytes

over = threading.Event()
"""Set at the end of each test: whatever hangs or drips gives up."""

Script = Callable[[Received, socket.socket], bytes | None]


def hang(_: Received, __: socket.socket) -> None:
    over.wait(30)


def drip(_: Received, connection: socket.socket) -> None:
    for byte in answer_bytes(200, {"instance": "x" * 1000}):
        if over.wait(0.2):
            return
        connection.sendall(bytes([byte]))


def slow(_: Received, __: socket.socket) -> bytes | None:
    return None if over.wait(1.5) else answer_bytes(200, {"accepted": True, "instance": "i"})


def close(_: Received, __: socket.socket) -> None:
    return


def huge(_: Received, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n")
    while not over.is_set():
        connection.sendall(b"x" * 65536)


def endless(_: Received, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not over.is_set():
        connection.sendall(b"x" * 65536)


def saying(data: bytes) -> Script:
    return lambda _request, _connection: data


FAULTS: dict[str, Script] = {
    "hangs": hang,
    "drips": drip,
    "slow": slow,
    "closes": close,
    "huge": huge,
    "endless": endless,
    "garbage": saying(b"\x16\x03\x01\x02\x00" * 40 + b"\r\n\r\n"),
    "bad json": saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{no json!"),
    "wrong type": saying(answer_bytes(200, ["no", "object"])),
    "deep json": saying(b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + b"[" * 90000),
    "long number": saying(answer_bytes(200, {"instance": "a", "energy_joules": {"g": 10**4000}})),
    "500": saying(answer_bytes(500, {"detail": "broken"})),
    "404": saying(answer_bytes(404)),
    "422": saying(answer_bytes(422, {"detail": "gpus: no GPU 'GPU-1' on this node"})),
    "redirect": saying(answer_bytes(302, Location="http://127.0.0.1:1/")),
    "not http": saying(b"220 mail.example ESMTP\r\n\r\n"),
}


@pytest.fixture(autouse=True)
def _no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("JOULESTAT_DISABLED", raising=False)
    over.clear()
    yield
    over.set()
    assert eventually(lambda: client_threads() == [])


def train_for_a_while(url: str) -> float:
    """Train with every call there is; return how long ``finish`` took, s."""
    run = joulestat.init(run="r", gpus=["GPU-1"], url=url)
    deadline = time.monotonic() + 0.2
    steps = 0
    while time.monotonic() < deadline:
        with run.phase("train"):
            for _ in range(100):
                run.step(n_samples=1)
                steps += 1
        with run.phase("eval"):
            run.add(1)
    assert not run.flush(0.1)
    assert {} == run.energy_joules()
    assert {"version": 1, "energy_joules": {}} == run.state_dict()
    # A step takes a microsecond; ten thousand times less is still far from waiting.
    assert steps > 300
    start = time.monotonic()
    run.finish()
    return time.monotonic() - start


@pytest.mark.parametrize("fault", FAULTS)
def test_a_misbehaving_exporter_costs_the_training_nothing(
    fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    with ScriptedServer(FAULTS[fault]) as server:
        assert train_for_a_while(server.url) < 1.5
        over.set()
    assert "failed and was skipped" not in caplog.text  # what a swallowed exception would say


def test_an_absent_exporter_costs_the_training_nothing(tmp_path: Path) -> None:
    with ScriptedServer(hang) as server:
        refusing = server.url
    stale = tmp_path / "stale.sock"
    with ScriptedServer(hang, stale):
        pass
    for url in (refusing, f"unix:{tmp_path}/none.sock", f"unix:{stale}", f"unix:/{'x' * 200}"):
        assert train_for_a_while(url) < 1.5


def test_a_flush_soon_gives_up_on_an_exporter_that_is_known_to_hang() -> None:
    with ScriptedServer(hang) as server:
        run = joulestat.init(run="r", gpus=[0], url=server.url)
        assert not run.flush(timeout=0.01)
        assert eventually(lambda: run._outbox is not None and run._outbox.failing)
        start = time.monotonic()
        assert not run.flush(timeout=5)
        assert time.monotonic() - start < 1
        over.set()
        run.finish()


def test_an_exporter_that_comes_back_hears_of_every_phase_and_every_step() -> None:
    exporter = ScriptedExporter()
    with ScriptedServer(exporter) as first:
        run = joulestat.init(run="r", gpus=[0], url=first.url)
        assert run.flush()
    for phase, steps in (("train", 5), ("eval", 2), ("train", 3)):
        run.set_phase(phase)
        for _ in range(steps):
            run.step()
    assert not run.flush()
    with ScriptedServer(exporter, port=first.port):
        assert eventually(lambda: len(exporter.pushes) >= 5)
        run.finish()

    phases = [phase for phase, _ in groupby(push["phase"] for push in exporter.pushes)]
    assert ["other", "train", "eval", "train"] == phases
    steps_done = [
        sum(counts["steps"] for counts in push["totals"].values()) for push in exporter.pushes
    ]
    assert sorted(steps_done) == steps_done
    assert 10 == steps_done[-1]
    seqs = [push["seq"] for push in exporter.pushes]
    assert sorted(set(seqs)) == seqs


def test_an_exporter_that_starts_later_is_found() -> None:
    exporter = ScriptedExporter()
    with ScriptedServer(hang) as probe:
        port = probe.port
    run = joulestat.init(run="r", gpus=[0], url=f"http://127.0.0.1:{port}")
    run.set_phase("train")
    run.step()
    with ScriptedServer(exporter, port=port):
        assert eventually(lambda: exporter.pushes != [])
        run.finish()

    assert {"train": {"steps": 1, "samples": 0, "tokens": 0}} == exporter.pushes[-1]["totals"]


def test_threads_that_step_at_once_lose_no_step() -> None:
    exporter = ScriptedExporter()
    with ScriptedServer(exporter) as server:
        run = joulestat.init(run="r", gpus=[0], url=server.url)
        run.set_phase("train")
        threads = [
            threading.Thread(target=lambda: [run.step(1, 2) for _ in range(5000)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        run.finish()

    expected = {"train": {"steps": 20_000, "samples": 20_000, "tokens": 40_000}}
    assert expected == exporter.pushes[-1]["totals"]
