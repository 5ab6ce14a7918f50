"""The API describes itself, and describes what is really there."""

import json
from typing import Any

import pytest

from fakes.asgi import call
from fakes.listener import public


def document(app: Any) -> dict[str, Any]:
    answer = call(app, "GET", "/openapi.json")
    assert (200, "application/json") == (answer.status, answer.headers["content-type"])
    parsed: dict[str, Any] = answer.json()
    return parsed


def test_the_description_lists_exactly_the_route_table() -> None:
    app = public()
    described = {
        (method.upper(), path)
        for path, methods in document(app)["paths"].items()
        for method in methods
    }

    assert {(row.method, row.path) for row in app.state.endpoints} == described


def test_every_reference_leads_somewhere() -> None:
    text = json.dumps(document(public()))
    described = json.loads(text)

    references = {part.split('"')[0] for part in text.split('"$ref": "#/components/schemas/')[1:]}

    assert references
    assert references <= set(described["components"]["schemas"])


def test_a_push_is_described_as_strictly_as_it_is_read() -> None:
    push = document(public())["components"]["schemas"]["PushWire"]

    assert push["additionalProperties"] is False
    assert {"run", "rank", "incarnation", "seq", "at_ns", "gpus", "phase"} == set(push["required"])
    assert 65535 == push["properties"]["rank"]["maximum"]


@pytest.mark.parametrize("key", ["openapi", "info", "paths", "components"])
def test_the_description_has_its_parts(key: str) -> None:
    assert key in document(public())


def test_the_public_listener_asks_for_no_token() -> None:
    assert "securitySchemes" not in document(public())["components"]
