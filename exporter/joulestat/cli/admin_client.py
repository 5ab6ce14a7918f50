"""Clients of admin APIs, as the options of a command make them."""

import ssl
from collections.abc import Callable
from functools import cache
from pathlib import Path

from joulestat.cli.secret_file import secret_in
from joulestat.client.admin import AdminClient
from joulestat.client.encrypted import SCHEME, tls_context


def client_maker(
    token_file: Path | None,
    ca_file: Path | None = None,
    certificate_file: Path | None = None,
    key_file: Path | None = None,
) -> Callable[[str, str | None], AdminClient]:
    """Return what makes a client of a URL, with a token of its own or None for the common one.

    Args:
        token_file: Holds the common token; None for none.
        ca_file: Authorities to believe over https; None for the system's.
        certificate_file: Certificate to show there; None to show none.
        key_file: Its key; None where it is in the same file.

    Raises:
        click.UsageError: The file of the token holds none.
    """
    common_token = None if token_file is None else secret_in(token_file)

    @cache
    def trust() -> ssl.SSLContext:
        # One for all nodes, and none without https: reading the system's authorities takes 50 ms.
        return tls_context(ca_file, certificate_file, key_file)

    def make(url: str, token: str | None) -> AdminClient:
        tls = trust() if url.startswith(SCHEME) else None
        return AdminClient(url, common_token if token is None else token, tls=tls)

    return make
