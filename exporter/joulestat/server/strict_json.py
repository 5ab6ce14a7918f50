"""JSON into a struct, or one clear error about the one value that is wrong."""

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec

from joulestat.domain.errors import InvalidLease, InvalidPush
from joulestat.server.problems import Refused, shown
from joulestat.server.stray_tokens import check_body

T = TypeVar("T")

_AT = re.compile(r"(?P<what>.*) - at `\$\.?(?P<path>.*)`", re.DOTALL)
_NAMED = re.compile(r"Object (?:contains unknown|missing required) field `(?P<name>.*)`", re.DOTALL)
_STEP = re.compile(r"\.?(?P<key>[^.\[\]]+)|\[(?P<index>[0-9]+)\]")
_EXPECTED = re.compile(r"Expected (?P<allowed>.*?)(?:, got .*)?", re.DOTALL)


class _RepeatedKeyError(Exception):
    """A JSON object has a key twice."""


def decode(
    body: bytes,
    decoder: msgspec.json.Decoder[T],
    error: type[InvalidPush] | type[InvalidLease],
    allowed: Mapping[str, str],
) -> T:
    """Return what the decoder makes of a JSON body.

    Strict: unknown keys, repeated keys, values of another type or out of range, NaN, text that
    is no valid Unicode are all refused.

    Args:
        body: As it came.
        decoder: What it should be.
        error: What to raise.
        allowed: For people, by field, where a pattern or a type says too little; by object
            (the whole is ``""``) the keys that it may have.

    Raises:
        Refused: 400, the body is not JSON at all, or has a token in it.
        FieldError: Of the given class; names the field, its value and what is allowed.
    """
    check_body(body)
    try:
        value = decoder.decode(body)
        # A repeated key means one thing to this parser and may mean another to the next one.
        # The body is known to be well-formed and shallow by now.
        json.loads(body, object_pairs_hook=_refuse_repeated_keys)
    except msgspec.ValidationError as failure:
        raise error(**_what_is_wrong(str(failure), body, allowed)) from None
    except _RepeatedKeyError as failure:
        key = str(failure)
        raise error(
            f"key {shown(key)!r} stands twice in one object; send it once",
            field=shown(key),
            value="",
            allowed="each key once",
        ) from None
    except (ValueError, RecursionError) as failure:  # msgspec.DecodeError is a ValueError
        raise Refused(
            HTTPStatus.BAD_REQUEST, f"the body is not JSON: {failure}", allowed="JSON in UTF-8"
        ) from None
    return value


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> None:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise _RepeatedKeyError(next(key for key in keys if keys.count(key) > 1))


def _what_is_wrong(message: str, body: bytes, allowed: Mapping[str, str]) -> dict[str, str]:
    """Turn msgspec's message into an error's message, field, value and what is allowed."""
    # The look-ahead in our patterns only keeps Python's "$" from passing a final newline.
    match = _AT.fullmatch(message := message.replace(r"$(?!\\n)", "$"))
    what, path = (match["what"], match["path"]) if match else (message, "")
    named = _NAMED.fullmatch(what)
    key = path
    if named:
        path = f"{path}.{named['name']}" if path else named["name"]
    if what.startswith("Object missing"):
        key, value = path, ""
    else:
        value = _value_at(body, path)
    expected = _EXPECTED.fullmatch(what)
    usual = expected["allowed"].replace("`", "") if expected else ""
    right = allowed.get(key, usual) if key or named else usual
    text = f"{shown(path)} is {value}: {shown(what)}" if value else shown(what)
    return {
        "message": text if right == usual else f"{text}; allowed: {right}",
        "field": shown(path),
        "value": value,
        "allowed": right,
    }


def _value_at(body: bytes, path: str) -> str:
    """Return what stands at a path such as ``gpus[1]`` or ``totals.train.steps``, as text."""
    try:
        value = msgspec.json.decode(body)
        for step in _STEP.finditer(path):
            value = value[step["key"]] if step["index"] is None else value[int(step["index"])]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return ""
    return shown(json.dumps(value, ensure_ascii=False))
