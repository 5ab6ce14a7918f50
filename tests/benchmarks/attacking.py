"""What ``attack.py`` does to a server, and what is told of each attack."""

import contextlib
import math
import multiprocessing
import os
import socket
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

from joulestat.client.admin import AdminClient
from joulestat.devices.world import Fault
from servers import attacks
from servers.exporter import Exporter

ATTACKERS = 1000
SCRAPES = 1000
BURST = 400
EACH_KIND = 20
"""Connections of each kind that must be closed: together fewer than have room, so none is sent
away for another."""
GIVE_UP_SECONDS = 15.0
CLOSED_SECONDS = 10.0
SCRAPE_SECONDS = 2.0
ARRIVAL_SECONDS = 3.0
MOST_FAILURES = 10
"""After so many failed scrapes a server counts as silent; to wait for all would take an hour."""
REPEATS = 10

ATTACKED_MS = 100.0
HUNG_MS = 50.0
PANIC_SECONDS = 2.0
MOST_GROWN_MIB = 2.0
"""What is promised."""

PUSH = (
    b"POST /v1/push HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Connection: close\r\n"
)
CHUNKED = PUSH + b"Transfer-Encoding: chunked\r\n\r\n"
NEVER_FINISHED = {
    "nothing sent": (b"", b""),
    "half a head": (attacks.HALF_A_HEAD, b""),
    "a head, byte by byte": (attacks.HALF_A_HEAD + b"X: ", b"x"),
    "half a body": (PUSH + b"Content-Length: 1000\r\n\r\n{", b""),
    "a body, byte by byte": (PUSH + b"Content-Length: 1000\r\n\r\n{", b" "),
}
TOO_LARGE = {
    "9 KB header": [attacks.SCRAPE.replace(b"Host", b"X: " + b"x" * 9000 + b"\r\nHost")],
    "10,000 headers": [attacks.SCRAPE.replace(b"Host", b"a:b\r\n" * 10_000 + b"Host")],
    "body of 1 GiB": [PUSH + b"Content-Length: 1073741824\r\n\r\n", *[b"a" * 65536] * 1000],
    "endless chunks": [CHUNKED, *[b"ffff\r\n" + b"a" * 0xFFFF + b"\r\n"] * 1000],
    "endless trailer": [CHUNKED + b"0\r\nX: ", *[b"a" * 65536] * 1000],
    "gzip": [PUSH + b"Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + b"\x1f\x8b" * 10],
    "500,000 requests ahead": [b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 500] * 1000,
}
REFUSALS = {"400", "413", "415", "431", "503"}
GIVEN_UP = "closed"
"""What is told of a peer that was sent away without a word."""


@dataclass(frozen=True)
class Target:
    """A server to attack."""

    address: tuple[str, int]
    pid: int


@dataclass(frozen=True)
class Told:
    """What came of one attack.

    Attributes:
        text: The figures.
        kept: Whether they are within what is promised of our server.
        worst: By which attacks of one kind are compared, s or MiB.
    """

    text: str
    kept: bool
    worst: float = 0.0


@contextlib.contextmanager
def reopening(target: Target) -> Iterator[None]:
    """Hold a thousand half-open connections from a process of their own, again and again."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(
        target=attacks.keep_open, args=(target.address, ATTACKERS), daemon=True
    )
    process.start()
    # Its time is not ours: an attacker has a machine of his own.
    os.setpriority(os.PRIO_PROCESS, process.pid or 0, 19)
    try:
        time.sleep(ARRIVAL_SECONDS)  # until all of them are there
        yield
    finally:
        process.kill()
        process.join()


@contextlib.contextmanager
def holding(target: Target) -> Iterator[int]:
    """Begin a thousand requests, or as many as the server takes, and hold on to all of them.

    Yields:
        How many.
    """
    with contextlib.ExitStack() as stack:
        count = 0
        with contextlib.suppress(OSError):  # it is full: nobody else is let in either
            while count < ATTACKERS:
                connection = socket.create_connection(target.address, timeout=SCRAPE_SECONDS)
                stack.enter_context(connection).sendall(attacks.HALF_A_HEAD)
                count += 1
        yield count


def scrape_seconds(target: Target) -> float | None:
    """Return how long a scrape took, s; None if it failed."""
    began = time.perf_counter()
    try:
        with socket.create_connection(target.address, timeout=SCRAPE_SECONDS) as connection:
            connection.settimeout(SCRAPE_SECONDS)
            connection.sendall(attacks.SCRAPE)
            answer = b""
            while some := connection.recv(65536):
                answer += some
    except OSError:
        return None
    took = time.perf_counter() - began
    return took if answer.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")) else None


def scrapes(target: Target, most_ms: float = ATTACKED_MS) -> Told:
    """Scrape a thousand times, one after the other."""
    times: list[float] = []
    failed = 0
    while len(times) + failed < SCRAPES and failed < MOST_FAILURES:
        took = scrape_seconds(target)
        if took is None:
            failed += 1
        else:
            times.append(took)
    if not times:
        return Told(f"none of {failed} answered", kept=False)
    p99_ms = sorted(times)[int(0.99 * len(times))] * 1e3
    text = (
        f"p99 {p99_ms:.1f} ms, median {statistics.median(times) * 1e3:.1f} ms, "
        f"{failed} of {len(times) + failed} failed"
    )
    return Told(text, kept=failed == 0 and p99_ms <= most_ms)


def held_open(target: Target) -> Told:
    """Scrape while a thousand requests have been begun."""
    with holding(target) as count:
        told = scrapes(target)
        used = attacks.descriptors(target.pid)
    held = "" if count == ATTACKERS else f", full after {count}"
    return Told(f"{told.text}; {used} descriptors{held}", told.kept)


def reopened(target: Target) -> Told:
    """Scrape while a thousand hold on, and come again as soon as they are sent away."""
    with reopening(target):
        return scrapes(target, math.inf)


def closures(target: Target) -> Iterator[tuple[str, Told]]:
    """Leave requests unfinished in every way, all at once; tell when they were closed."""
    closed: dict[str, list[float]] = {name: [] for name in NEVER_FINISHED}
    with contextlib.ExitStack() as stack:
        left = [
            (name, connection)
            for name, (begun, _) in NEVER_FINISHED.items()
            for connection in stack.enter_context(attacks.held(target.address, EACH_KIND, begun))
        ]
        began = time.monotonic()
        while left and time.monotonic() - began < GIVE_UP_SECONDS:
            for name, connection in tuple(left):
                if attacks.is_over(connection):
                    left.remove((name, connection))
                    closed[name].append(time.monotonic() - began)
                    continue
                with contextlib.suppress(OSError):
                    connection.send(NEVER_FINISHED[name][1])
            time.sleep(0.2)
    for name, times in closed.items():
        last = f", the last after {max(times):.1f} s" if times else ""
        kept = len(times) == EACH_KIND and max(times) <= CLOSED_SECONDS
        worst = max(times) if len(times) == EACH_KIND else math.inf
        yield name, Told(f"{len(times)} of {EACH_KIND} closed{last}", kept, worst)


def burst(target: Target) -> Told:
    """Scrape 400 times at once."""
    began = time.monotonic()
    outcomes = attacks.burst(target.address, BURST)
    took = time.monotonic() - began
    text = ", ".join(f"{n} x {what}" for what, n in sorted(outcomes.items())) + f"; {took:.1f} s"
    return Told(text, kept=BURST == outcomes["200"] + outcomes["503 Retry-After"])


def too_large(target: Target, pieces: list[bytes]) -> Told:
    """Send it once to warm up, and ten times more; tell the status and how the memory grew."""
    with attacks.connect(target.address) as connection:
        attacks.status_after(connection, pieces)
    before_kib = attacks.resident_kib(target.pid)
    statuses = set()
    for _ in range(REPEATS):
        with attacks.connect(target.address) as connection:
            connection.settimeout(5)
            try:
                statuses.add(str(attacks.status_after(connection, pieces)[0] or GIVEN_UP))
            except TimeoutError:
                statuses.add("no answer")
    grown_mib = (attacks.resident_kib(target.pid) - before_kib) / 1024
    text = f"{', '.join(sorted(statuses))}; {grown_mib:+.1f} MiB"
    kept = statuses <= REFUSALS | {GIVEN_UP} and grown_mib <= MOST_GROWN_MIB
    return Told(text, kept, grown_mib)


def panic(target: Target, exporter: Exporter) -> Told:
    """Take a lease of every GPU, and give all back while a thousand hold on."""
    admin = AdminClient(f"unix:{exporter.admin_socket}", exporter.token)
    for gpu in exporter.world().uuids:
        admin.put_lease(
            gpu, power_limit_watts=200, ttl_seconds=600, holder="bench", reason="an attack"
        )
    with reopening(target):
        began = time.monotonic()
        admin.revert_all()
        took = time.monotonic() - began
    world = exporter.world()
    back = sum(world.limit_watts(gpu) == 300 for gpu in world.uuids)
    kept = back == exporter.gpus and took <= PANIC_SECONDS
    return Told(f"{back} of {exporter.gpus} back after {took:.2f} s", kept)


def hung(target: Target, exporter: Exporter) -> Told:
    """Scrape while no driver call comes back."""
    world = exporter.world()
    for gpu in world.uuids:
        world.set_fault(gpu, Fault.HANG)
    time.sleep(2.0)
    return scrapes(target, HUNG_MS)
