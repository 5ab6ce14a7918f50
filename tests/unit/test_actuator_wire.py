"""What goes over the actuator's socket: whole nouns, and nothing but known keys."""

import msgspec
import pytest

from joulestat.actuator.failures import error_of, failure_of
from joulestat.actuator.wire import (
    MAX_TEXT_CHARACTERS,
    PROTOCOL,
    Answer,
    Failure,
    GrantLease,
    ReadAudit,
    ReleaseLease,
    WireError,
    line,
    parse_answer,
    parse_lease_request,
    parse_request,
    parse_result,
    raw,
)
from joulestat.domain.errors import (
    ControlReadOnly,
    InvalidLease,
    JoulestatError,
    LeaseHeld,
    LeaseLost,
    LimitWriteFailed,
    TooManyWrites,
    UnknownDevice,
)
from joulestat.domain.limit import (
    Grant,
    GrantOutcome,
    Lease,
    LeaseRequest,
    LimitChange,
    PowerControl,
    Revert,
    RevertOutcome,
)

REQUEST = LeaseRequest(250.0, 60.0, "optimizer", "probe", takeover=True, fencing_token=7)
LEASE = Lease("GPU-a", "optimizer", "alice", "why", 250.0, 300.0, 2**60 + 1, 1.5e9, 3)
CONTROL = PowerControl(
    writable=True,
    lease=LEASE,
    drift=True,
    changes={change: number for number, change in enumerate(LimitChange)},
    revision=9,
    baseline_watts=300.0,
    floor_watts=100.0,
    ceiling_watts=None,
)


def test_a_request_arrives_as_it_was_sent() -> None:
    sent = GrantLease(PROTOCOL, "GPU-a", raw(REQUEST), "alice", dry_run=True, if_match=4)

    received = parse_request(line(sent))

    assert isinstance(received, GrantLease)
    assert REQUEST == parse_lease_request(received.request)
    assert ("GPU-a", "alice", True, 4) == (
        received.gpu_uuid,
        received.principal,
        received.dry_run,
        received.if_match,
    )
    release = ReleaseLease(PROTOCOL, "GPU-a", "alice", "me", 5, 6)
    assert release == parse_request(line(release))


@pytest.mark.parametrize(
    "noun",
    [
        CONTROL,
        Grant(GrantOutcome.CHANGED, LEASE, 250.0, None, dry_run=False, revision=12),
        Revert(RevertOutcome.FOREIGN, None),
    ],
)
def test_a_noun_arrives_with_all_its_fields(noun: object) -> None:
    answer = parse_answer(line(Answer(PROTOCOL, result=raw(noun))))

    assert noun == parse_result(answer.result, type(noun))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"GET / HTTP/1.1",
        b'{"protocol":1}',
        b'{"protocol":1,"verb":"shutdown"}',
        b'{"protocol":1,"verb":"list","extra":1}',
        b'{"protocol":2,"verb":"list"}',
        b'{"protocol":"1","verb":"list"}',
        b'{"protocol":1,"verb":"grant","gpu_uuid":"GPU-a"}',
        b'{"protocol":1,"verb":"revert-all","principal":7}',
        b'{"protocol":1,"verb":"audit","after_seq":"0","limit":1}',
        b'{"protocol":1,"verb":"list"' + b"[" * 5000,
    ],
)
def test_what_is_no_request_is_refused_before_anything_is_done(text: bytes) -> None:
    with pytest.raises(WireError):
        parse_request(text)


def test_a_request_of_another_version_is_told_to_update() -> None:
    with pytest.raises(WireError, match="protocol 2, this actuator speaks 1; run the exporter"):
        parse_request(b'{"protocol":2,"verb":"new","more":true}')


@pytest.mark.parametrize("unknown", ["floor_watts", "policy"])
def test_a_lease_request_with_an_unknown_key_is_refused(unknown: str) -> None:
    body = {"power_limit_watts": 1.0, "ttl_seconds": 9.0, "holder": "h", "reason": "r", unknown: 1}

    with pytest.raises(WireError, match=unknown):
        parse_lease_request(msgspec.Raw(msgspec.json.encode(body)))


def test_texts_have_an_end() -> None:
    long = "x" * (MAX_TEXT_CHARACTERS + 1)

    with pytest.raises(WireError, match="gpu_uuid is longer than"):
        parse_request(line(ReleaseLease(PROTOCOL, long, "alice")))


@pytest.mark.parametrize(
    "error",
    [
        InvalidLease("no", field="ttl_seconds", value=3, allowed="5..9"),
        UnknownDevice("no such", field="gpu_uuid", value="GPU-z"),
        LeaseHeld("held", holder="other", expires_in_seconds=2.5),
        LeaseLost("lost"),
        TooManyWrites("slow down", retry_after_seconds=4.25),
        LimitWriteFailed("driver"),
        ControlReadOnly("disk"),
    ],
)
def test_an_error_comes_out_as_the_one_that_went_in(error: JoulestatError) -> None:
    sent = parse_answer(line(Answer(PROTOCOL, failure=failure_of(error)))).failure

    assert sent is not None
    received = error_of(sent)

    assert type(error) is type(received)
    assert (str(error), vars(error)) == (str(received), vars(received))


def test_a_bug_tells_nothing_of_its_insides() -> None:
    failure = failure_of(RuntimeError("/root/secret"))

    assert "secret" not in failure.message
    assert isinstance(error_of(failure), ControlReadOnly)


@pytest.mark.parametrize("name", ["SystemExit", "WireError", "__import__", "PeerRefused"])
def test_only_errors_of_the_domain_are_made_of_a_name(name: str) -> None:
    assert type(error_of(Failure(name, "text"))) is ControlReadOnly


def test_half_an_error_is_no_error_of_that_class() -> None:
    assert type(error_of(Failure("LeaseHeld", "held"))) is ControlReadOnly


def test_an_answer_of_another_version_is_refused() -> None:
    with pytest.raises(WireError, match="protocol 9"):
        parse_answer(b'{"protocol":9}')


def test_numbers_keep_their_last_digit() -> None:
    request = ReadAudit(PROTOCOL, 2**53, 1000)

    assert request == parse_request(line(request))
