"""Leases on several nodes, whose admin APIs are found by the instance label, over TLS."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from fakes.certificates import Certificates, make_certificates, sign
from fakes.decisions import to_hold
from fakes.scripted_server import ScriptedServer, answer_bytes
from joulestat.cli.admin_flags import AdminFlags
from joulestat.cli.admin_options import ADMIN
from joulestat.cli.lease import lease
from joulestat.cli.prometheus_options import many
from joulestat.client.admin import AdminClient
from joulestat.client.encrypted import tls_context
from joulestat.domain.errors import AdminError
from joulestat.domain.plan import Decision
from joulestat.optimizer.publish import LeasePublisher
from servers.exporter import Exporter
from servers.tls_front import TlsFront

TTL_SECONDS = 120.0

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on PATH")


@dataclass
class Fleet:
    """Two nodes of two GPUs, 127.0.0.1 and 127.0.0.2, admin APIs on one port of each."""

    certificates: Certificates
    exporters: tuple[Exporter, Exporter]
    fronts: tuple[TlsFront, TlsFront]
    uuids: tuple[list[str], list[str]]

    @property
    def instances(self) -> dict[str, frozenset[str]]:
        """As Prometheus shows them."""
        return {
            uuid: frozenset({f"127.0.0.{number}:10400"})
            for number, uuids in enumerate(self.uuids, 1)
            for uuid in uuids
        }

    @property
    def tls(self) -> tuple[str, ...]:
        return (
            "--admin.ca-file", str(self.certificates.authority),
            "--admin.certificate-file", str(self.certificates.client),
            "--admin.key-file", str(self.certificates.client_key),
        )  # fmt: skip

    def decision(self, watts: int = 200) -> Decision:
        return to_hold([*self.uuids[0], *self.uuids[1]], watts=watts)

    def leased(self) -> list[set[float]]:
        """Return the limits that leases hold, node by node."""
        return [
            {
                gpu["lease"]["power_limit_watts"]
                for gpu in AdminClient(f"unix:{e.admin_socket}", e.token).gpus()
                if gpu["lease"] is not None
            }
            for e in self.exporters
        ]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("f")
    names = "subjectAltName=IP:127.0.0.1,IP:127.0.0.2\nextendedKeyUsage=serverAuth\n"
    certificates = make_certificates(folder)
    certificate, key = sign(folder, "nodes", names)
    certificates = replace(certificates, server=certificate, server_key=key)
    quick = ("--admin.write-interval", "0s")
    with (
        Exporter(folder / "a", *quick, "--simulated.seed", "1") as one,
        Exporter(folder / "b", *quick, "--simulated.seed", "2") as other,
        TlsFront(certificates, one.admin_socket, "127.0.0.1") as front,
        TlsFront(certificates, other.admin_socket, "127.0.0.2", front.port) as second,
    ):
        uuids = []
        for exporter in (one, other):
            world = exporter.world()
            uuids.append(list(world.uuids))
            world.close()
        yield Fleet(certificates, (one, other), (front, second), (uuids[0], uuids[1]))


@pytest.fixture
def fleet(started: Fleet) -> Iterator[Fleet]:
    yield started
    for exporter in started.exporters:
        AdminClient(f"unix:{exporter.admin_socket}", exporter.token).revert_all()


def publisher(*arguments: str) -> LeasePublisher:
    """Return what these options of ``joulestat optimize`` make."""
    made: list[LeasePublisher] = []

    @click.command()
    @many(*ADMIN)
    def command(**given: Any) -> None:
        made.append(LeasePublisher(AdminFlags(**given).addresses(), TTL_SECONDS))

    command.main(list(arguments), standalone_mode=False)
    return made[0]


def addresses_file(fleet: Fleet, folder: Path, n_nodes: int = 2) -> Path:
    """List the first nodes, each with its own token."""
    lines = ["addresses:"]
    for number, exporter in enumerate(fleet.exporters[:n_nodes], 1):
        (folder / f"{number}.token").write_text(exporter.token + "\n")
        url = f"https://127.0.0.{number}:{fleet.fronts[0].port}"
        lines.append(f"  127.0.0.{number}:10400: {{url: '{url}', token-file: {number}.token}}")
    path = folder / "addresses.yaml"
    path.write_text("\n".join(lines))
    return path


def test_nodes_in_a_file_get_their_leases_each_with_its_own_token(
    fleet: Fleet, tmp_path: Path
) -> None:
    path = addresses_file(fleet, tmp_path)
    published = publisher("--admin.addresses-file", str(path), *fleet.tls).publish(
        fleet.decision(), fleet.instances
    )

    assert () == published.errors
    assert [{200.0}, {200.0}] == fleet.leased()


def test_a_template_finds_every_node_by_its_label(fleet: Fleet, tmp_path: Path) -> None:
    """Tokens are an exporter's own here, so the second node refuses that of the first."""
    token = tmp_path / "token"
    token.write_text(fleet.exporters[0].token)
    template = f"https://{{host}}:{fleet.fronts[0].port}"
    holder = publisher(
        "--admin.url-template", template, "--admin.token-file", str(token), *fleet.tls
    )
    first = to_hold(fleet.uuids[0], watts=200)

    assert () == holder.publish(first, fleet.instances).errors
    assert [{200.0}, set()] == fleet.leased()
    refused = holder.publish(fleet.decision(), fleet.instances)
    assert f"https://127.0.0.2:{fleet.fronts[0].port}/v1/gpus" in refused.errors[0]
    assert "401" in refused.errors[0]


def test_a_node_that_is_refused_leaves_no_lease_on_the_others_and_it_is_said(
    fleet: Fleet, tmp_path: Path
) -> None:
    path = addresses_file(fleet, tmp_path)
    (tmp_path / "2.token").write_text("wrong")
    published = publisher("--admin.addresses-file", str(path), *fleet.tls).publish(
        fleet.decision(), fleet.instances
    )

    assert ((), tuple(fleet.uuids[0])) == (published.leased, published.released)
    assert 1 == len(published.errors)
    assert published.errors[0].startswith(f"{fleet.uuids[1][0]}: ")
    assert f" https://127.0.0.2:{fleet.fronts[1].port}/v1/gpus" in published.errors[0]
    assert "401" in published.errors[0]
    assert [set(), set()] == fleet.leased()


def test_a_node_without_an_address_is_refused_before_anything_is_sent_and_others_go_on(
    fleet: Fleet, tmp_path: Path
) -> None:
    path = addresses_file(fleet, tmp_path, n_nodes=1)
    holder = publisher("--admin.addresses-file", str(path), *fleet.tls)
    connections = fleet.fronts[0].connections
    both = holder.publish(fleet.decision(), fleet.instances)
    held = to_hold(fleet.uuids[0], run="other")

    assert connections == fleet.fronts[0].connections
    assert (
        f"{', '.join(fleet.uuids[1])}: {path} has no address for instance '127.0.0.2:10400'; "
        "add it, and the next round finds it"
    ) == both.errors[0]
    assert tuple(fleet.uuids[0]) == holder.publish(held, fleet.instances).leased

    addresses_file(fleet, tmp_path)
    holder.begin_round()
    assert () == holder.publish(fleet.decision(), fleet.instances).errors


def test_a_run_that_moves_to_a_node_without_an_address_keeps_no_lease(
    fleet: Fleet, tmp_path: Path
) -> None:
    path = addresses_file(fleet, tmp_path, n_nodes=1)
    holder = publisher("--admin.addresses-file", str(path), *fleet.tls)
    holder.publish(to_hold(fleet.uuids[0]), fleet.instances)
    published = holder.publish(fleet.decision(), fleet.instances)

    assert tuple(fleet.uuids[0]) == published.released
    assert [set(), set()] == fleet.leased()


def test_while_the_file_is_broken_what_is_held_stays_until_its_time_is_over(
    fleet: Fleet, tmp_path: Path
) -> None:
    path = addresses_file(fleet, tmp_path)
    holder = publisher("--admin.addresses-file", str(path), *fleet.tls)
    holder.publish(fleet.decision(), fleet.instances)
    path.write_text("addresses: {")
    holder.begin_round()
    published = holder.publish(fleet.decision(), fleet.instances)

    assert ((), ()) == (published.leased, published.released)
    assert "not YAML" in published.errors[0]
    assert [{200.0}, {200.0}] == fleet.leased()


def test_a_server_whose_authority_is_not_believed_gets_no_token(fleet: Fleet) -> None:
    front = fleet.fronts[0]
    connections = front.connections
    client = AdminClient(f"https://127.0.0.1:{front.port}", "secret", tls=tls_context())
    with pytest.raises(AdminError, match="certificate verify failed") as refused:
        client.gpus()

    assert "check --admin.ca-file" in str(refused.value)
    assert connections == front.connections


def test_leases_are_listed_over_tls_by_hand_too(fleet: Fleet, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(fleet.exporters[0].token)
    url = f"https://127.0.0.1:{fleet.fronts[0].port}"
    words = ["list", "--admin.url", url, "--admin.token-file", str(token)]
    listed = CliRunner().invoke(lease, [*words, *fleet.tls])
    untrusted = CliRunner().invoke(lease, words)

    assert 0 == listed.exit_code, listed.output
    assert all(uuid in listed.output for uuid in fleet.uuids[0])
    assert 1 == untrusted.exit_code
    assert "check --admin.ca-file" in untrusted.output


def test_who_shows_no_certificate_is_not_let_in(fleet: Fleet) -> None:
    trust = tls_context(fleet.certificates.authority)
    client = AdminClient(f"https://127.0.0.1:{fleet.fronts[0].port}", "secret", tls=trust)
    with pytest.raises(AdminError, match="what client certificate it wants"):
        client.gpus()


def test_a_redirect_is_not_followed_with_the_token() -> None:
    with ScriptedServer(lambda *_: answer_bytes(200, {"gpus": []})) as elsewhere:

        def redirect(*_: object) -> bytes:
            return answer_bytes(307, None, Location=f"{elsewhere.url}/v1/gpus")

        with (
            ScriptedServer(redirect) as first,
            pytest.raises(AdminError, match="not followed, the token stays here"),
        ):
            AdminClient(first.url, "secret").gpus()

    assert [] == elsewhere.received


@pytest.mark.parametrize("rest", [":10401", ".com:10401", "x.com:10401", ".com.:10401", "-x"])
def test_a_template_that_would_trust_the_whole_world_with_the_token_is_refused(rest: str) -> None:
    with pytest.raises(
        AdminError, match=r"your own authority with --admin\.ca-file|write one .host."
    ):
        publisher("--admin.url-template", f"https://{{host}}{rest}")


@pytest.mark.parametrize("rest", [".gpu.example:10401", "-admin.gpu.example"])
def test_a_template_in_a_domain_needs_no_authority_of_its_own(rest: str) -> None:
    publisher("--admin.url-template", f"https://{{host}}{rest}")
