"""Errors of the domain over the socket: by name there, and the same class here."""

from collections.abc import Iterator

from joulestat.actuator.wire import Failure
from joulestat.domain import errors
from joulestat.domain.errors import ControlReadOnly, JoulestatError

NO_REQUEST = "NoRequest"
"""Name of what is wrong with a line, rather than with what it asks."""

UNEXPECTED = "Unexpected"
"""Name of what is a bug: its text stays in the actuator's log."""


def _tree(root: type[JoulestatError]) -> Iterator[type[JoulestatError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _tree(child)


_BY_NAME = {cls.__name__: cls for cls in _tree(JoulestatError)}


def failure_of(error: Exception) -> Failure:
    """Return an error as it travels; what is not of the domain says nothing of its insides."""
    if not isinstance(error, JoulestatError):
        return Failure(UNEXPECTED, "the actuator failed; its log has the traceback")
    members = {
        name: value
        for name, value in vars(error).items()
        if value is None or isinstance(value, str | int | float)
    }
    return Failure(type(error).__name__, str(error), members)


def error_of(failure: Failure) -> JoulestatError:
    """Return the error that a failure stands for; one of no known name as ControlReadOnly."""
    cls = _BY_NAME.get(failure.name)
    if cls is None:
        return ControlReadOnly(f"the actuator refused the request: {failure.message}")
    try:
        return cls(failure.message, **failure.members)
    except TypeError:
        return ControlReadOnly(f"the actuator answered half a {failure.name}: {failure.message}")
