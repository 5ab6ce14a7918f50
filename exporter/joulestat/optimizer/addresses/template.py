"""Admin APIs whose address follows from the ``instance`` label, by a template."""

import re
from collections.abc import Collection, Sequence

from joulestat.client.admin import AdminClient
from joulestat.domain.errors import AdminError
from joulestat.optimizer.addresses.given import MakeClient
from joulestat.optimizer.addresses.instance import LONGEST_NAME, host_of, is_host

HOST = "{host}"
INSTANCE = "{instance}"
NOT_FOUND = 404

_PLACEHOLDER = re.compile(r"\{[^}]*\}|[{}]")
_TEMPLATE = re.compile(
    r"(?P<before>https?://[A-Za-z0-9_.-]*|unix:/(?:[^/\0]+/)*[^/\0]*)"
    r"\{(?P<what>host|instance)\}"
    r"(?P<after>[^\0]*)"
)
_AFTER_URL = re.compile(r"(?P<domain>[A-Za-z0-9_.-]*)(?::[0-9]{1,5})?/?")


class AddressTemplate:
    """A URL with ``{host}`` where the host of the label belongs, or ``{instance}``: all of it.

    Scheme, port and all else are the template's, whatever the label says.
    """

    def __init__(self, template: str, make_client: MakeClient) -> None:
        """Take a template; nothing is asked yet.

        Args:
            template: For example ``https://{host}.gpu.example:10401``.
            make_client: Makes clients of what it yields.

        Raises:
            AdminError: It is no template, or no client can be made of what it yields.
        """
        match = _TEMPLATE.fullmatch(template)
        placeholders = _PLACEHOLDER.findall(template)
        if match is None or len(placeholders) != 1:
            raise AdminError(_no_template(template))
        self._before, self._after, self._what = match["before"], match["after"], match["what"]
        self._is_url = not template.startswith("unix:")
        after = _AFTER_URL.fullmatch(self._after) if self._is_url else None
        if self._is_url and after is None:
            raise AdminError(_no_template(template))
        domain = after["domain"].partition(".")[2] if after is not None else ""
        # Of two names or more, as gpu.example: one alone may be anybody's to register below.
        self.has_domain = "." in domain.strip(".")
        self.is_encrypted = template.startswith("https://")
        self._make_client = make_client
        self._clients: dict[str, AdminClient] = {}
        # What is wrong with it is said now; of plain http only this host's addresses are right.
        plain = template.startswith("http://")
        try:
            make_client(self._url("localhost" if plain else "node-1"), None)
        except ValueError as error:
            raise AdminError(_no_template(template)) from error

    def refresh(self) -> None:
        """Do nothing: it stays."""

    def clients(self, instances: Collection[str]) -> Sequence[AdminClient]:
        """Return a client for each host that the labels name."""
        refusals: list[str] = []
        found: dict[str, AdminClient] = {}
        for instance in sorted(instances):
            try:
                url = self._url(instance)
            except ValueError as error:
                refusals.append(str(error))
                continue
            if url not in self._clients:
                self._clients[url] = self._make_client(url, None)
            found[url] = self._clients[url]
        if not found:
            said = "; ".join(refusals) or "its series have no instance label"
            raise AdminError(f"no admin API's address can be made: {said}", status=NOT_FOUND)
        return list(found.values())

    def _url(self, instance: str) -> str:
        host = host_of(instance)
        if self._what == "instance" and host != instance.lower():
            msg = f"the instance label {instance[:100]!r} is not a host alone; write {HOST} instead"
            raise ValueError(msg)
        if self._is_url:
            name = self._before.partition("://")[2] + host
            name += self._after.partition(":")[0].rstrip("/")
            bare = name == host
            if len(name) > LONGEST_NAME or not (bare or is_host(name)):
                msg = (
                    f"the instance label {instance[:100]!r} makes {name[:100]!r}, which is no host"
                )
                raise ValueError(msg)
        return f"{self._before}{host}{self._after}"


def _no_template(template: str) -> str:
    return (
        f"--admin.url-template {template!r}: write one {HOST} (or {INSTANCE}) where the host "
        "belongs, and nothing else in braces, for example https://{host}.gpu.example:10401 or "
        "unix:/run/joulestat/{host}.sock"
    )
