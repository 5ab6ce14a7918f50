"""Both APIs do what their descriptions say, whatever is sent: no failure, nothing undescribed.

``SCHEMATHESIS_EXAMPLES`` says how many requests are made of each listener, for `make fuzz`.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from fakes.admin import OPERATOR, AdminRig, admin_rig, lease
from fakes.asgi import Answer, call
from fakes.listener import public
from fakes.node import gpu_uuid

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "100"))
"""Of one listener, over all of its operations."""

CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]

TAKING = {"parameters", "requestBody", "security"}

Send = Callable[[str, str, dict[str, str], bytes], Answer]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminRig]:
    with admin_rig(tmp_path_factory.mktemp("rig")) as rig:
        yield rig


def sent(case: Case, send: Send) -> Response:
    """Send a case as HTTP would bring it."""
    request = requests.Request(**case.as_transport_kwargs(base_url="http://localhost")).prepare()
    url = urlsplit(request.url)
    body = request.body or b""
    answer = send(
        request.method,
        f"{url.path}?{url.query}",
        {name: _ascii(value) for name, value in request.headers.items()},
        body.encode() if isinstance(body, str) else body,
    )
    headers = {name: [value] for name, value in answer.headers.items()}
    return Response(answer.status, headers, answer.body, request, 0.0, verify=False)


def _ascii(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def try_everything(document: dict[str, Any], send: Send, gpu: str) -> Counter[int]:
    """Make requests of every operation, good ones and bad ones, and judge every answer."""
    statuses: Counter[int] = Counter()
    found = list(schemathesis.openapi.from_dict(document).get_all_operations())
    assert len(found) == sum(len(methods) for methods in document["paths"].values())
    for operation in (each.ok() for each in found):
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            takes = document["paths"][operation.path][operation.method]
            # Where nothing is taken, nothing can be wrong.
            if mode is GenerationMode.NEGATIVE and not takes.keys() & TAKING:
                continue

            @settings(
                max_examples=max(1, EXAMPLES // (2 * len(found))),
                derandomize=True, deadline=None, database=None, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(
                operation.as_strategy(generation_mode=mode),
                st.tuples(st.booleans(), st.booleans(), st.booleans()),
            )  # fmt: skip
            def judge(case: Case, told: tuple[bool, bool, bool]) -> None:
                named, known, plain = told
                if known:
                    case.headers["Authorization"] = f"Bearer {OPERATOR}"
                if named and "uuid" in case.path_parameters:
                    case.path_parameters["uuid"] = gpu
                if plain:
                    case.headers.pop("If-Match", None)
                response = sent(case, send)
                statuses[response.status_code] += 1
                case.validate_response(response, checks=CHECKS)

            judge()
    return statuses


@pytest.mark.promise("openapi")
def test_the_admin_api_is_as_described(
    rig: AdminRig, record_property: Callable[[str, object], None]
) -> None:
    def send(method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        rig.clock.advance(60)
        headers.pop("Content-Length", None)
        return rig.ask(method, target, token=None, headers=headers, body=body)

    document = rig.ask("GET", "/openapi.json", token=None).json()

    statuses = try_everything(document, send, rig.gpu)

    record_property("measured", f"admin: {statuses.total()} requests, 0 failures")
    assert statuses.total() > EXAMPLES / 2
    assert {200, 400, 401, 404, 422} <= set(statuses), statuses
    assert {300.0, 250.0} >= {rig.limit_watts(rig.other_gpu)}
    assert 201 == rig.put(lease(), gpu=rig.other_gpu).status


@pytest.mark.promise("openapi")
def test_the_public_listener_is_as_described(
    record_property: Callable[[str, object], None],
) -> None:
    app = public()

    def send(method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        headers.pop("Content-Length", None)
        return call(app, method, target, headers=headers, body=body)

    statuses = try_everything(call(app, "GET", "/openapi.json").json(), send, gpu_uuid(0))

    record_property("measured", f"public: {statuses.total()} requests, 0 failures")
    assert {200, 422} <= set(statuses), statuses


def test_a_path_is_sent_as_it_is_meant(rig: AdminRig) -> None:
    assert "GPU-é/?x" == unquote("GPU-%C3%A9%2F%3Fx")
    assert 404 == rig.ask("GET", "/v1/gpus/GPU-%C3%A9%3Fx").status
