"""Kinds of settings: from the text that people write to a checked value.

One text form serves the file, the environment and the flags alike. A parser raises
``ValueError``; its text, where there is one, is a hint to print beside what is allowed.
"""

import difflib
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Generic, TypeVar

from joulestat.config.address import ListenAddress

T_co = TypeVar("T_co", covariant=True)

_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_UNIT_SECONDS = {
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86_400),
}
_SIZE = re.compile(r"([0-9]{1,15})(|KiB|MiB|GiB|TiB)")
_UNIT_BYTES = {"": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_BOOLEANS = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kind(Generic[T_co]):
    """One kind of setting.

    Attributes:
        name: One word for the documentation and for the command line.
        allowed: What may be written, for people.
        parse: Text to value; raises ValueError.
        repeatable: Whether several values, separated by commas, may be given.
    """

    name: str
    allowed: str
    parse: Callable[[str], T_co]
    repeatable: bool = False


def nearest(wrong: str, right: Iterable[str]) -> str:
    """Return ``did you mean ...?`` for a misspelled word, or nothing where none is near."""
    close = difflib.get_close_matches(wrong, list(right), n=1)
    return f"did you mean {close[0]}?" if close else ""


def duration(shortest_seconds: float, longest_seconds: float) -> Kind[float]:
    """Seconds, written as ``100ms``, ``1h30m`` or a plain number of seconds."""
    allowed = (
        f"a duration from {duration_text(shortest_seconds)} to {duration_text(longest_seconds)} "
        "in ms, s, m, h or d"
    )

    def parse(text: str) -> float:
        return _within(_seconds(text), shortest_seconds, longest_seconds)

    return Kind("duration", allowed, parse)


def _seconds(text: str) -> float:
    if _NUMBER.fullmatch(text):
        return float(text)
    if not _DURATION.fullmatch(text):
        raise ValueError
    parts = _DURATION_PART.findall(text)
    # Fractions, because 100 * 0.001 style rounding would show in 70ms and its kin.
    return float(sum(Fraction(number) * _UNIT_SECONDS[unit] for number, unit in parts))


def duration_text(seconds: float) -> str:
    """Return a duration as people write it: ``20ms``, ``15m``, ``6h``."""
    for unit in ("d", "h", "m", "s"):
        count = Fraction(seconds) / _UNIT_SECONDS[unit]
        if count >= 1 and count.denominator == 1:
            return f"{count}{unit}"
    return f"{seconds * 1000:g}ms" if seconds else "0s"


def size(lowest_bytes: int, highest_bytes: int) -> Kind[int]:
    """Bytes, written as ``512MiB``, ``1GiB`` or a plain number of bytes."""
    allowed = (
        f"a size from {size_text(lowest_bytes)} to {size_text(highest_bytes)} in KiB, MiB, GiB or "
        "TiB, or a whole number of bytes"
    )

    def parse(text: str) -> int:
        found = _SIZE.fullmatch(text)
        if found is None:
            raise ValueError
        return int(_within(int(found[1]) * _UNIT_BYTES[found[2]], lowest_bytes, highest_bytes))

    return Kind("size", allowed, parse)


def size_text(size_bytes: int) -> str:
    """Return a size as people write it: ``1GiB``, ``1536MiB``, ``1000``."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size_bytes and size_bytes % _UNIT_BYTES[unit] == 0:
            return f"{size_bytes // _UNIT_BYTES[unit]}{unit}"
    return str(size_bytes)


def integer(lowest: int, highest: int) -> Kind[int]:
    """A whole number within bounds."""

    def parse(text: str) -> int:
        if not _INTEGER.fullmatch(text):
            raise ValueError
        return int(_within(int(text), lowest, highest))

    return Kind("integer", f"a whole number from {lowest} to {highest}", parse)


def number(lowest: float, highest: float = math.inf) -> Kind[float]:
    """A finite number within bounds."""
    above = f"from {lowest:g} to {highest:g}" if math.isfinite(highest) else f"{lowest:g} or more"

    def parse(text: str) -> float:
        if not _NUMBER.fullmatch(text):
            raise ValueError
        value = float(text)
        if not math.isfinite(value):
            raise ValueError
        return _within(value, lowest, highest)

    return Kind("number", f"a number, {above}", parse)


def _within(value: float, lowest: float, highest: float) -> float:
    if not lowest <= value <= highest:
        raise ValueError
    return value


def boolean() -> Kind[bool]:
    """Yes or no."""

    def parse(text: str) -> bool:
        if text.lower() not in _BOOLEANS:
            raise ValueError
        return _BOOLEANS[text.lower()]

    return Kind("boolean", "true or false", parse)


def choice(*names: str) -> Kind[str]:
    """One of a few words."""

    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(nearest(text, names))
        return text

    return Kind("choice", " | ".join(names), parse)


def word(pattern: str, allowed: str) -> Kind[str]:
    """Text that matches a pattern as a whole."""
    matcher = re.compile(pattern)

    def parse(text: str) -> str:
        if not matcher.fullmatch(text):
            raise ValueError
        return text

    return Kind("text", allowed, parse)


def path() -> Kind[Path]:
    """A path; the loader has expanded ``~`` and anchored it before it comes here."""

    def parse(text: str) -> Path:
        if not text or "\0" in text:
            raise ValueError
        return Path(text)

    return Kind("path", "a path; ~/ is the home folder", parse)


def addresses() -> Kind[tuple[ListenAddress, ...]]:
    """One or more addresses to listen on."""

    def parse(text: str) -> tuple[ListenAddress, ...]:
        found = tuple(ListenAddress.parse(part.strip()) for part in text.split(","))
        if len(set(found)) < len(found):
            raise ValueError("the same address twice")
        return found

    allowed = "HOST:PORT, :PORT for every interface, [IPV6]:PORT or unix:/PATH"
    return Kind("address", allowed, parse, repeatable=True)


def address() -> Kind[ListenAddress]:
    """One address to listen on."""
    allowed = "unix:/PATH, HOST:PORT, :PORT for every interface or [IPV6]:PORT"
    return Kind("address", allowed, ListenAddress.parse)
