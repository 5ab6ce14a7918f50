"""What a training pays for being counted: per step, per second, per push, at start and at end."""

import json
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

from measure import Row

import joulestat
from fakes.scripted_server import Received, ScriptedServer, answer_bytes

CALLS = 100_000
ROUNDS = 11
SECONDS_AT_1_HZ = 15.0
GPU = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"
LABELS = {"job": "llama-ft", "user": "kim", "team": "nlp", "framework": "transformers"}


def rows() -> Iterator[Row]:
    """Measure a step, a phase, the bare clock, the thread's own work, and what goes to and fro."""
    yield Row("import joulestat, CPU", _import_ms(), "ms", 50)
    with ScriptedServer(_answer) as server:
        run = joulestat.init(run="llama-ft-42", gpus=[GPU], url=server.url, **LABELS)
        run.set_phase("train")

        def step() -> None:
            run.step(n_samples=32, n_tokens=65_536)

        def phase() -> None:
            with run.phase("eval"):
                pass

        yield Row("time.monotonic_ns(), for scale, CPU", _median_ns(time.monotonic_ns), "ns")
        yield Row("an empty Python function, for scale, CPU", _median_ns(lambda: None), "ns")
        yield Row("run.step(n_samples=, n_tokens=), CPU", _median_ns(step), "ns", 1_000)
        yield Row("with run.phase(): two changes, CPU", _median_ns(phase, calls=5_000), "ns")
        yield Row("the thread's CPU per push", _push_cpu_us(run), "us", 1_000)
        per_second_us = _second_cpu_us(run, step)
        yield Row("the thread's CPU at 1 push a second", per_second_us / 1e4, "% of a core", 0.1)
        run.finish()
        last = server.received[-1]
        yield Row("a push, JSON", len(last.body), "bytes", 1_024)
        yield Row("a push with its HTTP head", len(last.body) + _head_bytes(last), "bytes")
        yield Row("the answer with its head", len(_answer(last)), "bytes")


def _median_ns(work: Callable[[], object], *, calls: int = CALLS) -> float:
    """Return the CPU time of one call in ns, loop included: the median of eleven rounds.

    Not the wall's: on a busy machine that is mostly the others'.
    """
    rounds = []
    for _ in range(ROUNDS):
        start = time.thread_time_ns()
        for _ in range(calls):
            work()
        rounds.append((time.thread_time_ns() - start) / calls)
    return statistics.median(rounds)


def _push_cpu_us(run: joulestat.Run, pushes: int = 200) -> float:
    """Return the CPU time of the client's thread per push, us; asked for one after the other."""
    thread = next(thread for thread in threading.enumerate() if thread.name == "joulestat")
    clock_id = time.pthread_getcpuclockid(thread.ident or 0)
    start = time.clock_gettime(clock_id)
    for _ in range(pushes):
        run.flush()
    return (time.clock_gettime(clock_id) - start) / pushes * 1e6


def _second_cpu_us(run: joulestat.Run, step: Callable[[], None]) -> float:
    """Return the CPU time of the client's thread per second of a training, us.

    The training steps a hundred times a second, and mostly waits.
    """
    thread = next(thread for thread in threading.enumerate() if thread.name == "joulestat")
    clock_id = time.pthread_getcpuclockid(thread.ident or 0)
    start, begin = time.clock_gettime(clock_id), time.monotonic()
    while (seconds := time.monotonic() - begin) < SECONDS_AT_1_HZ:
        step()
        time.sleep(0.01)
    return (time.clock_gettime(clock_id) - start) / seconds * 1e6


def _import_ms() -> float:
    """Return the CPU time of ``import joulestat``, ms: the least of five processes.

    On top of those modules of the standard library that training code has loaded before.
    """
    program = (
        "import dataclasses, inspect, json, logging, socket, threading, time, typing; "
        "start = time.process_time(); import joulestat; "
        "print(time.process_time() - start)"
    )
    command = [sys.executable, "-c", program]
    times = [subprocess.run(command, capture_output=True, check=True).stdout for _ in range(5)]
    return min(map(float, times)) * 1e3


def _head_bytes(request: Received) -> int:
    line = len(f"{request.method} {request.path} HTTP/1.1\r\n")
    return line + sum(len(name) + len(value) + 4 for name, value in request.headers.items()) + 2


def _answer(request: Received, _: socket.socket | None = None) -> bytes:
    seq = json.loads(request.body)["seq"]
    answer = {
        "accepted": True,
        "seq": seq,
        "instance": "bench",
        "energy_joules": {GPU: 81_234.567891},
        "power_limit_watts": {GPU: 250.0},
    }
    return answer_bytes(200, answer)


if __name__ == "__main__":
    for row in rows():
        print(f"{row.what:40} {row.value:10.0f} {row.unit}")
