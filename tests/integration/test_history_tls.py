"""A Prometheus behind TLS that asks for a client's certificate and a password."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.certificates import Certificates, make_certificates
from joulestat.domain.errors import HistoryError, HistoryUnreachable
from joulestat.optimizer.history.promql import PrometheusClient
from servers.prometheus import PrometheusServer

PASSWORD = "watts"
HASHED = "$2b$04$fAaYxDbrJL119pTqDuBezO0.yByYKSih3Ib50NV.msAIpTGqolVP6"
"""The same by bcrypt, cost 4."""

pytestmark = [
    pytest.mark.prometheus,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on PATH"),
]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def url(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where it is."""
    config = {
        "tls_server_config": {
            "cert_file": str(certificates.server),
            "key_file": str(certificates.server_key),
            "client_ca_file": str(certificates.authority),
            "client_auth_type": "RequireAndVerifyClientCert",
        },
        "basic_auth_users": {"grafana": HASHED},
    }
    folder = tmp_path_factory.mktemp("prometheus")
    with PrometheusServer(folder, web_config=json.dumps(config)) as server:
        yield server.url


def ask(
    url: str,
    certificates: Certificates,
    *,
    authority: Path | None = None,
    shown: bool = True,
    password: str = PASSWORD,
) -> float:
    key = (certificates.client, certificates.client_key) if shown else None
    with PrometheusClient(
        url,
        basic_auth=("grafana", password),
        ca_file=authority,
        client_certificate=key,
        sleep=lambda seconds: None,
    ) as client:
        return client.now_seconds()


def test_with_authority_certificate_and_password_it_answers(
    url: str, certificates: Certificates
) -> None:
    assert ask(url, certificates, authority=certificates.authority) > 0


def test_a_server_whose_authority_is_not_known_is_not_asked(
    url: str, certificates: Certificates
) -> None:
    with pytest.raises(HistoryUnreachable, match="certificate verify failed"):
        ask(url, certificates)


def test_without_the_clients_certificate_there_is_no_answer(
    url: str, certificates: Certificates
) -> None:
    with pytest.raises(HistoryUnreachable, match=r"SSL: .*(BAD_CERTIFICATE|CERTIFICATE_REQUIRED)"):
        ask(url, certificates, authority=certificates.authority, shown=False)


def test_a_wrong_password_is_said(url: str, certificates: Certificates) -> None:
    with pytest.raises(HistoryError, match=r"HTTP 401 and no JSON; check .* the credentials"):
        ask(url, certificates, authority=certificates.authority, password="joules")
