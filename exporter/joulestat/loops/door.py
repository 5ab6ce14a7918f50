"""Lets peers in at one listening socket, and sends somebody away when there is no room.

Without a bound, whoever opens connections and asks nothing takes every file descriptor: then
nobody gets in, and neither the database nor the driver can be opened any more.
"""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, cast

from joulestat.loops.guest import Connection, Guest, peer_of

FAREWELL_SECONDS = 3.0
"""How long a peer may take to say goodbye in TLS."""

BATCH = 16
"""Peers let in at a time, so that what the others send is read in between."""

MOST_LOOKED_AT_BYTES = 16 * 1024
"""Of what a peer has sent, before it is let in."""

SILENT_SECONDS = 1
"""How long the kernel keeps a TCP connection that has said nothing to itself. So who asks is heard
at once, and is not sent away, of a thousand that came together, before it has said a word."""

YOUNG_SECONDS = 0.25
"""So long after it came, a peer is taken for one that asks and was not heard yet."""

BREATH_SECONDS = 0.1
"""How long nobody is let in when the host itself has no room."""

_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Door:
    """One listening socket; all on the thread of one event loop."""

    def __init__(
        self,
        listening: socket.socket,
        connection: Callable[[], Connection],
        *,
        most: int,
        farewell: Callable[[bytes], bytes | None],
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        """Prepare; nobody is let in yet.

        Args:
            listening: Bound and listening.
            connection: Makes what reads a connection.
            most: Connections at a time.
            farewell: Is shown what a peer has sent when there is no room; returns what to tell it
                before it is sent away, None if it deserves the place of one that waits.
            tls: Returns the context of a new connection; None for plain ones.
        """
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._connection = connection
        self._most = most
        self._farewell = farewell
        self._tls = tls
        self._guests: dict[Guest, None] = {}
        self._crowds: Counter[Hashable] = Counter()
        # Fewer at a time than there is room for: nobody shall leave who was not heard at all.
        self._batch = max(1, min(BATCH, most // 4))
        self._next: tuple[socket.socket, Any] | None = None
        self._is_open = False

    def open(self) -> None:
        """Begin to let peers in."""
        self._listening.settimeout(0)
        if self._listening.family != socket.AF_UNIX:
            self._listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, SILENT_SECONDS)
        self._is_open = True
        self._loop.add_reader(self._listening, self._let_in)

    def close(self) -> None:
        """Let nobody in any more; who is in stays, but for those who cannot be understood yet."""
        self._is_open = False
        self._loop.remove_reader(self._listening)
        self._listening.close()
        if self._next is not None:
            self._next[0].close()
            self._next = None
        for guest in self._guests:
            if guest.welcome is not None:
                guest.welcome.cancel()

    def _let_in(self) -> None:
        if not self._is_open:
            return
        leaving: list[Guest] | None = None
        for _ in range(self._batch):
            if self._next is None and not self._accept():
                return
            if len(self._guests) >= self._most:
                if self._turn_away():
                    continue
                leaving = self._by_patience() if leaving is None else leaving
                if not self._make_room(leaving) and self._anyone_unheard():
                    # They are heard before this comes round again, and then one may go.
                    self._loop.call_soon(self._let_in)
                    return
            self._welcome()

    def _accept(self) -> bool:
        """Take the next peer in the queue; tell whether there was one."""
        try:
            self._next = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            self._take_a_breath()
            return False
        return True

    def _turn_away(self) -> bool:
        """Send the next peer away at once if it does not deserve another's place.

        That costs a tenth of letting it in, so that those who come again and again, as soon as
        they are sent away, keep the others waiting for less.
        """
        if self._next is None or self._tls is not None:
            return False
        sock, _ = self._next
        try:
            beginning = sock.recv(MOST_LOOKED_AT_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            beginning = b""
        told = self._farewell(beginning) if beginning else b""
        if told is None:
            return False
        with contextlib.suppress(OSError):
            # Read before it is closed upon, or the peer would see a reset instead of the answer.
            sock.recv(MOST_LOOKED_AT_BYTES, socket.MSG_DONTWAIT)
            sock.send(told, socket.MSG_DONTWAIT)
        sock.close()
        self._next = None
        return True

    def _take_a_breath(self) -> None:
        """Wait a moment: the socket stays ready, so that accepting again at once would spin."""
        self._make_room(self._by_patience())
        self._loop.remove_reader(self._listening)
        self._loop.call_later(BREATH_SECONDS, self._breathe_on)

    def _breathe_on(self) -> None:
        if self._is_open:
            self._loop.add_reader(self._listening, self._let_in)

    def _by_patience(self) -> list[Guest]:
        """Return who may be sent away, first whom to send first, at the end of the list.

        Of the peer with most connections, the one that has kept us waiting longest.
        """
        waiting = [
            (self._crowds[guest.peer], -since, guest)
            for guest in self._guests
            if (since := guest.connection.waiting_since) is not None
        ]
        waiting.sort(key=lambda each: each[:2])
        return [guest for _, _, guest in waiting]

    def _make_room(self, leaving: list[Guest]) -> bool:
        while leaving:
            guest = leaving.pop()
            if guest in self._guests and self._may_go(guest):
                self._send_away(guest)
                return True
        return False

    def _may_go(self, guest: Guest) -> bool:
        return guest.connection.waiting_since is not None and not self._is_unheard(guest)

    def _anyone_unheard(self) -> bool:
        return any(self._is_unheard(guest) for guest in self._guests)

    def _is_unheard(self, guest: Guest) -> bool:
        """Tell whether a peer has just sent something that will be read in a moment."""
        since = guest.connection.waiting_since
        if since is None or self._loop.time() - since > YOUNG_SECONDS:
            return False
        try:
            return bool(guest.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:
            return False

    def _send_away(self, guest: Guest) -> None:
        self._forget(guest)
        if guest.welcome is not None:
            guest.welcome.cancel()
        else:
            guest.connection.dismiss()

    def _welcome(self) -> None:
        if self._next is None:
            return
        sock, address = self._next
        self._next = None
        guest = Guest(sock, peer_of(sock, address), self._connection())
        guest.connection.when_lost = partial(self._forget, guest)
        if len(self._guests) >= self._most:
            # Everybody else is being worked for.
            guest.connection.refuse()
        self._guests[guest] = None
        self._crowds[guest.peer] += 1
        guest.welcome = self._loop.create_task(self._connect(guest))

    async def _connect(self, guest: Guest) -> None:
        try:
            terms = self._terms(guest)
        except OSError:  # no certificate to show; who should know it has logged it
            guest.sock.close()
            self._forget(guest)
            return
        try:
            await self._loop.connect_accepted_socket(
                lambda: cast("asyncio.Protocol", guest.connection), guest.sock, **terms
            )
        except OSError:  # the peer left, or does not speak TLS
            self._forget(guest)
        except BaseException:
            self._forget(guest)
            raise
        else:
            guest.welcome = None

    def _terms(self, guest: Guest) -> dict[str, Any]:
        if self._tls is None:
            return {}
        return {
            "ssl": self._tls(),
            "ssl_handshake_timeout": guest.connection.head_seconds,
            "ssl_shutdown_timeout": FAREWELL_SECONDS,
        }

    def _forget(self, guest: Guest) -> None:
        """Count a guest no more. Idempotent."""
        if guest not in self._guests:
            return
        del self._guests[guest]
        self._crowds[guest.peer] -= 1
        if not self._crowds[guest.peer]:
            del self._crowds[guest.peer]
