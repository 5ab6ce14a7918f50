"""Query parameters, read as strictly as bodies are."""

import math
import re
from http import HTTPStatus

from starlette.requests import Request

from joulestat.server.problems import Refused, shown


def one(request: Request, name: str) -> str | None:
    """Return a parameter that may be given once, None where it is not."""
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise bad_parameter(name, ", ".join(values), "one value")
    return values[0] if values else None


def flag(request: Request, name: str) -> bool:
    """Return a parameter that is true or false, by default false."""
    value = one(request, name)
    if value not in (None, "true", "false"):
        raise bad_parameter(name, value, "true or false")
    return value == "true"


def number(request: Request, name: str, *, usual: int, lowest: int, highest: int) -> int:
    """Return a whole number."""
    value = number_or_none(request, name, lowest=lowest, highest=highest)
    return usual if value is None else value


def number_or_none(request: Request, name: str, *, lowest: int, highest: int) -> int | None:
    """Return a whole number, None where it is not given."""
    value = one(request, name)
    if value is None:
        return None
    # int() would also take signs, underscores and other scripts' digits.
    if re.fullmatch(r"[0-9]{1,16}", value) and lowest <= int(value) <= highest:
        return int(value)
    raise bad_parameter(name, value, f"{lowest} to {highest}")


def seconds(request: Request, name: str, *, usual: float, lowest: float, highest: float) -> float:
    """Return a number of seconds, with at most six digits after the point."""
    value = one(request, name)
    if value is None:
        return usual
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,6})?", value) and lowest <= float(value) <= highest:
        return float(value)
    raise bad_parameter(name, value, f"{lowest:g} to {math.floor(highest)} seconds")


def bad_parameter(name: str, value: str, allowed: str) -> Refused:
    """Return the refusal of a value."""
    return Refused(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        f"query parameter {name} makes no sense",
        field=name,
        value=shown(value),
        allowed=allowed,
    )
