"""Prometheus' remote write protocol, by which samples are given to a server that runs.

Prometheus and VictoriaMetrics both take it, Prometheus if asked to at its start.

Source:
    https://prometheus.io/docs/specs/prw/remote_write_spec/ (version 1)
"""

import struct
from collections.abc import Iterable, Mapping, Sequence

import httpx

LITERAL_BYTES = 65_536
"""A literal of snappy's has a length of two bytes at most here; nothing is compressed."""

HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
TIMEOUT_SECONDS = 60.0

Labels = tuple[tuple[str, str], ...]
"""Names and values, sorted, ``__name__`` among them."""
Samples = Mapping[Labels, Sequence[tuple[float, float]]]
"""Unix seconds and values of each series, in order of time."""


def write(http: httpx.Client, url: str, samples: Samples) -> None:
    """Give samples, each series' newer than those it has, to ``url``/api/v1/write."""
    body = _packed(b"".join(_field(1, _series(*item)) for item in samples.items()))
    answer = http.post(
        f"{url}/api/v1/write", content=body, headers=HEADERS, timeout=TIMEOUT_SECONDS
    )
    assert answer.is_success, f"{answer.status_code}: {answer.text}"


def _series(labels: Labels, samples: Iterable[tuple[float, float]]) -> bytes:
    parts = [
        _field(1, _field(1, name.encode()) + _field(2, value.encode())) for name, value in labels
    ]
    for seconds, value in samples:
        # Field 1, a double; field 2, a varint of milliseconds.
        parts.append(
            _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(round(seconds * 1000)))
        )
    return b"".join(parts)


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _packed(content: bytes) -> bytes:
    """Return content as a block of snappy's format, all of it literals."""
    parts = [_varint(len(content))]
    for start in range(0, len(content), LITERAL_BYTES):
        literal = content[start : start + LITERAL_BYTES]
        # Tag of a literal whose length less one follows in two bytes.
        parts.append(b"\xf4" + struct.pack("<H", len(literal) - 1) + literal)
    return b"".join(parts)
