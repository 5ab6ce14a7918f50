"""What goes over the actuator's socket: one JSON line per request, one per answer.

Whole nouns of the domain travel (``LeaseRequest``, ``PowerControl``, ``Grant``, ``Revert``), so a
field that one of them gains is on the wire with it.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import MappingProxyType
from typing import Any, TypeVar, get_type_hints

import msgspec

from joulestat.domain.limit import LeaseRequest, PowerControl

PROTOCOL = 1
"""Both ends are one package; a host that runs two versions of it at once is told so."""

MAX_REQUEST_BYTES = 8 * 1024
MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_TEXT_CHARACTERS = 512
"""Of a UUID, a principal or a key. What one may look like is the governor's to judge."""

T = TypeVar("T")


class WireError(Exception):
    """A line that is no request, or no answer to the one that was sent."""


class ListControls(msgspec.Struct, tag_field="verb", tag="list", forbid_unknown_fields=True):
    """Every device's state."""

    protocol: int


class GrantLease(msgspec.Struct, tag_field="verb", tag="grant", forbid_unknown_fields=True):
    """Grant, renew or change a lease; ``request`` is a ``LeaseRequest``."""

    protocol: int
    gpu_uuid: str
    request: msgspec.Raw
    principal: str
    dry_run: bool = False
    idempotency_key: str | None = None
    if_match: int | None = None


class ReleaseLease(msgspec.Struct, tag_field="verb", tag="release", forbid_unknown_fields=True):
    """End a lease."""

    protocol: int
    gpu_uuid: str
    principal: str
    holder: str | None = None
    fencing_token: int | None = None
    if_match: int | None = None


class RevertAll(msgspec.Struct, tag_field="verb", tag="revert-all", forbid_unknown_fields=True):
    """End every lease."""

    protocol: int
    principal: str


class ReadAudit(msgspec.Struct, tag_field="verb", tag="audit", forbid_unknown_fields=True):
    """Records of the audit log after a number."""

    protocol: int
    after_seq: int
    limit: int


Request = ListControls | GrantLease | ReleaseLease | RevertAll | ReadAudit


class Listed(msgspec.Struct):
    """The answer to ``list``."""

    read_only_reason: str | None
    controls: dict[str, PowerControl]


class Failure(msgspec.Struct):
    """An error by its class's name, with what it knows beside its text."""

    name: str
    message: str
    members: dict[str, str | float | int | None] = msgspec.field(default_factory=dict)


class Answer(msgspec.Struct, omit_defaults=True):
    """What comes back: a result, or a failure."""

    protocol: int
    result: msgspec.Raw = msgspec.Raw(b"null")
    failure: Failure | None = None


class _Head(msgspec.Struct):
    """Read first: a line of another version shall be refused for its version."""

    protocol: int


def _strict(noun: type[Any]) -> type[msgspec.Struct]:
    """Return a struct with a dataclass's fields that refuses what is not among them."""
    hints = get_type_hints(noun)
    members = [
        (each.name, hints[each.name], msgspec.NODEFAULT)
        if each.default is MISSING
        else (each.name, hints[each.name], each.default)
        for each in fields(noun)
    ]
    return msgspec.defstruct(noun.__name__, members, kw_only=True, forbid_unknown_fields=True)


_HEAD = msgspec.json.Decoder(_Head)
_REQUEST: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_LEASE_REQUEST = msgspec.json.Decoder(_strict(LeaseRequest))
_ANSWER = msgspec.json.Decoder(Answer)


def _encodable(value: object) -> object:
    if isinstance(value, MappingProxyType | Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} does not travel")


_ENCODER = msgspec.json.Encoder(enc_hook=_encodable)


def line(message: Request | Answer) -> bytes:
    """Return a message as its line."""
    return _ENCODER.encode(message) + b"\n"


def raw(value: object) -> msgspec.Raw:
    """Return a value as it stands in a message."""
    return msgspec.Raw(_ENCODER.encode(value))


def parse_request(text: bytes) -> Request:
    """Return the request in a line.

    Raises:
        WireError: It is none, or one of another version.
    """
    try:
        head = _HEAD.decode(text)
        if head.protocol != PROTOCOL:
            raise WireError(
                f"the request is of protocol {head.protocol}, this actuator speaks {PROTOCOL}; "
                "run the exporter and the actuator of one version of joulestat"
            )
        request = _REQUEST.decode(text)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise WireError(f"the line is no request: {error}") from None
    for name in ("gpu_uuid", "principal", "idempotency_key", "holder"):
        if len(getattr(request, name, None) or "") > MAX_TEXT_CHARACTERS:
            raise WireError(f"{name} is longer than {MAX_TEXT_CHARACTERS} characters")
    return request


def parse_lease_request(text: msgspec.Raw) -> LeaseRequest:
    """Return the lease request within a request.

    Raises:
        WireError: It is none.
    """
    try:
        wanted = _LEASE_REQUEST.decode(text)
    except ValueError as error:
        raise WireError(f"the line is no request: {error}") from None
    return LeaseRequest(**msgspec.structs.asdict(wanted))


def parse_answer(text: bytes) -> Answer:
    """Return the answer in a line.

    Raises:
        WireError: It is none, or one of another version.
    """
    try:
        answer = _ANSWER.decode(text)
    except (ValueError, RecursionError) as error:
        raise WireError(f"the line is no answer: {error}") from None
    if answer.protocol != PROTOCOL:
        raise WireError(
            f"the answer is of protocol {answer.protocol}, this exporter speaks {PROTOCOL}; "
            "run the exporter and the actuator of one version of joulestat"
        )
    return answer


def parse_result(text: msgspec.Raw, kind: type[T]) -> T:
    """Return a result as the noun that it must be.

    Raises:
        WireError: It is not.
    """
    try:
        return msgspec.json.decode(text, type=kind)
    except (ValueError, RecursionError) as error:
        raise WireError(f"the answer makes no sense: {error}") from None
