"""How a publisher finds the admin API of a GPU, and the simplest way: by asking all of them."""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from joulestat.client.admin import AdminClient

MakeClient = Callable[[str, str | None], AdminClient]
"""Makes a client of a URL, with a token of its own or None for the common one."""


class Addresses(Protocol):
    """Where the admin APIs are. For one thread."""

    def refresh(self) -> None:
        """Take note that a round begins: what may have changed is read again."""

    def clients(self, instances: Collection[str]) -> Sequence[AdminClient]:
        """Return the clients that may have a GPU, likeliest first.

        Args:
            instances: Values of the ``instance`` label that the GPU is shown with now.

        Raises:
            AdminError: There is none. Without a status, another round may find one.
        """


class GivenAddresses:
    """These and no others; which of them has a GPU is found out by asking."""

    def __init__(self, clients: Sequence[AdminClient]) -> None:
        self._clients = tuple(clients)

    def refresh(self) -> None:
        """Do nothing: they stay."""

    def clients(self, instances: Collection[str]) -> Sequence[AdminClient]:
        """Return all of them."""
        del instances
        return self._clients
