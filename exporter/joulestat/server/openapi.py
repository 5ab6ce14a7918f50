"""The OpenAPI description, made from the route table and the structs, so that it cannot lie."""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from joulestat.server.problems import MEDIA_TYPE, Problem
from joulestat.server.routes import Endpoint, Scope

_REF = "#/components/schemas/{name}"
_ROLES = frozenset({Scope.VIEWER, Scope.OPERATOR})

_ALWAYS = (429, 431, 500, 503)
"""Too often, too much, a web configuration or a token file that went bad, no room."""


def describe(endpoints: Sequence[Endpoint], *, title: str, version: str) -> bytes:
    """Return the OpenAPI 3.1 document of these endpoints as JSON."""
    structs = _structs(endpoints)
    references, components = msgspec.json.schema_components(structs, ref_template=_REF)
    schemas = dict(zip(structs, references, strict=True))
    is_admin = any(endpoint.scope in _ROLES for endpoint in endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        operation = _operation(endpoint, schemas, is_admin=is_admin)
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = operation
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {"schemas": components},
    }
    if is_admin:
        bearer = {"type": "http", "scheme": "bearer"}
        document["components"]["securitySchemes"] = {"token": bearer}
    return msgspec.json.encode(document)


def _structs(endpoints: Sequence[Endpoint]) -> list[type]:
    found: dict[type, None] = {Problem: None}
    for endpoint in endpoints:
        for struct in (endpoint.body, *endpoint.answers.values()):
            if struct is not None:
                found[struct] = None
    return list(found)


def _operation(
    endpoint: Endpoint, schemas: dict[type, dict[str, Any]], *, is_admin: bool
) -> dict[str, Any]:
    answers: dict[str, Any] = {
        str(status): _answer(HTTPStatus(status).phrase, "application/json", schemas.get(struct))
        if struct is not None
        else _answer(HTTPStatus(status).phrase, "", None)
        for status, struct in endpoint.answers.items()
    }
    for refusal in sorted(_refusals(endpoint, is_admin=is_admin) - set(endpoint.answers)):
        phrase = HTTPStatus(refusal).phrase
        answers[str(refusal)] = _answer(phrase, MEDIA_TYPE, schemas[Problem])
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": f"{endpoint.method.lower()}_{endpoint.handler.__name__}",
        "responses": answers,
        "x-scope": endpoint.scope,
    }
    parameters = _parameters(endpoint)
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        content = {"application/json": {"schema": schemas[endpoint.body]}}
        operation["requestBody"] = {"required": True, "content": content}
    if endpoint.scope in _ROLES:
        operation["security"] = [{"token": []}]
    return operation


def _refusals(endpoint: Endpoint, *, is_admin: bool) -> set[int]:
    """Return the statuses of the problems that an endpoint may answer with.

    They follow from what it takes, as the gates and the readers do; a test asks every endpoint
    thousands of things, and finds it out if one is missing here.
    """
    found = set(_ALWAYS)
    if endpoint.scope is not Scope.ANYONE or is_admin:
        found |= {400, 403, 421}  # unknown parameters, web pages, foreign hosts
    if endpoint.scope in _ROLES or not is_admin:
        found.add(401)  # of the web configuration, where there is one
    if endpoint.scope in _ROLES and endpoint.method == "GET":
        found |= {404, 422, 502}  # no such thing, a parameter out of range, unreadable history
    if endpoint.body is not None:
        found |= {408, 409, 413, 415, 422}
    if endpoint.scope is Scope.OPERATOR:
        found.add(502)  # the driver
    if endpoint.scope is Scope.OPERATOR and "{uuid}" in endpoint.path:
        found |= {404, 409, 412, 422}
    return found


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", endpoint.path)
    ]
    rest = [
        {"name": name, "in": place, "description": text, "schema": {"type": "string"}}
        for place, named in (("query", endpoint.query), ("header", endpoint.headers))
        for name, text in named.items()
    ]
    return path + rest


def _answer(description: str, media_type: str, schema: dict[str, Any] | None) -> dict[str, Any]:
    if schema is None:
        return {"description": description}
    return {"description": description, "content": {media_type: {"schema": schema}}}
