"""At which revision each GPU's lease was before anything was decided in this round."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from joulestat.client.admin import AdminClient
from joulestat.domain.errors import AdminError

READERS = 32
"""Exporters that are read at once: of 1,000 nodes over TLS, 30 ms each, all in a second."""

PATIENCE_SECONDS = 15.0
"""For all that are read at once: more than one exporter's 10 s, so that few silent ones cost no
other its answer, and many of them no more than this."""

Seen = Mapping[str, int] | AdminError


class Revisions:
    """Reads every exporter once a round, several at once. For one thread.

    A decision may take long, and its process may be stopped meanwhile: what is written names the
    revision read here, so that it is refused where the lease has changed since.
    """

    def __init__(self, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Remember nothing yet.

        Args:
            patience_seconds: How long a look may take, however many exporters are silent.
        """
        self._patience_seconds = patience_seconds
        self._seen: dict[AdminClient, Seen] = {}

    def begin_round(self, clients: Iterable[AdminClient] = ()) -> None:
        """Forget what was read, and read these exporters; others when they are asked for."""
        self._seen.clear()
        self.look(clients)

    def look(self, clients: Iterable[AdminClient]) -> None:
        """Read those exporters that were not read in this round; what fails is said by ``of``."""
        unread = [client for client in dict.fromkeys(clients) if client not in self._seen]
        if len(unread) < 2:
            self._seen.update((client, _read(client)) for client in unread)
        else:
            self._seen.update(_read_at_once(unread, self._patience_seconds))

    def of(self, client: AdminClient, uuid: str) -> int | None:
        """Return a GPU's revision, None where this exporter does not have the GPU.

        Raises:
            AdminError: The exporter did not answer in this round.
        """
        self.look([client])
        seen = self._seen[client]
        if isinstance(seen, AdminError):
            raise seen
        return seen.get(uuid)

    def note(self, client: AdminClient, uuid: str, revision: object) -> None:
        """Take note of the revision that a write of this round's own has led to."""
        seen = self._seen.get(client)
        if isinstance(seen, Mapping) and isinstance(revision, int):
            self._seen[client] = {**seen, uuid: revision}

    def read_again(self, client: AdminClient, uuid: str) -> None:
        """Read a GPU after its lease was ended, which names no revision."""
        try:
            self.note(client, uuid, client.gpu(uuid).get("revision"))
        except AdminError as error:
            self._seen[client] = error


def _read_at_once(
    clients: Sequence[AdminClient], patience_seconds: float
) -> dict[AdminClient, Seen]:
    """Read exporters side by side. Who has not answered in time is left to a later round."""
    pool = ThreadPoolExecutor(min(READERS, len(clients)), thread_name_prefix="revisions")
    try:
        asked = {client: pool.submit(_read, client) for client in clients}
        wait(asked.values(), patience_seconds)
        return {
            client: reading.result() if reading.done() else _too_late(client, patience_seconds)
            for client, reading in asked.items()
        }
    finally:
        # Each ends by its own timeout; nobody waits for that, and nobody reads what it brings.
        pool.shutdown(wait=False, cancel_futures=True)


def _read(client: AdminClient) -> Seen:
    try:
        return _revisions(client.gpus())
    except AdminError as error:
        return error


def _too_late(client: AdminClient, patience_seconds: float) -> AdminError:
    return AdminError(
        f"no answer from the admin API at {client.url} within the {patience_seconds:g} s that a "
        "round waits for all exporters; many are silent: see that they run and can be reached"
    )


def _revisions(gpus: Iterable[Mapping[str, Any]]) -> Mapping[str, int]:
    return {
        str(gpu.get("gpu_uuid")): revision
        for gpu in gpus
        if isinstance(revision := gpu.get("revision"), int)
    }
