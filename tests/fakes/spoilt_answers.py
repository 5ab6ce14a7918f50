"""Ways in which a query server's answer can be other than it should be, by accident or by a proxy.

Each is a function of the form that was asked and the right answer.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

Form = dict[str, list[str]]
Spoil = Callable[[Form, dict[str, Any]], dict[str, Any] | bytes]
"""Turns Prometheus' answer to a form into another document, or into the bytes of an answer."""


def unspoilt(_: Form, answer: dict[str, Any]) -> dict[str, Any]:
    return answer


def every(*parts: str) -> Callable[[Form], bool]:
    """Return what tells queries that have all these parts."""
    return lambda form: all(part in form["query"][0] for part in parts)


def points(answer: dict[str, Any]) -> Iterator[list[Any]]:
    """Yield every (time, value) of an answer, to be changed in place."""
    for item in answer["data"]["result"]:
        yield from item.get("values", [item["value"]] if "value" in item else [])


def with_key(key: str, value: Any) -> Spoil:
    def spoil(form: Form, answer: dict[str, Any]) -> dict[str, Any]:
        return {**answer, key: value} if every("joulestat_run_")(form) else answer

    return spoil


def with_value(part: str, text: str) -> Spoil:
    """Put a text in the place of the last value of what is asked with this part."""

    def spoil(form: Form, answer: dict[str, Any]) -> dict[str, Any]:
        if every(part)(form):
            for pair in list(points(answer))[-1:]:
                pair[1] = text
        return answer

    return spoil


def instead(answer_of: Callable[[bytes], bytes], part: str = "joulestat_run_") -> Spoil:
    """Send other bytes, made of the right ones, as the answer to what is asked with this part."""

    def spoil(form: Form, answer: dict[str, Any]) -> dict[str, Any] | bytes:
        return answer_of(json.dumps(answer).encode()) if every(part)(form) else answer

    return spoil


def raw(status: int, body: bytes, content_type: str) -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def older(form: Form, answer: dict[str, Any]) -> dict[str, Any]:
    """Let the newest samples be from ten minutes ago."""
    if every("timestamp(")(form):
        for pair in points(answer):
            pair[1] = str(float(pair[1]) - 600.0)
    return answer


def with_clock(off_seconds: float) -> Spoil:
    """Let the server's clock be off from the one that stamped the samples."""

    def spoil(form: Form, answer: dict[str, Any]) -> dict[str, Any]:
        if form["query"] == ["vector(time())"]:
            for pair in points(answer):
                pair[1] = str(float(pair[1]) + off_seconds)
        return answer

    return spoil


def unscraped(begin_seconds: float, end_seconds: float, unseen: list[float]) -> Spoil:
    """Leave out what was scraped between two times, as where ``up`` was 0, and keep when it was."""

    def spoil(_: Form, answer: dict[str, Any]) -> dict[str, Any]:
        for item in answer["data"]["result"]:
            if "values" in item:
                lost = [at for at in item["values"] if begin_seconds < at[0] < end_seconds]
                item["values"] = [at for at in item["values"] if at not in lost]
                unseen.extend(at[0] for at in lost)
        return answer

    return spoil


def twice(form: Form, answer: dict[str, Any]) -> dict[str, Any]:
    if every("joulestat_run_")(form):
        answer["data"]["result"] *= 2
    return answer


def of_another_query() -> Spoil:
    """Answer everything with the first answer of its kind, as a broken cache does."""
    first: dict[str, dict[str, Any]] = {}

    def spoil(form: Form, answer: dict[str, Any]) -> dict[str, Any]:
        if not every("joulestat_")(form):
            return answer
        return first.setdefault(answer["data"]["resultType"], answer)

    return spoil


def without_labels(form: Form, answer: dict[str, Any]) -> dict[str, Any]:
    if every("joulestat_run_")(form):
        for item in answer["data"]["result"]:
            item["metric"] = {"x": str(id(item))}
    return answer
