"""The endpoint that training code pushes to."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from joulestat.domain.errors import InvalidPush
from joulestat.domain.run import Push, PushAnswer
from joulestat.server.answers import push_answer_json
from joulestat.server.connection import peer_pid
from joulestat.server.guard import read_json
from joulestat.server.problems import Refused
from joulestat.server.wire import parse_push

MAX_PUSH_BYTES = 16 * 1024


class PushDoor:
    """Takes pushes; runs on the event loop, because taking one costs microseconds."""

    def __init__(
        self,
        push: Callable[[Push], PushAnswer],
        *,
        resolve_index: Callable[[int], str | None],
        gpus_of_peer: Callable[[int | None], tuple[str, ...]] = lambda _: (),
        count_refused: Callable[[], None] | None = None,
    ) -> None:
        """Make the door.

        Args:
            push: Takes a push, or raises PushError and leaves everything as it was.
            resolve_index: Device UUID by index, None where there is none.
            gpus_of_peer: Device UUIDs of the process with an id, which is None where the
                connection does not tell; asked where a push names no devices. Must not wait.
            count_refused: Told of every push that was no valid push, and so never reached
                ``push``.
        """
        self._push = push
        self._resolve_index = resolve_index
        self._gpus_of_peer = gpus_of_peer
        self._count_refused = count_refused

    async def take(self, request: Request) -> Response:
        """Answer ``POST /v1/push``: 200 for an accepted push and for a duplicate alike."""
        try:
            body = await read_json(request, MAX_PUSH_BYTES)
            pid = peer_pid(request.scope)
            push = parse_push(body, self._resolve_index, lambda: self._gpus_of_peer(pid))
        except (InvalidPush, Refused):
            if self._count_refused is not None:
                self._count_refused()
            raise
        return Response(push_answer_json(self._push(push)), media_type="application/json")
