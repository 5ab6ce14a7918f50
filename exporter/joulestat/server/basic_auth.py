"""Names and passwords of basic authentication, checked against bcrypt hashes."""

import asyncio
import base64
import binascii
import hashlib
import secrets
from collections.abc import Mapping
from enum import Enum

import bcrypt

LONGEST_HEADER_CHARACTERS = 1024
LONGEST_PASSWORD_BYTES = 72
"""bcrypt looks at no more, so that a longer password would be right with any ending."""

MOST_WAITING = 16
"""A check takes some 50 ms at the usual cost of 10; whoever is behind so many is told to wait."""

MOST_REMEMBERED = 100

# Of a password that nobody has: an unknown name takes as long as a known one.
_NOBODY = "$2b$10$7KNuO93gX5kLnyUKjpBLxOL5UbXfY4c.sHfnuIyrcVzZNsRpA0znq"


class Verdict(Enum):
    """What became of a check."""

    RIGHT = "right"
    WRONG = "wrong"
    BUSY = "busy"


class Passwords:
    """Checks names and passwords; of one event loop.

    One bcrypt at a time, on a worker thread, so that guessing takes one core and never the loop.
    What was found is remembered, right and wrong apart: guesses cannot make it forget the one
    password that every scrape comes with.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._key = secrets.token_bytes(32)
        self._right: dict[bytes, None] = {}
        self._wrong: dict[bytes, None] = {}

    async def check(self, users: Mapping[str, str], authorization: str) -> Verdict:
        """Judge a header ``Authorization``.

        Args:
            users: bcrypt hashes by name.
            authorization: As it came; empty for none.
        """
        given = _credentials(authorization)
        if given is None:
            return Verdict.WRONG
        name, password = given
        hashed = users.get(name, _NOBODY)
        entry = self._entry(name.encode(), hashed.encode(), password)
        if entry in self._right:
            return Verdict.RIGHT
        if entry in self._wrong:
            return Verdict.WRONG
        if self._waiting >= MOST_WAITING:
            return Verdict.BUSY
        self._waiting += 1
        try:
            async with self._turn:
                fits = await asyncio.to_thread(_fits, password, hashed)
        finally:
            self._waiting -= 1
        right = fits and name in users
        _remember(self._right if right else self._wrong, entry)
        return Verdict.RIGHT if right else Verdict.WRONG

    def _entry(self, *parts: bytes) -> bytes:
        """Return what a check is remembered by: under a key, since it has the password in it."""
        digest = hashlib.blake2b(key=self._key)
        for part in parts:
            digest.update(len(part).to_bytes(8, "big") + part)
        return digest.digest()


def _remember(entries: dict[bytes, None], entry: bytes) -> None:
    entries[entry] = None
    if len(entries) > MOST_REMEMBERED:
        del entries[next(iter(entries))]


def _fits(password: bytes, hashed: str) -> bool:
    try:
        fits = bcrypt.checkpw(password[:LONGEST_PASSWORD_BYTES], hashed.encode())
    except ValueError:
        return False
    return fits and len(password) <= LONGEST_PASSWORD_BYTES


def _credentials(authorization: str) -> tuple[str, bytes] | None:
    """Return name and password of a header, None for what is no basic authentication.

    Source:
        RFC 7617; the name ends at the first colon.
    """
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic" or len(authorization) > LONGEST_HEADER_CHARACTERS:
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (name.decode(), password) if colon else None
    except (binascii.Error, ValueError):
        return None
