"""What becomes of files on a disk: bytes change, ends go missing, something else lies there."""

import os
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

Mutation = Callable[[Path, random.Random], None]


def flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(chance.choice([1, 1, 1, 8])):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def cut(path: Path, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(path.stat().st_size))


def empty(path: Path, _: random.Random) -> None:
    os.truncate(path, 0)


def garbage(path: Path, chance: random.Random) -> None:
    path.write_bytes(chance.randbytes(chance.randrange(1, 20_000)))


def zeros(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    start = chance.randrange(len(content))
    content[start : start + 512] = bytes(len(content[start : start + 512]))
    path.write_bytes(content)


def newer(path: Path, _: random.Random) -> None:
    if path.suffix == ".sqlite":
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA user_version=99")
    else:
        path.write_bytes(b"version 3\n")


def gone(path: Path, _: random.Random) -> None:
    path.unlink()


def folder(path: Path, _: random.Random) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path, _: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def link(path: Path, _: random.Random) -> None:
    elsewhere = path.rename(path.with_name(f"elsewhere-{path.name}"))
    path.symlink_to(elsewhere)


def anybodys(path: Path, _: random.Random) -> None:
    path.chmod(0o666)


def somebody_elses(path: Path, _: random.Random) -> None:
    if os.geteuid() == 0:
        os.chown(path, 12_345, -1)
    else:
        path.chmod(0o666)


KINDS: tuple[Mutation, ...] = (
    *(flip, flip, flip, cut, empty, garbage, zeros, newer),
    *(gone, folder, pipe, link, anybodys, somebody_elses),
)
