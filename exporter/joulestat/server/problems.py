"""Every error as an HTTP answer: one total table, one body format (RFC 9457)."""

import math
import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from joulestat.domain import errors

STATUS: Mapping[type[errors.JoulestatError], HTTPStatus] = MappingProxyType(
    {
        errors.JoulestatError: HTTPStatus.INTERNAL_SERVER_ERROR,
        errors.FieldError: HTTPStatus.UNPROCESSABLE_ENTITY,
        errors.ConfigError: HTTPStatus.INTERNAL_SERVER_ERROR,
        errors.DeviceError: HTTPStatus.BAD_GATEWAY,
        errors.BackendUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
        errors.LimitPermissionDenied: HTTPStatus.BAD_GATEWAY,
        errors.LimitRefused: HTTPStatus.BAD_GATEWAY,
        errors.PushError: HTTPStatus.UNPROCESSABLE_ENTITY,
        errors.InvalidPush: HTTPStatus.UNPROCESSABLE_ENTITY,
        errors.SupersededPush: HTTPStatus.CONFLICT,
        errors.PushOverload: HTTPStatus.TOO_MANY_REQUESTS,
        errors.LeaseError: HTTPStatus.CONFLICT,
        errors.UnknownDevice: HTTPStatus.NOT_FOUND,
        errors.InvalidLease: HTTPStatus.UNPROCESSABLE_ENTITY,
        errors.LeaseHeld: HTTPStatus.CONFLICT,
        errors.LeaseLost: HTTPStatus.PRECONDITION_FAILED,
        errors.TooManyWrites: HTTPStatus.TOO_MANY_REQUESTS,
        errors.LimitWriteFailed: HTTPStatus.BAD_GATEWAY,
        errors.ControlReadOnly: HTTPStatus.SERVICE_UNAVAILABLE,
        errors.StateError: HTTPStatus.SERVICE_UNAVAILABLE,
        errors.HistoryError: HTTPStatus.BAD_GATEWAY,
        errors.HistoryUnreachable: HTTPStatus.BAD_GATEWAY,
        errors.QueryTooLarge: HTTPStatus.BAD_GATEWAY,
        errors.CardError: HTTPStatus.INTERNAL_SERVER_ERROR,
        errors.AdminError: HTTPStatus.BAD_GATEWAY,
    }
)
"""The status of every error there is; a test walks the tree and insists that none is missing."""

PUSH_RETRY_SECONDS = 30
"""When to push again after "no room": runs leave 60 s after their last push, so half of that."""

MEDIA_TYPE = "application/problem+json"

_SHOWN_CHARACTERS = 200
"""How much of a refused value is sent back: enough to recognise it."""

_TEXT_CHARACTERS = 1000
"""How long any text of a problem may be."""


class Problem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The body of every answer that is not a success (RFC 9457).

    ``type`` is a stable URN for programs, ``detail`` is for people; ``field``, ``value`` and
    ``allowed`` name what was wrong where one value was.
    """

    type: str
    title: str
    status: int
    detail: str
    field: str = ""
    value: str = ""
    allowed: str = ""
    holder: str = ""
    expires_in_seconds: float | None = None
    retry_after_seconds: float | None = None


class Refused(Exception):
    """A request that HTTP itself, not the domain, refuses.

    Args:
        status: What to answer.
        detail: What happened and what to do, for people.
        field: Header, parameter or key at fault.
        value: What was given; never a secret.
        allowed: What would have been right.
        headers: Further response headers.
    """

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        field: str = "",
        value: str = "",
        allowed: str = "",
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.field = field
        self.value = value
        self.allowed = allowed
        self.headers = headers


def status_of(error: errors.JoulestatError) -> HTTPStatus:
    """Return the status of an error; a class that is not in the table has its parent's."""
    for cls in type(error).__mro__:
        if cls in STATUS:
            return STATUS[cls]
    return HTTPStatus.INTERNAL_SERVER_ERROR


async def answer_domain_error(_request: Request, error: Exception) -> Response:
    """Answer an error of the domain's tree."""
    if not isinstance(error, errors.JoulestatError):
        return await answer_unexpected(_request, error)
    status = status_of(error)
    problem = Problem(
        type="urn:joulestat:problem:" + _kebab(type(error).__name__),
        title=status.phrase,
        status=status,
        detail=str(error),
    )
    if isinstance(error, errors.FieldError):
        problem.field = error.field
        problem.value = error.value
        problem.allowed = error.allowed
    if isinstance(error, errors.LeaseHeld):
        problem.holder = error.holder
        problem.expires_in_seconds = error.expires_in_seconds
    if isinstance(error, errors.TooManyWrites):
        problem.retry_after_seconds = error.retry_after_seconds
    if isinstance(error, errors.PushOverload):
        problem.retry_after_seconds = PUSH_RETRY_SECONDS
    return _respond(problem)


async def answer_refused(_request: Request, error: Exception) -> Response:
    """Answer what the guards refused."""
    if not isinstance(error, Refused):
        return await answer_unexpected(_request, error)
    problem = Problem(
        type="about:blank",
        title=error.status.phrase,
        status=error.status,
        detail=error.detail,
        field=error.field,
        value=error.value,
        allowed=error.allowed,
    )
    return _respond(problem, error.headers)


async def answer_http_exception(request: Request, error: Exception) -> Response:
    """Answer what the router found: no such path (404) or no such method on it (405)."""
    if not isinstance(error, HTTPException):
        return await answer_unexpected(request, error)
    status = HTTPStatus(error.status_code)
    headers = dict(error.headers or {})
    allowed = ", ".join(sorted(headers.get("Allow", "").split(", "))) if headers else ""
    if allowed:
        headers["Allow"] = allowed
    detail = "there is nothing under this path" if status == HTTPStatus.NOT_FOUND else ""
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"this path answers {allowed}, not {request.method}"
    problem = Problem(
        type="about:blank",
        title=status.phrase,
        status=status,
        detail=detail or error.detail,
        allowed=allowed,
    )
    return _respond(problem, headers)


async def answer_unexpected(_request: Request, _error: Exception) -> Response:
    """Answer a bug: say nothing of its insides; the server logs the traceback."""
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    problem = Problem(
        type="about:blank",
        title=status.phrase,
        status=status,
        detail="an unexpected error; the exporter's log has the traceback",
    )
    return _respond(problem)


# Coroutines, because Starlette would send a plain function to a worker thread.
Handler = Callable[[Request, Exception], Awaitable[Response]]

HANDLERS: Mapping[type[Exception], Handler] = MappingProxyType(
    {
        Refused: answer_refused,
        errors.JoulestatError: answer_domain_error,
        HTTPException: answer_http_exception,
        Exception: answer_unexpected,
    }
)
"""What answers which exception, as Starlette wants it."""


def whole_answer(status: HTTPStatus, detail: str, *, retry_after_seconds: int = 0) -> bytes:
    """Return an answer as it goes over the wire, for where no application is asked any more.

    Args:
        status: What to answer.
        detail: What happened and what to do, for people.
        retry_after_seconds: When to ask again; 0 for no such advice.
    """
    problem = Problem(type="about:blank", title=status.phrase, status=status, detail=detail)
    body = msgspec.json.encode(problem)
    retry = f"Retry-After: {retry_after_seconds}\r\n" if retry_after_seconds else ""
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {MEDIA_TYPE}\r\n"
        f"Content-Length: {len(body)}\r\n{retry}Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


def _respond(problem: Problem, headers: Mapping[str, str] = MappingProxyType({})) -> Response:
    """Encode a problem; text that is no valid Unicode or too long is made so."""
    for name in ("detail", "field", "value", "allowed", "holder"):
        setattr(problem, name, _presentable(getattr(problem, name)))
    sent = dict(headers)
    if problem.retry_after_seconds is not None:
        # Whole seconds, upwards: one second too early would be refused again.
        sent["Retry-After"] = str(max(1, math.ceil(problem.retry_after_seconds)))
    return Response(msgspec.json.encode(problem), problem.status, sent, MEDIA_TYPE)


def _presentable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()[:_TEXT_CHARACTERS]


def shown(value: object) -> str:
    """Return a refused value as text, cut to what is needed to recognise it."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def _kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()
