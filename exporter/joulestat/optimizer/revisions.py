"""At which revision each GPU's lease was before anything was decided in this round."""

from collections.abc import Iterable, Mapping
from typing import Any

from joulestat.client.admin import AdminClient
from joulestat.domain.errors import AdminError


class Revisions:
    """Reads every exporter once a round. For one thread.

    A decision may take long, and its process may be stopped meanwhile: what is written names the
    revision read here, so that it is refused where the lease has changed since.
    """

    def __init__(self) -> None:
        self._seen: dict[AdminClient, Mapping[str, int] | AdminError] = {}

    def begin_round(self) -> None:
        """Read the exporters of the last round again."""
        known = tuple(self._seen)
        self._seen.clear()
        self.look(known)

    def look(self, clients: Iterable[AdminClient]) -> None:
        """Read those exporters that were not read in this round; what fails is said by ``of``."""
        for client in clients:
            if client not in self._seen:
                try:
                    self._seen[client] = _revisions(client.gpus())
                except AdminError as error:
                    self._seen[client] = error

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


def _revisions(gpus: Iterable[Mapping[str, Any]]) -> Mapping[str, int]:
    return {
        str(gpu.get("gpu_uuid")): revision
        for gpu in gpus
        if isinstance(revision := gpu.get("revision"), int)
    }
