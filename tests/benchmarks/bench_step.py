"""What a training step pays for being counted, with the client's thread live beside it."""

import json
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator

from measure import Row

import joulestat
from fakes.scripted_server import Received, ScriptedServer, answer_bytes

CALLS = 100_000
ROUNDS = 11


def rows() -> Iterator[Row]:
    """Measure a step, a phase, the bare clock and the thread's own work."""
    with ScriptedServer(_answer) as server:
        run = joulestat.init(run="bench", gpus=["GPU-1"], url=server.url)
        run.set_phase("train")

        def step() -> None:
            run.step(n_samples=32, n_tokens=65_536)

        def phase() -> None:
            with run.phase("eval"):
                pass

        yield Row("time.monotonic_ns(), for scale", _median_ns(time.monotonic_ns), "ns")
        yield Row("an empty Python function, for scale", _median_ns(lambda: None), "ns")
        yield Row("run.step(n_samples=, n_tokens=)", _median_ns(step), "ns", 1_000)
        yield Row("with run.phase(): two changes", _median_ns(phase, calls=5_000), "ns")
        yield Row("the thread's CPU per push", _push_cpu_us(run), "us", 1_000)
        run.finish()


def _median_ns(work: Callable[[], object], *, calls: int = CALLS) -> float:
    """Return the wall time of one call in ns, loop included: the median of eleven rounds."""
    rounds = []
    for _ in range(ROUNDS):
        start = time.perf_counter_ns()
        for _ in range(calls):
            work()
        rounds.append((time.perf_counter_ns() - start) / calls)
    return statistics.median(rounds)


def _push_cpu_us(run: joulestat.Run, pushes: int = 200) -> float:
    """Return the CPU time of the client's thread per push, us; asked for one after the other."""
    thread = next(thread for thread in threading.enumerate() if thread.name == "joulestat")
    clock_id = time.pthread_getcpuclockid(thread.ident or 0)
    start = time.clock_gettime(clock_id)
    for _ in range(pushes):
        run.flush()
    return (time.clock_gettime(clock_id) - start) / pushes * 1e6


def _answer(request: Received, _: socket.socket) -> bytes:
    seq = json.loads(request.body)["seq"]
    answer = {
        "accepted": True,
        "seq": seq,
        "instance": "bench",
        "energy_joules": {"GPU-1": float(seq)},
        "power_limit_watts": {"GPU-1": 250.0},
    }
    return answer_bytes(200, answer)


if __name__ == "__main__":
    for row in rows():
        print(f"{row.what:40} {row.value:10.0f} {row.unit}")
