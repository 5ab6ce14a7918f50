"""The hash chain of the audit log: one JSON object per line, each sealing the one before.

``{"seq":7,...,"prev_sha256":"<line 6>","sha256":"<this line without this member>"}``

The hash is over the very bytes of the line, so that no change escapes it, not even one that
leaves the JSON equal. The chain shows a changed, added, moved or missing line. A missing *last*
line leaves a perfect chain, so a small file beside the log (``.head``) names the last record.
Whoever can rewrite the whole log and its head can forge both: ship the lines elsewhere to be
safe against the host's root.
"""

import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

GENESIS_SHA256 = "0" * 64
"""What the first record of a log names as the one before it."""

MAX_BREAKS = 100
"""A report names this many breaks at most: one deleted line should not fill a screen."""

_SEAL = re.compile(rb',"sha256":"([0-9a-f]{64})"\}\n\Z')
_BISECT_STOP_BYTES = 65_536
_HEAD = ".head"
_COMPRESSED = {".bz2", ".gz", ".xz", ".zst"}


@dataclass(frozen=True, slots=True)
class Link:
    """One record of the log: its number, its hash and its members."""

    seq: int
    sha256: str
    members: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Head:
    """The last record that was written."""

    seq: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ChainCheck:
    """What verifying a log found.

    Attributes:
        records: Lines whose own hash is right.
        breaks: What is wrong, in order of line, for people; empty when all is well. No more than
            ``MAX_BREAKS``, and then a line that says how many more there are.
        last: The last such record.
    """

    records: int
    breaks: tuple[str, ...]
    last: Head

    @property
    def ok(self) -> bool:
        """Whether no line was changed, added, moved or removed."""
        return not self.breaks


def head_path(log_path: Path) -> Path:
    """Return where the number and hash of the last record are kept."""
    return log_path.with_name(log_path.name + _HEAD)


def seal(members: Mapping[str, object], before: Head) -> tuple[bytes, Head]:
    """Return the line of the record that follows ``before``, and its own number and hash."""
    seq = before.seq + 1
    body = json.dumps(
        {"seq": seq, **members, "prev_sha256": before.sha256},
        allow_nan=False,
        separators=(",", ":"),
    ).encode("ascii")
    sha256 = hashlib.sha256(body).hexdigest()
    return body[:-1] + b',"sha256":"' + sha256.encode("ascii") + b'"}\n', Head(seq, sha256)


def unseal(line: bytes) -> Link | None:
    """Return the record of a line, None where the line is not what was written."""
    found = _SEAL.search(line)
    if found is None:
        return None
    body = line[: found.start()] + b"}"
    sha256 = found[1].decode("ascii")
    if hashlib.sha256(body).hexdigest() != sha256:
        return None
    members = json.loads(body)
    match members:
        case {"seq": int(seq), "prev_sha256": str()}:
            return Link(seq, sha256, {**members, "sha256": sha256})
        case _:
            return None


def read_head(log_path: Path) -> Head | None:
    """Return the head beside a log, None where there is none.

    Raises:
        ValueError: It is not a number and a hash.
    """
    try:
        text = head_path(log_path).read_text("ascii")
    except FileNotFoundError:
        return None
    if not text:
        return None
    found = re.fullmatch(r"(\d{20}) ([0-9a-f]{64})\n", text)
    if found is None:
        raise ValueError(f"{head_path(log_path)} holds no record number and hash")
    return Head(int(found[1]), found[2])


def head_line(head: Head) -> bytes:
    """Return the fixed-width content of the head file: overwritten in place, never torn."""
    return f"{head.seq:020d} {head.sha256}\n".encode("ascii")


def verify(path: Path) -> ChainCheck:
    """Check a log from its first line to its head. Reads only; the service may be running.

    A log that does not exist is whole where no head says that there was one.

    Raises:
        OSError: The log cannot be read.
    """
    breaks: list[str] = []
    # Before the log: the service writes a record first and then the head.
    head = _readable_head(path, breaks)
    head_seen = head is None
    records = 0
    before = Head(0, GENESIS_SHA256)
    with path.open("rb") if path.exists() else io.BytesIO() as log:
        for number, line in enumerate(log, start=1):
            link = unseal(line)
            if link is None:
                breaks.append(f"line {number}: not as it was written")
                continue
            if (link.seq, link.members["prev_sha256"]) != (before.seq + 1, before.sha256):
                breaks.append(f"line {number}: record {link.seq} does not follow {before.seq}")
            before = Head(link.seq, link.sha256)
            head_seen = head_seen or before == head
            records += 1
    if head is not None and not head_seen:
        breaks.append(f"record {head.seq}, the last one known to be written, is missing or changed")
    more = len(breaks) - MAX_BREAKS
    shown = [*breaks[:MAX_BREAKS], f"and {more} more"] if more > 0 else breaks
    return ChainCheck(records, tuple(shown), before)


def verify_all(path: Path) -> Mapping[Path, ChainCheck]:
    """Check a log and whatever of it was moved aside or renamed beside it, by path.

    A log that somebody renamed (logrotate does) has left its head behind under another name: it is
    whole where its last record is the one that such a head names.

    Raises:
        OSError: One of them cannot be read.
    """
    beside = {path, *path.parent.glob(f"{path.name}.*"), *path.parent.glob(f"{path.name}-*")}
    heads = {each for each in beside if each.name.endswith(_HEAD)}
    # Compressed ones are to be unpacked first; then --file checks them.
    logs = {each for each in beside - heads if each.suffix not in _COMPRESSED}
    checks = {log: verify(log) for log in sorted(logs)}
    lasts = {check.last for check in checks.values()}
    for log in sorted(head.with_name(head.name.removesuffix(_HEAD)) for head in heads):
        if log not in checks and _readable_head(log, []) not in lasts:
            checks[log] = verify(log)
    return checks


def _readable_head(path: Path, breaks: list[str]) -> Head | None:
    try:
        return read_head(path)
    except ValueError as error:
        breaks.append(str(error))
        return None


def read_after(log: BinaryIO, after_seq: int, limit: int) -> Sequence[Mapping[str, object]]:
    """Return up to ``limit`` records that follow ``after_seq``, oldest first.

    Bisects by byte offset: numbers rise along the file. Lines that are not as written are left
    out; ``verify`` is what tells of them.
    """
    low, high = 0, log.seek(0, 2)
    while high - low > _BISECT_STOP_BYTES:
        middle = (low + high) // 2
        log.seek(middle)
        log.readline()
        start = log.tell()
        link = unseal(log.readline())
        if link is not None and link.seq <= after_seq:
            low = start
        else:
            high = middle
    log.seek(low)
    found: list[Mapping[str, object]] = []
    for line in log:
        if len(found) >= limit:
            break
        link = unseal(line)
        if link is not None and link.seq > after_seq:
            found.append(link.members)
    return found
