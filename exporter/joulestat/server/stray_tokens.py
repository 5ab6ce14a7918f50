"""Finds tokens where none belongs: what is said there is stored, shown or logged by somebody."""

import re
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from starlette.requests import Request

from joulestat.server.auth import TOKEN_PREFIX
from joulestat.server.problems import Refused

_TOKEN = re.compile(re.escape(TOKEN_PREFIX.encode()) + rb"[A-Za-z0-9_-]{20,}")

_NAMES = frozenset({"token", "access_token", "auth", "authorization", "bearer"})
"""Query parameters that other APIs take tokens in; a token of another make is known by them."""


def check_head(request: Request) -> None:
    """Refuse a token in the URL or in a header other than ``Authorization``; never repeat it."""
    for name in request.query_params:
        if name.lower() in _NAMES:
            raise _stray("the URL", name.lower())
    raw_path = request.scope.get("raw_path") or b""
    for part in (raw_path, request.scope["query_string"]):
        if _TOKEN.search(part) or _TOKEN.search(unquote_to_bytes(part)):
            raise _stray("the URL")
    for name, value in request.scope["headers"]:
        if name != b"authorization" and _TOKEN.search(value):
            raise _stray("a header of another name")


def check_body(body: bytes) -> None:
    """Refuse a token in a body, from where it would get into labels and the audit log."""
    if TOKEN_PREFIX.encode() in body and _TOKEN.search(body):
        raise _stray("the body")


def _stray(where: str, field: str = "") -> Refused:
    return Refused(
        HTTPStatus.BAD_REQUEST,
        f"a token in {where} ends up in logs: send it as 'Authorization: Bearer', and replace "
        "this one",
        field=field,
    )
