"""What a row of the route table is, and the one place where a request meets its scope."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from joulestat.server.guard import check_headers
from joulestat.server.problems import Refused, shown


class Scope(StrEnum):
    """Who may use an endpoint."""

    ANYONE = "anyone"
    PUSHER = "pusher"
    VIEWER = "viewer"
    OPERATOR = "operator"


Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One row of the route table.

    Attributes:
        method: HTTP method; ``GET`` answers ``HEAD`` too.
        path: With parameters in braces.
        scope: Who may use it.
        handler: What answers.
        summary: One sentence for the API description.
        answers: Struct of the body by status, None for one that is no JSON; problems left out.
        body: Struct of the request's body, None where it takes none.
        query: Names and meanings of the query parameters; others are refused, except where
            anyone may ask.
        headers: Names and meanings of request headers that it heeds.
    """

    method: str
    path: str
    scope: Scope
    handler: Handler
    summary: str
    answers: Mapping[int, type | None]
    body: type | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


Gate = Callable[[Request, Scope], None]
"""Raises ``Refused`` unless the request may use an endpoint of this scope."""


def routes(endpoints: Sequence[Endpoint], gate: Gate) -> list[Route]:
    """Return Starlette's routes, one per path, each behind the gate."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        methods = by_path.setdefault(endpoint.path, {})
        if endpoint.method in methods:
            raise ValueError(f"{endpoint.method} {endpoint.path} stands in the table twice")
        methods[endpoint.method] = endpoint
    return [_route(path, methods, gate) for path, methods in by_path.items()]


def _route(path: str, methods: Mapping[str, Endpoint], gate: Gate) -> Route:
    async def serve(request: Request) -> Response:
        endpoint = methods["GET" if request.method == "HEAD" else request.method]
        check_headers(request)
        gate(request, endpoint.scope)
        if endpoint.scope is not Scope.ANYONE:
            _check_query(request, endpoint)
        return await endpoint.handler(request)

    return Route(path, serve, methods=list(methods), name=path)


def _check_query(request: Request, endpoint: Endpoint) -> None:
    """Refuse unknown query parameters: a misspelt ``dry_run`` must not be a real write."""
    for name in request.query_params:
        if name not in endpoint.query:
            raise Refused(
                HTTPStatus.BAD_REQUEST,
                "this endpoint knows no such query parameter",
                field=shown(name),
                allowed=", ".join(endpoint.query) or "no query parameters",
            )
