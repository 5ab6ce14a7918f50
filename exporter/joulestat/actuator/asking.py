"""One question to the actuator, and its answer, within a time."""

import socket
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from joulestat.actuator.failures import error_of
from joulestat.actuator.wire import (
    MAX_ANSWER_BYTES,
    Request,
    WireError,
    line,
    parse_answer,
    parse_result,
)
from joulestat.domain.clock import Clock
from joulestat.domain.errors import ControlReadOnly
from joulestat.domain.units import ns_to_seconds, seconds_to_ns

T = TypeVar("T")


class ActuatorLine:
    """Asks one actuator. Any thread may.

    Every request has a connection of its own, so there is none to lose: an actuator that was
    started again answers the next request.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def ask(self, request: Request, kind: type[T], timeout_seconds: float) -> T:
        """Return what a request is answered.

        Args:
            request: What is asked.
            kind: What the answer must be.
            timeout_seconds: When to give up.

        Raises:
            ControlReadOnly: The actuator does not answer, or not as one of this version would.
            JoulestatError: What the actuator raised.
        """
        deadline_ns = self._clock.monotonic_ns() + seconds_to_ns(timeout_seconds)
        with socket.socket(socket.AF_UNIX) as connection:
            self._connect(connection, timeout_seconds)
            try:
                # Whoever is refused hears why, even where it is refused before it has spoken.
                with suppress(BrokenPipeError, ConnectionResetError):
                    connection.sendall(line(request))
                text = self._read(connection, deadline_ns)
            except OSError as error:
                why = "no answer in time" if isinstance(error, TimeoutError) else str(error)
                raise ControlReadOnly(
                    f"the actuator does not answer on {self._path} ({why}); whether the request "
                    "was carried out is not known: see GET /v1/gpus, or send it again with the "
                    "same Idempotency-Key"
                ) from error
        try:
            answer = parse_answer(text)
            if answer.failure is None:
                return parse_result(answer.result, kind)
        except WireError as error:
            raise ControlReadOnly(f"the actuator on {self._path} is another one: {error}") from None
        raise error_of(answer.failure)

    def _connect(self, connection: socket.socket, timeout_seconds: float) -> None:
        connection.settimeout(timeout_seconds)
        try:
            connection.connect(str(self._path))
        except OSError as error:
            raise ControlReadOnly(
                f"the actuator does not answer on {self._path} ({error.strerror or error}), "
                "so nothing was changed; see that 'joulestat actuator' runs and that this user may "
                "use its socket"
            ) from error

    def _read(self, connection: socket.socket, deadline_ns: int) -> bytes:
        """Return the answer's line.

        Raises:
            OSError: It did not come, or not in time.
        """
        text = bytearray()
        while not text.endswith(b"\n"):
            left_seconds = ns_to_seconds(deadline_ns - self._clock.monotonic_ns())
            if left_seconds <= 0:
                raise TimeoutError
            connection.settimeout(left_seconds)
            part = connection.recv(65_536)
            text += part
            if not part or len(text) > MAX_ANSWER_BYTES:
                raise OSError("it closed the connection" if not part else "it says too much")
        return bytes(text)
