"""Flags that say where the exporters' admin APIs are, and the clients that they make."""

from dataclasses import dataclass
from pathlib import Path

from joulestat.cli.admin_client import client_maker
from joulestat.client.admin import AdminClient
from joulestat.domain.errors import AdminError
from joulestat.optimizer.addresses.file import AddressFile
from joulestat.optimizer.addresses.given import Addresses, GivenAddresses, MakeClient
from joulestat.optimizer.addresses.template import AddressTemplate


@dataclass(frozen=True, kw_only=True)
class AdminFlags:
    """Where they are and the credentials; names are those of the options.

    Without slots: a class that is more than one kind of flags can inherit them from one only.
    """

    admin_urls: tuple[str, ...]
    admin_url_template: str | None
    admin_addresses_file: Path | None
    admin_token_file: Path | None
    admin_ca_file: Path | None
    admin_certificate_file: Path | None
    admin_key_file: Path | None

    @property
    def finds_admins(self) -> bool:
        """Whether admin APIs are found by the ``instance`` label of a GPU's series."""
        return self.admin_url_template is not None or self.admin_addresses_file is not None

    @property
    def has_admins(self) -> bool:
        """Whether there is any way to an admin API."""
        return bool(self.admin_urls) or self.finds_admins

    def wrong_admin(self) -> dict[str, bool]:
        """Return what cannot be meant together, and whether it was said."""
        ways = (self.admin_urls, self.admin_url_template, self.admin_addresses_file)
        return {
            "--admin.url, --admin.url-template and --admin.addresses-file: give one of them": (
                sum(bool(way) for way in ways) > 1
            ),
            "--admin.key-file belongs to --admin.certificate-file": (
                self.admin_key_file is not None and self.admin_certificate_file is None
            ),
        }

    def addresses(self) -> Addresses:
        """Return where the admin APIs are.

        Raises:
            AdminError: What is named cannot be used.
        """
        if self.admin_addresses_file is not None:
            return AddressFile(self.admin_addresses_file, self._make_client())
        if self.admin_url_template is None:
            return GivenAddresses(self.admins())
        template = AddressTemplate(self.admin_url_template, self._make_client())
        if template.is_encrypted and not (template.has_domain or self.admin_ca_file):
            raise AdminError(
                f"--admin.url-template {self.admin_url_template!r} would send the token to any "
                "host that a label names and a public authority knows; give your own authority "
                "with --admin.ca-file, or your domain after {host}"
            )
        return template

    def admins(self) -> list[AdminClient]:
        """Return a client of each admin API that is named.

        Raises:
            AdminError: A URL cannot be used.
        """
        make = self._make_client()
        return [make(url, None) for url in self.admin_urls]

    def _make_client(self) -> MakeClient:
        return client_maker(
            self.admin_token_file,
            self.admin_ca_file,
            self.admin_certificate_file,
            self.admin_key_file,
        )
