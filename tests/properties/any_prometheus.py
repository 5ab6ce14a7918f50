"""A stand-in for Prometheus that has an answer to any query, and keeps the queries."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import httpx
import promql_parser
from promql_parser import MatchOp

SECONDS = 1_000.0
"""How long the run has been going on."""
NOW_SECONDS = 1_790_001_000.0
LIMITS = ("300", "200")


def selectors(node: Any) -> Iterator[Any]:
    """Yield the vector selectors of a query, in the order of the text."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("vector_selector", "param", "expr", "lhs", "rhs"):
        child = getattr(node, name, None)
        if child is not None:
            yield from selectors(child)
    for child in getattr(node, "args", None) or ():
        yield from selectors(child)


def matchers(selector: Any) -> list[tuple[str, MatchOp, str]]:
    """Return the conditions of a selector, its name among them."""
    assert not selector.matchers.or_matchers
    named = [("__name__", MatchOp.Equal, selector.name)] if selector.name else []
    return named + [(each.name, each.op, each.value) for each in selector.matchers.matchers]


class AnyPrometheus:
    """Shows one run on one GPU, whatever is asked for.

    Attributes:
        queries: Every query that came.
    """

    def __init__(self, value: str) -> None:
        """Give labels that anybody may choose this value."""
        self._value = value
        self.queries: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        form = {
            name: values[0]
            for name, values in parse_qs(request.content.decode("utf-8", "surrogatepass")).items()
        }
        query = form["query"]
        self.queries.append(query)
        if query == "vector(time())":
            return _answer("vector", [{"metric": {}, "value": [NOW_SECONDS, str(NOW_SECONDS)]}])
        parsed = promql_parser.parse(query)
        kind, times = "vector", [NOW_SECONDS]
        if "start" in form:
            start, end = float(form["start"]), float(form["end"])
            kind, times = "matrix", sorted({start, (start + end) // 2, end})
        elif isinstance(parsed, promql_parser.MatrixSelector):
            kind = "matrix"
        age = isinstance(parsed, promql_parser.Call) and parsed.func.name == "timestamp"
        result = []
        for labels in self._series(next(selectors(parsed))):
            points = [[at, str(at if age else _value_of(labels, at))] for at in times]
            point = {"value": points[-1]} if kind == "vector" else {"values": points}
            result.append({"metric": labels, **point})
        return _answer(kind, result)

    def _series(self, selector: Any) -> Iterator[dict[str, str]]:
        found = matchers(selector)
        names = next(value for name, _, value in found if name == "__name__").split("|")
        anybody = dict.fromkeys(("run", "gpu_uuid", "instance", "job", "exported_job"), self._value)
        for name in names:
            by_limit = "_total" in name and "gpu" not in name
            for limit in LIMITS if by_limit else ("",):
                labels = {"__name__": name, **anybody, "gpu": "0", "rank": "0", "phase": "train"}
                labels["model"], labels["limit_watts"] = "V100", "300"
                yield {**labels, "power_limit_watts": limit} if limit else labels


def _value_of(labels: dict[str, str], at_seconds: float) -> float:
    name = labels["__name__"]
    if name.endswith("start_timestamp_seconds"):
        return NOW_SECONDS - SECONDS
    if name.endswith("_timestamp_seconds"):
        return NOW_SECONDS
    if name.endswith("_total"):
        return max(0.0, at_seconds - NOW_SECONDS + SECONDS)
    if "watts" in name:
        return 100.0 if "min" in name else 300.0
    return 1.0


def _answer(kind: str, result: list[dict[str, Any]]) -> httpx.Response:
    data = {"resultType": kind, "result": result}
    return httpx.Response(200, json={"status": "success", "data": data})


def shape(query: str, value: str) -> str:
    """Return a query as a parser that is not ours understands it, a value put as VALUE.

    A pattern is put as VALUE where it matches the value and nothing like it.
    """

    def plain(op: MatchOp, text: str) -> str:
        if op == MatchOp.Equal:
            return "VALUE" if text == value else text
        if op == MatchOp.Re and text and re.fullmatch(text, value, re.DOTALL):
            near = (
                value + "x",
                value[1:],
                "x" + value,
                value[:-1] + "\u0416",
                "\u0416" * len(value),
            )
            if not any(re.fullmatch(text, other, re.DOTALL) for other in near if other != value):
                return "VALUE"
        return text

    parsed = promql_parser.parse(query)
    parts = [
        [(name, str(op), plain(op, text)) for name, op, text in matchers(selector)]
        for selector in selectors(parsed)
    ]
    return f"{skeleton(parsed)} {parts}"


def skeleton(node: Any) -> str:
    """Return what a query is made of, without its selectors' conditions."""
    inner = [
        skeleton(child)
        for name in ("vector_selector", "param", "expr", "lhs", "rhs")
        if (child := getattr(node, name, None)) is not None
    ]
    inner += [skeleton(child) for child in getattr(node, "args", None) or ()]
    own = [
        str(getattr(node, name))
        for name in ("op", "modifier", "range", "offset", "at", "step", "val")
        if getattr(node, name, None) is not None
    ]
    function = getattr(node, "func", None)
    name = type(node).__name__ if function is None else function.name
    return f"{name}({', '.join([*own, *inner])})"
