"""Requests made from an API's own description, so that a new route is asked like the old ones."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fakes.admin import lease
from fakes.asgi import Answer, call
from fakes.node import gpu_uuid

BODIES = {
    "LeaseRequestWire": lease(),
    "PushWire": {
        "run": "llama-ft-42", "rank": 0, "incarnation": "i-1", "seq": 1, "at_ns": 1,
        "gpus": [gpu_uuid(0)], "phase": "train",
    },
}  # fmt: skip
"""A good body of every struct; a new one needs its own here."""

QUERIES = {"/v1/history": "?run=llama"}
"""What a path cannot do without."""


@dataclass(frozen=True)
class Operation:
    """One method of one path.

    Attributes:
        scope: Who may use it, as the description says.
        body: What to send, None for nothing.
    """

    method: str
    path: str
    scope: str
    body: dict[str, Any] | None = field(default=None, hash=False)

    @property
    def changes_a_gpu(self) -> bool:
        """Whether it changes one GPU that its path names."""
        return self.scope == "operator" and "{uuid}" in self.path

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def target(self, gpu: str) -> str:
        """Return the path and query for a GPU."""
        return self.path.format(uuid=gpu) + QUERIES.get(self.path, "")


def operations(app: Any, **where: Any) -> Iterator[Operation]:
    """Yield everything that an application's description lists."""
    answer: Answer = call(app, "GET", "/openapi.json", **where)
    assert 200 == answer.status
    document = json.loads(answer.body)
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            body = None
            if "requestBody" in described:
                schema = described["requestBody"]["content"]["application/json"]["schema"]
                body = BODIES[schema["$ref"].rpartition("/")[2]]
            yield Operation(method.upper(), path, described["x-scope"], body)
