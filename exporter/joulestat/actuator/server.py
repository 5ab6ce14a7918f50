"""The actuator's socket: who may speak, one request at a time per connection, within deadlines."""

import asyncio
import logging
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import msgspec

from joulestat.actuator.failures import NO_REQUEST, failure_of
from joulestat.actuator.peers import Peer, PeerRule, peer_of
from joulestat.actuator.verbs import Verbs
from joulestat.actuator.wire import (
    MAX_REQUEST_BYTES,
    PROTOCOL,
    Answer,
    Failure,
    ListControls,
    WireError,
    line,
    parse_request,
)
from joulestat.domain.errors import JoulestatError
from joulestat.power.side_by_side import Spawn

_MOST_REMEMBERED_PEERS = 64

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What one peer can cost the others.

    Attributes:
        connections: Open at once; one more closes the one that has been idle longest.
        request_seconds: From the last answer, or from connecting, to the end of a request.
        answer_seconds: How long a peer may take to read an answer.
    """

    connections: int = 64
    request_seconds: float = 5.0
    answer_seconds: float = 5.0


class ActuatorServer:
    """Answers peers. Everything but ``stop`` belongs to the thread that runs ``serve``."""

    def __init__(
        self,
        verbs: Verbs,
        peers: PeerRule,
        spawn: Spawn,
        limits: ServerLimits = ServerLimits(),
    ) -> None:
        """Make a server that listens nowhere yet.

        Args:
            verbs: What it can do.
            peers: Who may speak.
            spawn: Starts a daemon thread for what waits for a driver.
            limits: What one peer can cost the others.
        """
        self._verbs = verbs
        self._peers = peers
        self._spawn = spawn
        self._limits = limits
        # The one that has been idle longest comes first.
        self._idle: OrderedDict[asyncio.StreamWriter, None] = OrderedDict()
        self._busy: set[asyncio.StreamWriter] = set()
        self._refused_uids: set[int] = set()
        self._talks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._serves = threading.Event()

    def run(self, listening: socket.socket) -> None:
        """Serve until ``stop``; closes the socket."""
        asyncio.run(self._serve(listening))

    def answers(self, patience_seconds: float) -> bool:
        """Tell whether the loop that peers are answered from comes round within a time.

        Any thread but its own.
        """
        came_round = threading.Event()
        if not self._serves.wait(patience_seconds) or self._loop is None:
            return False
        try:
            self._loop.call_soon_threadsafe(came_round.set)
        except RuntimeError:  # it has ended by itself
            return False
        return came_round.wait(patience_seconds)

    def stop(self) -> None:
        """Let ``run`` return; requests in progress are not waited for. Any thread."""
        loop = self._loop
        if loop is None:
            self._stopping.set()
            return
        with suppress(RuntimeError):  # it has ended by itself
            loop.call_soon_threadsafe(self._stopping.set)

    async def _serve(self, listening: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_unix_server(
            self._talk, sock=listening, limit=MAX_REQUEST_BYTES
        )
        self._serves.set()
        await self._stopping.wait()
        server.close()
        for each in self._talks:
            each.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)
        # Once round, in which the connections that they gave up are closed.
        await asyncio.sleep(0)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # So that waiting for the buffer to drain is waiting until the kernel has all of it.
        writer.transport.set_write_buffer_limits(high=0)
        talk = asyncio.current_task()
        if talk is not None:
            self._talks.add(talk)
            talk.add_done_callback(self._talks.discard)
        try:
            if await self._admits(writer):
                while await self._answer_one(reader, writer):
                    pass
        except (OSError, TimeoutError):
            log.debug("event=actuator_connection_lost")
        finally:
            self._idle.pop(writer, None)
            self._busy.discard(writer)
            # Not close: what a stuck peer does not read would be kept for it.
            writer.transport.abort()

    async def _admits(self, writer: asyncio.StreamWriter) -> bool:
        peer = peer_of(writer.get_extra_info("socket"))
        if not self._peers.admits(peer):
            self._tell_of(peer)
            text = (
                f"user {peer.uid} may not speak to the actuator; name the exporter's user in "
                "allowed-users of the policy file"
            )
            await self._send(writer, Answer(PROTOCOL, failure=Failure("PeerRefused", text)))
            return False
        if len(self._idle) + len(self._busy) >= self._limits.connections and not self._make_room():
            text = f"{self._limits.connections} requests are in progress; ask again"
            await self._send(writer, Answer(PROTOCOL, failure=Failure("Busy", text)))
            return False
        return True

    def _make_room(self) -> bool:
        if not self._idle:
            return False
        longest, _ = self._idle.popitem(last=False)
        longest.transport.abort()
        return True

    def _tell_of(self, peer: Peer) -> None:
        """Log a refused peer, each user once: it may come back a thousand times a second."""
        if peer.uid in self._refused_uids or len(self._refused_uids) >= _MOST_REMEMBERED_PEERS:
            return
        self._refused_uids.add(peer.uid)
        log.warning("event=actuator_peer_refused uid=%d pid=%d", peer.uid, peer.pid)

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Take one request and answer it; return whether the connection goes on."""
        self._busy.discard(writer)
        self._idle[writer] = None
        try:
            async with asyncio.timeout(self._limits.request_seconds):
                request = await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            return False
        except asyncio.LimitOverrunError:
            text = f"a request has at most {MAX_REQUEST_BYTES} bytes"
            await self._send(writer, Answer(PROTOCOL, failure=Failure(NO_REQUEST, text)))
            return False
        self._idle.pop(writer, None)
        self._busy.add(writer)
        answer = await self._answer(request)
        await self._send(writer, answer)
        # Whoever sends what is no request has lost its place in the conversation.
        return answer.failure is None or answer.failure.name != NO_REQUEST

    async def _answer(self, text: bytes) -> Answer:
        try:
            request = parse_request(text)
            if isinstance(request, ListControls):
                return Answer(PROTOCOL, result=self._verbs.listed())
            result = await self._on_a_thread(partial(self._verbs.carry_out, request))
        except WireError as error:
            return Answer(PROTOCOL, failure=Failure(NO_REQUEST, str(error)))
        except JoulestatError as error:
            return Answer(PROTOCOL, failure=failure_of(error))
        except Exception as error:
            log.exception("event=actuator_request_failed")
            return Answer(PROTOCOL, failure=failure_of(error))
        return Answer(PROTOCOL, result=result)

    async def _on_a_thread(self, job: Callable[[], msgspec.Raw]) -> msgspec.Raw:
        """Run what may wait for a driver; one that hangs keeps only this connection waiting."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[msgspec.Raw] = loop.create_future()

        def settle(result: msgspec.Raw | None, error: Exception | None) -> None:
            if done.done():
                return
            if error is not None:
                done.set_exception(error)
            elif result is not None:
                done.set_result(result)

        def run() -> None:
            result: msgspec.Raw | None = None
            failed: Exception | None = None
            try:
                result = job()
            except Exception as error:  # noqa: BLE001 - raised where it is waited for
                failed = error
            with suppress(RuntimeError):  # the loop has ended: nobody waits any more
                loop.call_soon_threadsafe(settle, result, failed)

        self._spawn(run)
        return await done

    async def _send(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        writer.write(line(answer))
        async with asyncio.timeout(self._limits.answer_seconds):
            await writer.drain()
