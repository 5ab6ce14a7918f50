"""A run of months pushes millions of times: whatever is answered, nothing piles up."""

import gc
import socket
import tracemalloc
from collections.abc import Callable

import pytest

from fakes.client_desk import a_desk
from fakes.scripted_server import Received, answer_bytes
from joulestat.client.transport import BODY_LIMIT_BYTES
from joulestat.domain.run import Phase

Script = Callable[[Received, socket.socket], bytes | None]

WARM_UP = 200
PUSHES = 600
LEAST_GROWTH_BYTES = 32 * 1024
"""55 bytes a push: an object that stayed with each would be more."""


def taken(request: Received, _: socket.socket) -> bytes:
    seq = request.json["seq"]
    energy_joules = {f"GPU-{gpu}": 1.5 * seq for gpu in range(8)}
    answer = {"accepted": True, "seq": seq, "instance": "i", "energy_joules": energy_joules}
    return answer_bytes(200, answer)


def restarted(request: Received, _: socket.socket) -> bytes:
    """Answer as an exporter that forgets everything between any two pushes."""
    answer = {"instance": f"i{request.json['seq']}", "energy_joules": {"GPU-1": 1.0}}
    return answer_bytes(200, answer)


def garbage(_: Received, __: socket.socket) -> bytes:
    return b"\x16\x03\x01\x02\x00" * 40 + b"\r\n\r\n"


def refused(_: Received, __: socket.socket) -> bytes:
    return answer_bytes(422, {"detail": "no GPU of that name"})


def broken(_: Received, __: socket.socket) -> bytes:
    return answer_bytes(500)


def closing(_: Received, __: socket.socket) -> None:
    return


@pytest.mark.parametrize("script", [taken, restarted, garbage, refused, broken, closing])
def test_no_number_of_pushes_takes_more_memory(script: Script) -> None:
    with a_desk() as desk:
        desk.server.script = script
        desk.server.received = Forgetful()

        def push(times: int) -> None:
            for number in range(times):
                desk.tally.step(1, 1)
                desk.tally.change_phase(Phase.EVAL if number % 2 else Phase.TRAIN)
                desk.wait_and_turn(31)  # longer than any back-off

        push(WARM_UP)
        grown_bytes = _growth_bytes(lambda: push(PUSHES))

    assert grown_bytes < LEAST_GROWTH_BYTES


def test_steps_that_nobody_hears_of_take_no_memory() -> None:
    with a_desk() as desk:
        desk.tally.step(1, 1)

        def count() -> None:
            for _ in range(3_000):
                desk.tally.step(1, 1)
                desk.tally.change_phase(Phase.EVAL)
                desk.tally.change_phase(Phase.TRAIN)

        count()
        assert _growth_bytes(count) < LEAST_GROWTH_BYTES


def test_an_answer_without_end_is_not_kept() -> None:
    chunk = b"x" * 65_536

    def endless(_: Received, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(1024):  # 64 MiB
            connection.sendall(chunk)

    with a_desk() as desk:
        desk.server.script = endless
        tracemalloc.start()
        desk.outbox.turn()
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert desk.outbox.failing
    assert peak_bytes < 4 * BODY_LIMIT_BYTES


class Forgetful(list[Received]):
    """What the server notes of requests, for this test not to measure."""

    def append(self, _: Received) -> None:
        return


def _growth_bytes(work: Callable[[], None]) -> int:
    gc.collect()
    tracemalloc.start()
    before_bytes, _ = tracemalloc.get_traced_memory()
    work()
    gc.collect()
    after_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return after_bytes - before_bytes
