"""The exporter as a process with few descriptors, while somebody wants it to fall silent."""

import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from joulestat.client.admin import AdminClient
from servers.attacks import (
    SCRAPE,
    address_of,
    answered,
    burst,
    connect,
    descriptors,
    held,
    resident_kib,
    status_after,
)
from servers.exporter import Exporter

DESCRIPTORS = 256
USUAL_DESCRIPTORS = 1024
"""The kernel's default, and the systemd units'."""

ATTACKERS = 300
SCRAPES = 400
KEPT_BACK = 64
"""Descriptors that must still be free: for a database that is opened, a driver, an audit log."""

GROWTH_KIB = 4096
"""The memory of the process breathes by some hundred KiB; an attack would take all there is."""

PUSH = (
    b"POST /v1/push HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\n"
)
RESET_AT_THE_END = struct.pack("ii", 1, 0)


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    folder = tmp_path_factory.mktemp("attacked")
    running = Exporter(folder, "--web.listen-address", f"unix:{folder / 'push.sock'}")
    running.descriptors = DESCRIPTORS
    with running:
        yield running


@pytest.fixture
def address(exporter: Exporter) -> tuple[str, int]:
    return address_of(exporter.url)


def pid_of(exporter: Exporter) -> int:
    assert exporter.process is not None
    return exporter.process.pid


@pytest.mark.promise("half-open")
@pytest.mark.parametrize(
    "begun",
    [b"", b"GET /met", PUSH + b"Content-Length: 100\r\n\r\n{", PUSH + b"Expect: 100-continue\r\n"],
    ids=["nothing", "half a head", "half a body", "half a head of a push"],
)
def test_whoever_scrapes_or_leases_is_served_while_others_hold_the_server(
    exporter: Exporter, address: tuple[str, int], begun: bytes
) -> None:
    admin = AdminClient(f"unix:{exporter.admin_socket}", exporter.token)

    with held(address, ATTACKERS, begun):
        assert [200] * 20 == [answered(address, SCRAPE)[0] for _ in range(20)]
        assert 2 == len(admin.gpus())
        assert descriptors(pid_of(exporter)) < DESCRIPTORS - KEPT_BACK


@pytest.mark.promise("half-open")
def test_a_unix_socket_that_is_held_is_open_to_others_too(
    exporter: Exporter, address: tuple[str, int]
) -> None:
    path = str(exporter.folder / "push.sock")

    with held(path, ATTACKERS):
        assert [200] * 5 == [answered(path, SCRAPE)[0] for _ in range(5)]
        assert 200 == answered(address, SCRAPE)[0]
        assert descriptors(pid_of(exporter)) < DESCRIPTORS - KEPT_BACK


@pytest.mark.promise("burst")
def test_of_very_many_scrapes_at_once_none_is_reset(tmp_path: Path) -> None:
    roomy = Exporter(tmp_path)
    roomy.descriptors = USUAL_DESCRIPTORS
    with roomy:
        outcomes = burst(address_of(roomy.url), SCRAPES)

    assert SCRAPES == outcomes["200"] + outcomes["503 Retry-After"], outcomes
    assert outcomes["200"] > 0


def test_where_descriptors_are_few_very_many_scrapes_at_once_leave_it_answering(
    address: tuple[str, int],
) -> None:
    # Who is sent away before its request has arrived may see a reset after its 503.
    outcomes = burst(address, SCRAPES)

    assert outcomes["200"] > 0
    assert 200 == answered(address, SCRAPE)[0]


@pytest.mark.promise("oversized")
@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (SCRAPE.replace(b"Host", b"X: " + b"x" * 9000 + b"\r\nHost"), 431),
        (SCRAPE.replace(b"Host", b"a:b\r\n" * 10_000 + b"Host"), 431),
        (SCRAPE.replace(b"Host", b"X: " + b"x" * 1_000_000 + b"\r\nHost"), 431),
        (PUSH + b"Content-Length: 1073741824\r\n\r\n" + b"a" * 1_000_000, 413),
        (PUSH + b"Content-Length: 16385\r\n\r\n", 413),
        (PUSH + b"Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + b"\x1f\x8b" * 10, 415),
    ],
    ids=["9 KB header", "10,000 headers", "1 MB header", "1 GiB body", "16 KiB + 1", "gzip"],
)
def test_what_is_too_large_is_refused_before_it_is_read(
    exporter: Exporter, address: tuple[str, int], request_bytes: bytes, status: int
) -> None:
    answered(address, request_bytes)  # what the first one costs for ever is no leak
    before_kib = resident_kib(pid_of(exporter))

    assert [status] * 20 == [answered(address, request_bytes)[0] for _ in range(20)]
    assert resident_kib(pid_of(exporter)) - before_kib < GROWTH_KIB


@pytest.mark.promise("oversized")
@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (PUSH + b"Transfer-Encoding: chunked\r\n\r\n", b"ffff\r\n" + b"a" * 0xFFFF + b"\r\n"),
        (PUSH + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"a" * 65536),
        (SCRAPE[:-2] + b"X: ", b"a" * 65536),
        (b"", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000),
    ],
    ids=["chunks", "a trailer", "a header", "requests"],
)
def test_what_never_ends_is_cut_off_and_fills_no_memory(
    exporter: Exporter, address: tuple[str, int], head: bytes, piece: bytes
) -> None:
    endless = [head] + [piece] * 1000
    with connect(address) as connection:
        status_after(connection, endless)
    before_kib = resident_kib(pid_of(exporter))

    for _ in range(5):
        with connect(address) as connection:
            status_after(connection, endless)

    assert resident_kib(pid_of(exporter)) - before_kib < GROWTH_KIB
    assert 200 == answered(address, SCRAPE)[0]


@pytest.mark.promise("half-open")
def test_connections_that_are_reset_leave_nothing_behind(
    exporter: Exporter, address: tuple[str, int]
) -> None:
    for _ in range(ATTACKERS):
        connection = connect(address)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_THE_END)
        connection.sendall(SCRAPE)
        connection.close()

    assert 200 == answered(address, SCRAPE)[0]
    deadline = time.monotonic() + 30
    while descriptors(pid_of(exporter)) >= KEPT_BACK:
        assert time.monotonic() < deadline, "connections that are gone hold their descriptors"
        time.sleep(0.02)


def test_no_attack_was_worth_a_line_in_the_log(exporter: Exporter) -> None:
    # Last, after all of them. A line for each request would fill the disk.
    assert [] == [
        line
        for line in exporter.log.read_text().splitlines()
        if "logger=uvicorn" in line or "logger=asyncio" in line
    ]
