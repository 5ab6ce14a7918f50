"""Admin APIs listed in a file: an address, and if need be a token, for each ``instance`` label."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from joulestat.client.admin import AdminClient
from joulestat.domain.errors import AdminError
from joulestat.optimizer.addresses.given import MakeClient
from joulestat.optimizer.addresses.template import NOT_FOUND

LARGEST_FILE_BYTES = 4 * 2**20
"""Of 50,000 nodes; 625 are read in a quarter of a second, and again only if it changed."""

_ALLOWED = "give a URL, or url and token-file"


class AddressFile:
    """A YAML mapping of ``instance`` to a URL, read again in every round."""

    def __init__(self, path: Path, make_client: MakeClient) -> None:
        """Read it once, so that what is wrong with it is said at the start.

        Args:
            path: The file.
            make_client: Makes clients of what it lists.

        Raises:
            AdminError: It cannot be used.
        """
        self._path = path
        self._make_client = make_client
        self._entries: Mapping[str, Any] = {}
        self._problem = ""
        self._read_last: bytes | None = None
        self._clients: dict[tuple[str, str | None], AdminClient] = {}
        self.refresh()
        if self._problem:
            raise AdminError(self._problem)
        for instance in self._entries:
            self._client(instance)

    def refresh(self) -> None:
        """Read it again. What is wrong with it now is said of each run that needs it."""
        try:
            text = self._read()
            if self._problem or text != self._read_last:
                self._entries, self._problem, self._read_last = self._parsed(text), "", text
        except AdminError as error:
            self._entries, self._problem = {}, str(error)

    def clients(self, instances: Collection[str]) -> Sequence[AdminClient]:
        """Return a client for each of these instances that the file lists."""
        if self._problem:
            raise AdminError(self._problem)
        known = [instance for instance in sorted(instances) if instance in self._entries]
        if not known:
            shown = ", ".join(repr(instance[:100]) for instance in sorted(instances))
            raise AdminError(
                f"{self._path} has no address for instance {shown or 'of series without the label'}"
                "; add it, and the next round finds it",
                status=NOT_FOUND,
            )
        return [self._client(instance) for instance in known]

    def _client(self, instance: str) -> AdminClient:
        url, token = self._address(instance)
        client = self._clients.get((url, token))
        if client is None:
            try:
                client = self._make_client(url, token)
            except AdminError as error:
                raise AdminError(f"{self._place(instance)}: {error}") from error
            self._clients[url, token] = client
        return client

    def _address(self, instance: str) -> tuple[str, str | None]:
        entry = self._entries[instance]
        if isinstance(entry, str):
            return entry, None
        if not isinstance(entry, dict) or not {"url"} <= entry.keys() <= {"url", "token-file"}:
            raise AdminError(f"{self._place(instance)} is no address; {_ALLOWED}")
        url, token_file = entry["url"], entry.get("token-file")
        if not isinstance(url, str) or not isinstance(token_file, str | None):
            raise AdminError(f"{self._place(instance)} is no address; {_ALLOWED}")
        return url, None if token_file is None else self._token(instance, token_file)

    def _token(self, instance: str, token_file: str) -> str:
        path = self._path.parent / Path(token_file).expanduser()
        try:
            return path.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            raise AdminError(
                f"{self._place(instance)}: its token cannot be read from {path}: {error}"
            ) from error

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                text = file.read(LARGEST_FILE_BYTES + 1)
        except OSError as error:
            raise AdminError(f"{self._path} cannot be read: {error.strerror}") from error
        if len(text) > LARGEST_FILE_BYTES:
            raise AdminError(f"{self._path} is larger than {LARGEST_FILE_BYTES} bytes")
        return text

    def _parsed(self, text: bytes) -> Mapping[str, Any]:
        try:
            document = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            where = "" if mark is None else f", line {mark.line + 1}"
            raise AdminError(
                f"{self._path}{where}: not YAML, or an instance is given twice"
            ) from error
        found = document.get("addresses") if isinstance(document, dict) else None
        if not isinstance(found, dict) or document.keys() != {"addresses"} or not found:
            raise AdminError(
                f"{self._path}: its only key must be addresses, with instance: URL below it"
            )
        wrong = [key for key in found if not isinstance(key, str)]
        if wrong:
            raise AdminError(
                f"{self._path}: the instance {wrong[0]!r} is not text; put it in quotes"
            )
        return found

    def _place(self, instance: str) -> str:
        return f"{self._path}: addresses.{instance}"


class _Loader(yaml.SafeLoader):
    """YAML as ``safe_load`` reads it, but a key given twice is an error, not the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        keys = [str(key.value) for key, _ in node.value]
        if len(set(keys)) != len(keys):
            raise yaml.constructor.ConstructorError(problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)
