"""docs/fleet.md: its configurations are valid, its commands run, and nginx serves as it says."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from fakes.certificates import make_certificates
from fakes.gateway import ALWAYS, forms, gateway
from joulestat.cli.optimize import optimize
from joulestat.client.admin import AdminClient
from joulestat.client.encrypted import tls_context
from joulestat.domain.errors import AdminError
from joulestat.optimizer.addresses.file import AddressFile
from servers.exporter import Exporter
from servers.nginx import NginxServer
from servers.page_blocks import blocks, file_block
from servers.prometheus import PrometheusServer

PAGE = "fleet.md"
COMMANDS = [line for block in blocks(PAGE, "sh") for line in block.replace("\\\n", "").splitlines()]

pytestmark = [
    pytest.mark.prometheus,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on PATH"),
]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where nothing runs."""
    with PrometheusServer(tmp_path_factory.mktemp("prometheus")) as server:
        yield server.url


@pytest.fixture(scope="module")
def etc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the page's commands take from /etc/joulestat."""
    folder = tmp_path_factory.mktemp("etc")
    (folder / "tls").mkdir()
    made = make_certificates(folder)
    for source, name in (
        (made.authority, "authority.pem"),
        (made.client, "optimizer.pem"),
        (made.client_key, "optimizer.key"),
        (made.server, "node.pem"),
        (made.server_key, "node.key"),
    ):
        shutil.copy(source, folder / "tls" / name)
    for name in ("metrics.token", "optimizer.token", "gpu-0002.token"):
        (folder / name).write_text("secret\n")
    (folder / "addresses.yaml").write_text(file_block(PAGE, "# addresses.yaml"))
    return folder


def test_there_are_commands() -> None:
    assert 8 <= len(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_runs(command: str, etc: Path, prometheus: str) -> None:
    """On a server where no run is on now; a round is done once and not every minute."""
    name, verb, *arguments = shlex.split(command.replace("--watch 60s ", ""))
    assert ("joulestat", "optimize") == (name, verb)
    place = arguments.index("--prometheus.url") + 1
    match = re.fullmatch(r"https?://[a-z0-9.]+(?::\d+)?(?P<prefix>/.*)?", arguments[place])
    assert match is not None
    prefix = match["prefix"] or ""
    tenant = "gpu" if "X-Scope-OrgID:gpu" in arguments else None
    with gateway(prometheus, prefix, tenant=tenant) as server:
        arguments[place] = server.url + prefix
        arguments = [part.replace("/etc/joulestat", str(etc)) for part in arguments]
        done = CliRunner().invoke(optimize, arguments)

        assert (3, "") == (done.exit_code, done.stderr)
        assert all(ALWAYS.items() <= form.items() for form in forms(server))
        assert server.received


def test_the_file_of_addresses_is_one(etc: Path) -> None:
    given: list[tuple[str, str | None]] = []

    def note(url: str, token: str | None) -> AdminClient:
        given.append((url, token))
        return AdminClient("unix:/nowhere", token)

    AddressFile(etc / "addresses.yaml", note)

    assert [("https://10.20.0.1:10401", None), ("https://10.20.0.2:10401", "secret")] == given


@pytest.mark.parametrize("name", ["# prometheus.yml", "# in prometheus.yml", "# federation.yml"])
def test_a_configuration_of_the_page_is_one(name: str, tmp_path: Path) -> None:
    path = tmp_path / "prometheus.yml"
    path.write_text(file_block(PAGE, name).replace("/etc/prometheus/joulestat", str(tmp_path)))
    (tmp_path / "nodes.json").write_text(json.dumps([{"targets": ["gpu-0001:10400"]}]))
    (tmp_path / "some.rules.yaml").write_text("groups: []")
    done = subprocess.run(
        ["promtool", "check", "config", "--lint-fatal", path],
        check=False,
        capture_output=True,
        text=True,
    )

    assert 0 == done.returncode, done.stdout + done.stderr
    assert isinstance(yaml.safe_load(path.read_text()), dict)


@pytest.mark.skipif(shutil.which("nginx") is None, reason="no nginx on PATH: install Debian's")
def test_nginx_before_an_admin_socket_passes_on_who_shows_a_certificate(
    etc: Path, tmp_path: Path
) -> None:
    (block,) = blocks(PAGE, "nginx")
    block = block.replace("/etc/joulestat", str(etc))
    trust = tls_context(
        etc / "tls" / "authority.pem", etc / "tls" / "optimizer.pem", etc / "tls" / "optimizer.key"
    )
    with Exporter(tmp_path / "e") as exporter:
        block = block.replace("/run/joulestat/admin.sock", str(exporter.admin_socket))
        with NginxServer(tmp_path / "nginx", block, "10401") as nginx:
            admin = AdminClient(nginx.url, exporter.token, tls=trust)
            (uuid, _) = [gpu["gpu_uuid"] for gpu in admin.gpus()]
            admin.put_lease(
                uuid, power_limit_watts=200, ttl_seconds=60, holder="optimizer", reason="by nginx"
            )
            assert "optimizer" == admin.gpu(uuid)["lease"]["holder"]
            nobody = AdminClient(
                nginx.url, exporter.token, tls=tls_context(etc / "tls" / "authority.pem")
            )
            with pytest.raises(AdminError, match="400"):
                nobody.gpus()
