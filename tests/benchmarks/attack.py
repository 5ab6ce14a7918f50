"""Attack a running exporter, and prometheus_client's server beside it, and print what came of it.

Both have 256 file descriptors. ``python tests/benchmarks/attack.py``; takes about two minutes.
"""

import contextlib
import multiprocessing
import os
import platform
import resource
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from joulestat.client.admin import AdminClient
from joulestat.devices.world import Fault
from servers import attacks
from servers.exporter import Exporter
from servers.plain_exporter import plain_exporter

DESCRIPTORS = 256
ATTACKERS = 1000
SCRAPES = 1000
BURST = 400
GPUS = 8
EACH_KIND = 20
"""Connections of each kind that must be closed: together fewer than have room, so none is sent
away for another."""
GIVE_UP_SECONDS = 15.0
SCRAPE_SECONDS = 2.0
MOST_FAILURES = 10
"""After so many failed scrapes a server counts as silent; to wait for all would take an hour."""

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


T = TypeVar("T")


@dataclass(frozen=True)
class Target:
    """A server to attack."""

    address: tuple[str, int]
    pid: int


@contextlib.contextmanager
def ours() -> Iterator[tuple[Target, Exporter]]:
    """The exporter on simulated GPUs."""
    with tempfile.TemporaryDirectory() as folder:
        exporter = Exporter(Path(folder), gpus=GPUS)
        exporter.descriptors = DESCRIPTORS
        with exporter:
            assert exporter.process is not None
            yield Target(attacks.address_of(exporter.url), exporter.process.pid), exporter


@contextlib.contextmanager
def attackers(target: Target) -> Iterator[None]:
    """Hold a thousand half-open connections, from a process of their own."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(
        target=attacks.keep_open, args=(target.address, ATTACKERS), daemon=True
    )
    process.start()
    # Its time is not ours: an attacker has a machine of his own.
    os.setpriority(os.PRIO_PROCESS, process.pid or 0, 19)
    try:
        time.sleep(3.0)  # until all of them are there
        yield
    finally:
        process.kill()
        process.join()


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


def scrapes(target: Target) -> str:
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
        return f"none of {failed} answered"
    p99_ms = sorted(times)[int(0.99 * len(times))] * 1e3
    return (
        f"p99 {p99_ms:.1f} ms, median {statistics.median(times) * 1e3:.1f} ms, "
        f"{failed} of {len(times) + failed} failed"
    )


def held_open(target: Target) -> str:
    """Scrape while a thousand requests have been begun."""
    holding = []
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        for _ in range(ATTACKERS):
            connection = socket.create_connection(target.address, timeout=SCRAPE_SECONDS)
            holding.append(stack.enter_context(connection))
            connection.sendall(attacks.HALF_A_HEAD)
        stack.pop_all()
    told = scrapes(target)
    used = attacks.descriptors(target.pid)
    for connection in holding:
        connection.close()
    return f"{told}; {used} descriptors"


def reopened(target: Target) -> str:
    """Scrape while a thousand hold on, and come again as soon as they are sent away."""
    with attackers(target):
        return scrapes(target)


def closures(target: Target) -> Iterator[tuple[str, str]]:
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
        yield name, f"{len(times)} of {EACH_KIND} closed{last}"


def burst(target: Target) -> str:
    """Scrape 400 times at once."""
    began = time.monotonic()
    outcomes = attacks.burst(target.address, BURST)
    took = time.monotonic() - began
    return ", ".join(f"{n} x {what}" for what, n in sorted(outcomes.items())) + f"; {took:.1f} s"


def too_large(target: Target, pieces: list[bytes]) -> str:
    """Send it once to warm up, and ten times more; tell the status and how the memory grew."""
    with attacks.connect(target.address) as connection:
        attacks.status_after(connection, pieces)
    before_kib = attacks.resident_kib(target.pid)
    statuses = set()
    for _ in range(10):
        with attacks.connect(target.address) as connection:
            connection.settimeout(5)
            try:
                statuses.add(str(attacks.status_after(connection, pieces)[0] or "closed"))
            except TimeoutError:
                statuses.add("no answer")
    grown_mib = (attacks.resident_kib(target.pid) - before_kib) / 1024
    return f"{', '.join(sorted(statuses))}; {grown_mib:+.1f} MiB"


def panic(target: Target, exporter: Exporter) -> str:
    """Take a lease of every GPU, and give all back while a thousand hold on."""
    admin = AdminClient(f"unix:{exporter.admin_socket}", exporter.token)
    for gpu in exporter.world().uuids:
        admin.put_lease(
            gpu, power_limit_watts=200, ttl_seconds=600, holder="bench", reason="an attack"
        )
    with attackers(target):
        began = time.monotonic()
        admin.revert_all()
        took = time.monotonic() - began
    world = exporter.world()
    back = sum(world.limit_watts(gpu) == 300 for gpu in world.uuids)
    return f"{back} of {GPUS} back after {took:.2f} s"


def hung(target: Target, exporter: Exporter) -> str:
    """Scrape while no driver call comes back."""
    world = exporter.world()
    for gpu in world.uuids:
        world.set_fault(gpu, Fault.HANG)
    time.sleep(2.0)
    return scrapes(target)


def fresh_peer(attack: Callable[[Target], T]) -> T:
    """Attack a server of prometheus_client that nobody has attacked before."""
    with plain_exporter(DESCRIPTORS) as (address, pid):
        return attack(Target(address, pid))


def rows() -> Iterator[tuple[str, str, str, str]]:
    """Attack, one kind after the other; yield what, ours, theirs, target."""
    with ours() as (target, exporter):
        yield "scrapes, no attack", scrapes(target), fresh_peer(scrapes), ""
        named, goal = f"scrapes, {ATTACKERS} half-open", "p99 <= 100 ms, 0 failed"
        yield named, held_open(target), fresh_peer(held_open), goal
        yield f"{named}, reopened", reopened(target), fresh_peer(reopened), "0 failed"
        theirs = fresh_peer(lambda each: dict(closures(each)))
        for name, told in closures(target):
            yield f"never finished: {name}", told, theirs[name], "all within 10 s"
        yield f"{BURST} scrapes at once", burst(target), fresh_peer(burst), "200 or 503, no reset"
        for name, pieces in TOO_LARGE.items():

            def attack(each: Target, pieces: list[bytes] = pieces) -> str:
                return too_large(each, pieces)

            yield name, attack(target), fresh_peer(attack), "refused; <= +2 MiB"
        yield "revert-all over the Unix socket meanwhile", panic(target, exporter), "", "<= 2 s"
        yield "scrapes, all GPUs hang", hung(target, exporter), "", "p99 <= 50 ms, 0 failed"


def main() -> None:
    """Attack, then print the table."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    console = Console()
    if not console.is_terminal:
        console.width = 170
    table = Table(
        title=f"Python {platform.python_version()}, {os.cpu_count()} CPUs, "
        f"{DESCRIPTORS} descriptors each"
    )
    for column in ("attack", "joulestat", "prometheus_client", "target"):
        table.add_column(column)
    with console.status("attacking"):
        for row in rows():
            table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    main()
