"""Makes records of the history out of the JSON that the admin API answers."""

from collections.abc import Hashable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

R = TypeVar("R")


def record_from(record: type[R], document: object) -> R:
    """Return a record.

    Keys that are not known are left out: a newer exporter may say more.

    Args:
        record: A frozen dataclass whose fields are numbers, texts, records or tuples of those.
        document: What ``json.loads`` returned.

    Raises:
        ValueError: Something is missing or of another kind; it says what.
    """
    if not isinstance(document, Mapping):
        kind = type(document).__name__
        raise ValueError(f"{record.__name__} is {kind}, no object")  # noqa: TRY004 - bad answer
    kinds = _fields(cast("Hashable", record))
    missing = [name for name, _ in kinds if name not in document]
    if missing:
        raise ValueError(f"{record.__name__} has no {missing[0]}")
    return record(
        **{name: _value(kind, document[name], f"{record.__name__}.{name}") for name, kind in kinds}
    )


@cache
def _fields(record: Any) -> tuple[tuple[str, Any], ...]:
    hints = get_type_hints(record)
    return tuple((each.name, hints[each.name]) for each in fields(record))


def _value(kind: Any, value: object, where: str) -> object:
    if isinstance(kind, UnionType):
        if value is None and NoneType in get_args(kind):
            return None
        (kind,) = (each for each in get_args(kind) if each is not NoneType)
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where} is {type(value).__name__}, no list")
        return tuple(_value(get_args(kind)[0], each, where) for each in value)
    if is_dataclass(kind):
        return record_from(kind, value)  # type: ignore[arg-type]
    # JSON has one kind of number; and True is an int in Python.
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{where} is {type(value).__name__}, no {kind.__name__}")
    return value
