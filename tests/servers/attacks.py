"""What somebody does to a server who wants it to fall silent, and what came back."""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

Address = tuple[str, int] | str
"""Host and port, or the path of a Unix socket."""

HALF_A_HEAD = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
SCRAPE = HALF_A_HEAD + b"Connection: close\r\n\r\n"
PATIENCE_SECONDS = 60.0


def address_of(url: str) -> tuple[str, int]:
    """Return host and port of a server's URL."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    return host, int(port)


def connect(address: Address) -> socket.socket:
    """Open one connection."""
    if not isinstance(address, str):
        return socket.create_connection(address, timeout=PATIENCE_SECONDS)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE_SECONDS)
    connection.connect(address)
    return connection


@contextlib.contextmanager
def held(address: Address, count: int, begun: bytes = HALF_A_HEAD) -> Iterator[list[socket.socket]]:
    """Open connections, begin a request on each, and leave it at that."""
    with contextlib.ExitStack() as closing:
        holding = []
        for _ in range(count):
            connection = closing.enter_context(connect(address))
            with contextlib.suppress(ConnectionError):
                connection.sendall(begun)
            holding.append(connection)
        yield holding


def answered(address: Address, request: bytes) -> tuple[int, bytes]:
    """Send a request, all of it if the server lets us; return the status and the whole answer."""
    with connect(address) as connection:
        return status_after(connection, [request])


def status_after(connection: socket.socket, pieces: Sequence[bytes]) -> tuple[int, bytes]:
    """Send until the server has enough, and read its answer."""
    try:
        for piece in pieces:
            connection.sendall(piece)
    except ConnectionError:
        pass  # it has said why, or will be found not to have
    answer = b""
    with contextlib.suppress(ConnectionError):
        while some := connection.recv(65536):
            answer += some
    return int(answer.split(b" ", 2)[1]) if answer else 0, answer


def burst(address: tuple[str, int], count: int) -> Counter[str]:
    """Scrape so many times at once.

    Returns:
        How often each thing happened: ``200``, ``503 Retry-After``, another status, or the name
        of an error.
    """
    return asyncio.run(_burst(address, count))


async def _burst(address: tuple[str, int], count: int) -> Counter[str]:
    return Counter(await asyncio.gather(*(_outcome(address) for _ in range(count))))


async def _outcome(address: tuple[str, int]) -> str:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(SCRAPE)
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await (reader.readexactly(int(length)) if length else reader.read())
            writer.close()
    except (OSError, EOFError) as error:
        return type(error).__name__
    status = head.split(b" ", 2)[1].decode()
    return f"{status} Retry-After" if b"\r\nRetry-After: " in head else status


def is_over(connection: socket.socket) -> bool:
    """Tell whether the other end has closed; takes what has arrived."""
    connection.settimeout(0)
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def resident_kib(pid: int) -> int:
    """Return how much memory a process has in use, KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("this kernel does not tell resident memory")


def descriptors(pid: int) -> int:
    """Return how many files a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def keep_open(address: tuple[str, int], count: int) -> None:
    """Hold so many half-open connections, and open each anew as soon as it is closed. For ever.

    For a process of its own, so that it takes no time from whoever measures.
    """
    asyncio.run(_keep_open(address, count))


async def _keep_open(address: tuple[str, int], count: int) -> None:
    await asyncio.gather(*(_keep_one_open(address) for _ in range(count)))


async def _keep_one_open(address: tuple[str, int]) -> None:
    while True:
        try:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(HALF_A_HEAD)
            await reader.read()
            writer.close()
        except OSError:
            # As an attacker would, who has other things to do than to spin.
            await asyncio.sleep(0.1)
