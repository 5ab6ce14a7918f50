"""What stays true for a while: one span for as long as it does, instead of one row per look."""

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

GAP_MS = 10_000
"""Looks further apart than this are two spans: the host slept, or the exporter was not there."""


Spans = Mapping[tuple[K, int], tuple[int, V]]
"""By key and start: the end, as last seen, and what was true all the time. Unix ms."""


class SpanTrack(Generic[K, V]):
    """Spans of things by key."""

    def __init__(self) -> None:
        self._open: dict[K, tuple[int, V]] = {}
        self._closed: dict[tuple[K, int], tuple[int, V]] = {}
        self._seen_ms: int | None = None

    def look(self, now_ms: int, seen: Mapping[K, V]) -> None:
        """Take what is true now; what is not in it any more ended a moment ago."""
        before_ms = self._seen_ms
        if before_ms is not None and not 0 <= now_ms - before_ms <= GAP_MS:
            self._close(list(self._open), before_ms)
        gone = [
            key for key, (_, value) in self._open.items() if key not in seen or seen[key] != value
        ]
        # A moment before: at one instant one thing is true.
        self._close(gone, now_ms - 1)
        for key, value in seen.items():
            self._open.setdefault(key, (now_ms, value))
        self._seen_ms = now_ms

    def take(self) -> Spans[K, V]:
        """Return what to write: spans that ended since the last time, and all open ones so far."""
        spans, self._closed = self._closed, {}
        if self._seen_ms is not None:
            for key, (start_ms, value) in self._open.items():
                spans[key, start_ms] = (self._seen_ms, value)
        return spans

    def _close(self, keys: list[K], end_ms: int) -> None:
        for key in keys:
            start_ms, value = self._open.pop(key)
            self._closed[key, start_ms] = (max(start_ms, end_ms), value)
