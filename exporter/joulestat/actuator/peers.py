"""Who may speak to the actuator: told by the kernel, not by what a peer says of itself."""

import errno
import socket
import struct
from dataclasses import dataclass

_CREDENTIALS = struct.Struct("3i")
_SO_PEERGROUPS = 59
"""Not among Python's names; from include/uapi/asm-generic/socket.h, Linux 4.13 and later."""
_MOST_GROUPS_BYTES = 1024
"""The most that Python's ``getsockopt`` takes: 256 groups."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end, as it was when it connected."""

    pid: int
    uid: int
    gids: frozenset[int]


@dataclass(frozen=True, slots=True)
class PeerRule:
    """Who may speak.

    Attributes:
        uids: Users; root and the actuator's own user are among them in any case.
        gids: Groups; a peer may be in one by any of its groups.
    """

    uids: frozenset[int]
    gids: frozenset[int] = frozenset()

    def admits(self, peer: Peer) -> bool:
        """Tell whether a peer may speak."""
        return peer.uid in self.uids or bool(peer.gids & self.gids)


def peer_of(connection: socket.socket) -> Peer:
    """Return who is at the other end of a connected Unix socket.

    Raises:
        OSError: The kernel does not say.

    Source:
        SO_PEERCRED in unix(7).
    """
    pid, uid, gid = _CREDENTIALS.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    return Peer(pid, uid, frozenset({gid, *_other_groups(connection)}))


def _other_groups(connection: socket.socket) -> tuple[int, ...]:
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_GROUPS_BYTES)
    except OSError as error:
        # An older kernel, or more groups than fit: then the primary group alone counts.
        if error.errno in (errno.ENOPROTOOPT, errno.ERANGE, errno.EINVAL):
            return ()
        raise
    return struct.unpack(f"{len(raw) // 4}I", raw)
