"""The doctor and an admin API behind TLS that asks for certificates."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from fakes.certificates import Certificates, make_certificates
from joulestat.cli.doctor import doctor
from servers.exporter import Exporter
from servers.tls_front import TlsFront

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on PATH")


@dataclass(frozen=True)
class Node:
    """An exporter whose admin API is reached over TLS."""

    folder: Path
    certificates: Certificates
    front: TlsFront

    @property
    def tls(self) -> tuple[str, ...]:
        return (
            f"--admin.ca-file={self.certificates.authority}",
            f"--admin.certificate-file={self.certificates.client}",
            f"--admin.key-file={self.certificates.client_key}",
        )

    def found(self, *arguments: str) -> dict[str, str]:
        """Return what the doctor says, and advises, by check."""
        nobody = "http://127.0.0.1:1"
        common = ("--output=json", f"--url={nobody}", f"--prometheus.url={nobody}")
        token = f"--admin.token-file={self.folder / 'token'}"
        result = CliRunner().invoke(doctor, [*common, token, *arguments])
        return {
            each["check"]: f"{each['found']} {each['cure']}" for each in json.loads(result.output)
        }


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("d")
    certificates = make_certificates(folder)
    with (
        Exporter(folder / "a") as exporter,
        TlsFront(certificates, exporter.admin_socket, "127.0.0.1") as front,
    ):
        (folder / "token").write_text(exporter.token)
        yield Node(folder, certificates, front)


def test_the_doctor_believes_and_shows_what_it_is_given(node: Node) -> None:
    url = f"https://127.0.0.1:{node.front.port}"
    believing = node.found(f"--admin.url={url}", *node.tls)
    doubting = node.found(f"--admin.url={url}")

    assert f"answers at {url}" in believing["admin API"]
    assert "operator: may hold limits" in believing["admin role"]
    assert "check --admin.ca-file" in doubting["admin API"]


def test_an_address_of_the_configuration_is_asked_over_tls_where_its_web_file_has_some(
    node: Node,
) -> None:
    web = node.folder / "web.yaml"
    web.write_text("tls_server_config: {cert_file: a.pem, key_file: a.key}\n")
    config = node.folder / "joulestat.yaml"
    address = f"127.0.0.1:{node.front.port}"
    config.write_text(
        f"admin:\n  listen-address: {address}\n  token-file: tokens.yaml\n"
        "  web-config-file: web.yaml\n"
    )
    encrypted = node.found(f"--config.file={config}", *node.tls)
    web.write_text("basic_auth_users: {}\n")
    plain = node.found(f"--config.file={config}", *node.tls)

    assert f"answers at https://{address}" in encrypted["admin API"]
    assert f"http://{address}" in plain["admin API"]
