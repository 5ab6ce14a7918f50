"""Every error has a status, and every refusal one body format."""

from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from fakes.asgi import call
from joulestat.domain import errors
from joulestat.server import problems

MADE = {
    errors.FieldError: {"field": "f", "value": "v"},
    errors.ConfigError: {"field": "f", "value": "v", "place": "here"},
    errors.DeviceError: {"call": "nvmlX", "error": "LOST"},
    errors.LeaseHeld: {"holder": "other", "expires_in_seconds": 12.5},
    errors.TooManyWrites: {"retry_after_seconds": 3.2},
}


def tree(cls: type[errors.JoulestatError]) -> Iterator[type[errors.JoulestatError]]:
    yield cls
    for child in cls.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


def made(cls: type[errors.JoulestatError], text: str = "what happened") -> errors.JoulestatError:
    arguments = next((MADE[parent] for parent in cls.__mro__ if parent in MADE), {})
    return cls(text, **arguments)


def answer_to(error: Exception):
    async def fail(_request: Request) -> None:
        raise error

    app = Starlette(routes=[Route("/", fail)], exception_handlers=dict(problems.HANDLERS))
    return call(app, "GET", "/")


@pytest.mark.parametrize("cls", sorted(set(tree(errors.JoulestatError)), key=lambda c: c.__name__))
def test_every_error_of_the_tree_stands_in_the_table(cls: type[errors.JoulestatError]) -> None:
    assert cls in problems.STATUS

    answer = answer_to(made(cls))

    assert problems.STATUS[cls] == answer.status
    assert "application/problem+json" == answer.headers["content-type"]
    assert answer.json().keys() >= {"type", "title", "status", "detail"}
    assert answer.status == answer.json()["status"]
    assert "what happened" == answer.json()["detail"]


def test_a_class_added_later_has_its_parents_status() -> None:
    class LeaseHeldTwice(errors.LeaseHeld):
        pass

    error = LeaseHeldTwice("x", holder="a", expires_in_seconds=1)

    assert 409 == problems.status_of(error)


def test_an_error_about_a_field_names_field_value_and_range() -> None:
    error = errors.InvalidLease("no", field="power_limit_watts", value=9000, allowed="100..300")

    body = answer_to(error).json()

    assert "power_limit_watts" == body["field"]
    assert "9000" == body["value"]
    assert "100..300" == body["allowed"]
    assert "urn:joulestat:problem:invalid-lease" == body["type"]


def test_a_held_lease_names_its_holder_and_the_time_left() -> None:
    body = answer_to(errors.LeaseHeld("no", holder="other", expires_in_seconds=12.5)).json()

    assert ("other", 12.5) == (body["holder"], body["expires_in_seconds"])


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (errors.TooManyWrites("slowly", retry_after_seconds=3.2), "4"),
        (errors.TooManyWrites("slowly", retry_after_seconds=0.0), "1"),
        (errors.PushOverload("full"), str(problems.PUSH_RETRY_SECONDS)),
    ],
)
def test_too_many_requests_say_when_to_come_back(error: Exception, seconds: str) -> None:
    answer = answer_to(error)

    assert 429 == answer.status
    assert seconds == answer.headers["retry-after"]


def test_a_value_that_is_no_unicode_can_still_be_answered() -> None:
    answer = answer_to(errors.InvalidPush("no \ud800", field="run", value="\ud800\n"))

    assert 422 == answer.status
    assert "?\n" == answer.json()["value"]


def test_a_bug_says_nothing_of_its_insides() -> None:
    async def fail(_request: Request) -> None:
        raise RuntimeError("the password is hunter2")

    app = Starlette(routes=[Route("/", fail)], exception_handlers=dict(problems.HANDLERS))
    answer = call(app, "GET", "/", raises=RuntimeError)

    assert 500 == answer.status
    assert "application/problem+json" == answer.headers["content-type"]
    assert "hunter2" not in answer.text
